#include "Real.h"
#include "Whole.h"

#include <math.h>

static void eval_floor(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    (void)node;
    mlc_eval_unary(in[0], out[0], floor, NULL);
}
static void eval_ceil(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    (void)node;
    mlc_eval_unary(in[0], out[0], ceil, NULL);
}
/* rint rounds half to even: the default mode of the processor, which nothing changes. */
static void eval_round(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    (void)node;
    mlc_eval_unary(in[0], out[0], rint, NULL);
}

static bool quantize(mlc_quant *q, const mlc_node *node, mlc_rounding mode) {
    mlc_value *x = mlc_q_value(q, node->in[0]);
    return mlc_q_result(q, node, x ? mlc_q_round(q, x, mode) : NULL);
}

static bool quantize_floor(mlc_quant *q, const mlc_node *node) {
    return quantize(q, node, MLC_ROUND_FLOOR);
}
static bool quantize_ceil(mlc_quant *q, const mlc_node *node) {
    return quantize(q, node, MLC_ROUND_CEIL);
}
static bool quantize_round(mlc_quant *q, const mlc_node *node) {
    return quantize(q, node, MLC_ROUND_HALF_EVEN);
}

#define ROW(NAME, FUNCTION, SINCE, DOC)                                         \
    {.domain = "",                                                              \
     .name = NAME,                                                              \
     .since = SINCE,                                                            \
     .doc = DOC,                                                                \
     .min_in = 1,                                                               \
     .max_in = 1,                                                               \
     .min_out = 1,                                                              \
     .max_out = 1,                                                              \
     .attrs = (const mlc_attr_spec[]){{"consumed_inputs", MLC_ATTR_INTS}, {0}}, \
     .infer = mlc_infer_real,                                                   \
     .eval = eval_##FUNCTION,                                                   \
     .quantize = quantize_##FUNCTION}

MLC_OPS(Rounding, ROW("Floor", floor, 1, "Largest whole number not above x"),
        ROW("Ceil", ceil, 1, "Smallest whole number not below x"),
        ROW("Round", round, 11, "Nearest whole number; the even one of two"));
