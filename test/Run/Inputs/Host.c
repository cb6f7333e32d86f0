/* The host image of Model.h: one function, which is its own entry. */
#include "Model.h"

void entry(const uint8_t *in, uint8_t *out, uint8_t *scratch);

void entry(const uint8_t *in, uint8_t *out, uint8_t *scratch) {
    (void)scratch;
    mlc_model(in, out);
}
