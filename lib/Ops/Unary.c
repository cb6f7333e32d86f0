#include "Real.h"
#include "Whole.h"

#include <math.h>

static bool infer_number(mlc_graph *g, mlc_node *node) {
    if (!mlc_dtype_is_float(node->in[0]->dtype) &&
        (!mlc_dtype_is_integer(node->in[0]->dtype) || node->in[0]->dtype == MLC_BOOL))
        return mlc_error_at(g->diag, node, "input '%s' is of type %s, a number is needed",
                            mlc_escape(node->in[0]->name), mlc_dtype_name(node->in[0]->dtype));
    return mlc_infer_same(g, node);
}

static double neg_real(double x) {
    return -x;
}
static int64_t neg_int(int64_t x) {
    return mlc_wrap_sub(0, x);
}
static void eval_neg(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    (void)node;
    mlc_eval_unary(in[0], out[0], neg_real, neg_int);
}

static int64_t abs_int(int64_t x) {
    return x < 0 ? mlc_wrap_sub(0, x) : x;
}
static void eval_abs(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    (void)node;
    mlc_eval_unary(in[0], out[0], fabs, abs_int);
}

static double sign_real(double x) {
    return x != x ? x : (x > 0) - (x < 0);
}
static int64_t sign_int(int64_t x) {
    return (x > 0) - (x < 0);
}
static void eval_sign(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    (void)node;
    mlc_eval_unary(in[0], out[0], sign_real, sign_int);
}

static double reciprocal_real(double x) {
    return 1 / x;
}
static void eval_reciprocal(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    (void)node;
    mlc_eval_unary(in[0], out[0], reciprocal_real, NULL);
}

/* The most negative number of a type has no counterpart and wraps around. */
static bool bind(mlc_quant *q, const mlc_node *node, mlc_value *v) {
    if (v && mlc_dtype_is_integer(node->out[0]->dtype))
        v = mlc_q_wrap(q, v, node->out[0]->dtype);
    return mlc_q_result(q, node, v);
}

static bool quantize_neg(mlc_quant *q, const mlc_node *node) {
    mlc_value *x = mlc_q_value(q, node->in[0]);
    return bind(q, node, x ? mlc_q_neg(q, x) : NULL);
}

static bool quantize_abs(mlc_quant *q, const mlc_node *node) {
    mlc_value *x = mlc_q_value(q, node->in[0]);
    return bind(q, node, x ? mlc_q_abs(q, x) : NULL);
}

/* (0 < x) - (x < 0). */
static bool quantize_sign(mlc_quant *q, const mlc_node *node) {
    mlc_value *x = mlc_q_value(q, node->in[0]), *zero = mlc_q_scalar(q, 0);
    mlc_value *above = x ? mlc_q_less(q, zero, x) : NULL, *below = x ? mlc_q_less(q, x, zero) : NULL;
    return mlc_q_result(q, node, above && below ? mlc_q_sub(q, above, below) : NULL);
}

static bool quantize_reciprocal(mlc_quant *q, const mlc_node *node) {
    mlc_value *x = mlc_q_divisor(q, node->in[0], mlc_q_value(q, node->in[0]));
    return mlc_q_result(
        q, node, mlc_q_divide_seen(q, node->out[0], mlc_q_scalar(q, 1), x, mlc_q_least(q, node->in[0])));
}

#define ROW(NAME, FUNCTION, SINCE, INFER, LIMITS, DOC)                          \
    {.domain = "",                                                              \
     .name = NAME,                                                              \
     .since = SINCE,                                                            \
     .doc = DOC,                                                                \
     .limits = LIMITS,                                                          \
     .min_in = 1,                                                               \
     .max_in = 1,                                                               \
     .min_out = 1,                                                              \
     .max_out = 1,                                                              \
     .attrs = (const mlc_attr_spec[]){{"consumed_inputs", MLC_ATTR_INTS}, {0}}, \
     .infer = INFER,                                                            \
     .eval = eval_##FUNCTION,                                                   \
     .quantize = quantize_##FUNCTION}

MLC_OPS(Unary, ROW("Neg", neg, 1, infer_number, NULL, "-x"), ROW("Abs", abs, 1, infer_number, NULL, "|x|"),
        ROW("Sign", sign, 9, infer_number, NULL, "-1, 0 or 1"),
        ROW("Reciprocal", reciprocal, 1, mlc_infer_real, "x must be proved to keep away from 0", "1 / x"));
