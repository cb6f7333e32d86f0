#include "Elementwise.h"
#include "Legacy.h"
#include "Movement.h"

static double less_real(double a, double b) {
    return a < b;
}
static int64_t less_int(int64_t a, int64_t b) {
    return a < b;
}
static double less_equal_real(double a, double b) {
    return a <= b;
}
static int64_t less_equal_int(int64_t a, int64_t b) {
    return a <= b;
}
static double equal_real(double a, double b) {
    return a == b;
}
static int64_t equal_int(int64_t a, int64_t b) {
    return a == b;
}

static bool infer(mlc_graph *g, mlc_node *node) {
    mlc_shape aligned, shape;
    const mlc_value *a = node->in[0], *b = node->in[1];
    if (!mlc_infer_number(g, node, 0) || !mlc_infer_same_dtype(g, node, 0, 1) ||
        !mlc_legacy_align(g, node, &a->shape, &b->shape, &aligned))
        return false;
    if (!mlc_shape_broadcast(&a->shape, &aligned, &shape))
        return mlc_error_at(g->diag, node, "shapes %s and %s do not broadcast",
                            mlc_shape_str(g->arena, &a->shape), mlc_shape_str(g->arena, &b->shape));
    return mlc_infer_set(g, node, 0, MLC_BOOL, &shape);
}

/* Greater is Less with its operands exchanged: `a` and `b` say which is which. */
static void eval(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *out, int a, mlc_real2 real,
                 mlc_int2 integer) {
    mlc_tensor aligned = *in[1];
    mlc_legacy_align(NULL, node, &in[0]->shape, &in[1]->shape, &aligned.shape);
    const mlc_tensor *operand[2] = {in[0], &aligned};
    mlc_eval_binary(operand[a], operand[1 - a], out, real, integer);
}

static void eval_less(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    eval(node, in, out[0], 0, less_real, less_int);
}
static void eval_greater(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    eval(node, in, out[0], 1, less_real, less_int);
}
static void eval_less_equal(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    eval(node, in, out[0], 0, less_equal_real, less_equal_int);
}
static void eval_greater_equal(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    eval(node, in, out[0], 1, less_equal_real, less_equal_int);
}
static void eval_equal(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    eval(node, in, out[0], 0, equal_real, equal_int);
}

typedef mlc_value *(*builder)(mlc_quant *q, mlc_value *a, mlc_value *b);

static bool quantize(mlc_quant *q, const mlc_node *node, int a, builder build) {
    mlc_value *v[2];
    mlc_shape aligned;
    mlc_legacy_align(NULL, node, &node->in[0]->shape, &node->in[1]->shape, &aligned);
    for (int k = 0; k < 2; k++) {
        v[k] = mlc_q_value(q, node->in[k]);
        if (v[k] && k == 1 && !mlc_shape_equal(&aligned, &v[k]->shape))
            v[k] = mlc_q_reshape(q, v[k], &aligned);
    }
    mlc_value *result = v[0] && v[1] ? build(q, v[a], v[1 - a]) : NULL;
    return result && mlc_q_bind(q, node->out[0], result);
}

static bool quantize_less(mlc_quant *q, const mlc_node *node) {
    return quantize(q, node, 0, mlc_q_less);
}
static bool quantize_greater(mlc_quant *q, const mlc_node *node) {
    return quantize(q, node, 1, mlc_q_less);
}
static bool quantize_less_equal(mlc_quant *q, const mlc_node *node) {
    return quantize(q, node, 0, mlc_q_less_equal);
}
static bool quantize_greater_equal(mlc_quant *q, const mlc_node *node) {
    return quantize(q, node, 1, mlc_q_less_equal);
}
static bool quantize_equal(mlc_quant *q, const mlc_node *node) {
    return quantize(q, node, 0, mlc_q_equal);
}

#define ROW(NAME, SINCE, UNTIL, ATTRS, DOC, EVAL, QUANTIZE) \
    {                                                       \
        .domain = "",                                       \
        .name = NAME,                                       \
        .since = SINCE,                                     \
        .until = UNTIL,                                     \
        .doc = DOC,                                         \
        .min_in = 2,                                        \
        .max_in = 2,                                        \
        .min_out = 1,                                       \
        .max_out = 1,                                       \
        .attrs = ATTRS,                                     \
        .infer = infer,                                     \
        .eval = EVAL,                                       \
        .quantize = QUANTIZE,                               \
    }
#define BOTH(NAME, DOC, EVAL, QUANTIZE)                               \
    ROW(NAME, 1, 6, MLC_LEGACY_BROADCAST_ATTRS, DOC, EVAL, QUANTIZE), \
        ROW(NAME, 7, 0, NULL, DOC, EVAL, QUANTIZE)

MLC_OPS(Compare, BOTH("Less", "a < b", eval_less, quantize_less),
        BOTH("Greater", "a > b", eval_greater, quantize_greater),
        BOTH("Equal", "a = b", eval_equal, quantize_equal),
        ROW("LessOrEqual", 12, 0, NULL, "a <= b", eval_less_equal, quantize_less_equal),
        ROW("GreaterOrEqual", 12, 0, NULL, "a >= b", eval_greater_equal, quantize_greater_equal));
