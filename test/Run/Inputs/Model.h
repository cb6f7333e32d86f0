/*
 * A model small enough to check by hand, against the interface of
 * lib/CodeGen/README.md: inputs a (2 x i16 at 0) and b (i32 at 4), outputs
 * y = 2 * (a - 3) + b (2 x i64 at 0), label = y[1] > y[0] (u8 at 16) and
 * positive = b > 0 (u8 at 17). Model.json states scales and names.
 */
#include <stdint.h>

static inline __attribute__((always_inline)) void mlc_model(const uint8_t *in, uint8_t *out) {
    const int16_t *a = (const int16_t *)in;
    int32_t b = *(const int32_t *)(in + 4);
    int64_t *y = (int64_t *)out;
    y[0] = 2 * ((int64_t)a[0] - 3) + b;
    y[1] = 2 * ((int64_t)a[1] - 3) + b;
    out[16] = y[1] > y[0];
    out[17] = b > 0;
}
