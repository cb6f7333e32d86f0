#include "Elementwise.h"
#include "Legacy.h"
#include "Movement.h"

static bool infer(mlc_graph *g, mlc_node *node) {
    for (int k = 0; k < node->n_in; k++)
        if (!mlc_has_in(node, k) || node->in[k]->dtype != MLC_BOOL)
            return mlc_error_at(g->diag, node, "input %d must be bool", k);
    return node->n_in == 1 ? mlc_infer_same(g, node) : mlc_infer_legacy_broadcast(g, node);
}

static int64_t and_int(int64_t a, int64_t b) {
    return a && b;
}
static int64_t or_int(int64_t a, int64_t b) {
    return a || b;
}
static int64_t xor_int(int64_t a, int64_t b) {
    return !a != !b;
}
static int64_t not_int(int64_t a) {
    return !a;
}

static void eval(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *out, mlc_int2 fn) {
    mlc_tensor b = *in[1];
    mlc_legacy_align(NULL, node, &in[0]->shape, &in[1]->shape, &b.shape);
    mlc_eval_binary(in[0], &b, out, NULL, fn);
}

static void eval_and(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    eval(node, in, out[0], and_int);
}
static void eval_or(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    eval(node, in, out[0], or_int);
}
static void eval_xor(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    eval(node, in, out[0], xor_int);
}
static void eval_not(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    (void)node;
    mlc_eval_unary(in[0], out[0], NULL, not_int);
}

/* On 0 and 1: and is the product, or the larger, xor the distance. */
static mlc_value *distance(mlc_quant *q, mlc_value *a, mlc_value *b) {
    mlc_value *v = mlc_q_sub(q, a, b);
    return v ? mlc_q_abs(q, v) : NULL;
}

static bool quantize(mlc_quant *q, const mlc_node *node,
                     mlc_value *(*build)(mlc_quant *q, mlc_value *a, mlc_value *b)) {
    mlc_shape aligned;
    mlc_legacy_align(NULL, node, &node->in[0]->shape, &node->in[1]->shape, &aligned);
    mlc_value *a = mlc_q_value(q, node->in[0]), *b = mlc_q_value(q, node->in[1]);
    if (b && !mlc_shape_equal(&aligned, &b->shape))
        b = mlc_q_reshape(q, b, &aligned);
    mlc_value *v = a && b ? build(q, a, b) : NULL;
    return v && mlc_q_bind(q, node->out[0], v);
}

static bool quantize_and(mlc_quant *q, const mlc_node *node) {
    return quantize(q, node, mlc_q_mul);
}
static bool quantize_or(mlc_quant *q, const mlc_node *node) {
    return quantize(q, node, mlc_q_max);
}
static bool quantize_xor(mlc_quant *q, const mlc_node *node) {
    return quantize(q, node, distance);
}
static bool quantize_not(mlc_quant *q, const mlc_node *node) {
    mlc_value *v = mlc_q_value(q, node->in[0]), *one = mlc_q_scalar(q, 1);
    v = v && one ? mlc_q_sub(q, one, v) : NULL;
    return v && mlc_q_bind(q, node->out[0], v);
}

#define ROW(NAME, SINCE, UNTIL, N_IN, ATTRS, DOC, EVAL, QUANTIZE) \
    {                                                             \
        .domain = "",                                             \
        .name = NAME,                                             \
        .since = SINCE,                                           \
        .until = UNTIL,                                           \
        .doc = DOC,                                               \
        .min_in = N_IN,                                           \
        .max_in = N_IN,                                           \
        .min_out = 1,                                             \
        .max_out = 1,                                             \
        .attrs = ATTRS,                                           \
        .infer = infer,                                           \
        .eval = EVAL,                                             \
        .quantize = QUANTIZE,                                     \
    }
#define BINARY(NAME, DOC, EVAL, QUANTIZE)                                \
    ROW(NAME, 1, 6, 2, MLC_LEGACY_BROADCAST_ATTRS, DOC, EVAL, QUANTIZE), \
        ROW(NAME, 7, 0, 2, NULL, DOC, EVAL, QUANTIZE)

MLC_OPS(Logic, BINARY("And", "Both are true.", eval_and, quantize_and),
        BINARY("Or", "At least one is true.", eval_or, quantize_or),
        BINARY("Xor", "Exactly one is true.", eval_xor, quantize_xor),
        ROW("Not", 1, 0, 1, NULL, "It is false.", eval_not, quantize_not));
