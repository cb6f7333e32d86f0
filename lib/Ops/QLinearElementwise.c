#include "Form.h"

#include <math.h>

/*
 * com.microsoft element-wise ops on quantized tensors: dequantize, compute,
 * quantize. Each input is followed by its scale and zero point.
 */
enum { A, A_SCALE, A_ZERO, B, B_SCALE, B_ZERO };

static bool binary(const mlc_node *node) {
    return !strcmp(node->op->name, "QLinearAdd") || !strcmp(node->op->name, "QLinearMul");
}

/* Index of the result's scale; its zero point follows. */
static int result_scale(const mlc_node *node) {
    return binary(node) ? 6 : 3;
}

static bool infer(mlc_graph *g, mlc_node *node) {
    const mlc_value *a = node->in[A];
    if (!mlc_dtype_is_integer(a->dtype) || !mlc_grid_check(g, node, A_SCALE, A_ZERO, 0) ||
        !mlc_grid_check(g, node, result_scale(node), result_scale(node) + 1, 0))
        return mlc_error_at(g->diag, node, "input '%s' is of type %s; it and its scale do not fit",
                            mlc_escape(a->name), mlc_dtype_name(a->dtype));
    if (!binary(node))
        return mlc_infer_same(g, node);
    mlc_shape shape;
    const mlc_value *b = node->in[B];
    if (b->dtype != a->dtype || !mlc_shape_broadcast(&a->shape, &b->shape, &shape))
        return mlc_error_at(g->diag, node, "%s of shape %s and %s of shape %s do not fit",
                            mlc_dtype_name(a->dtype), mlc_shape_str(g->arena, &a->shape),
                            mlc_dtype_name(b->dtype), mlc_shape_str(g->arena, &b->shape));
    return mlc_grid_check(g, node, B_SCALE, B_ZERO, 0) && mlc_infer_set(g, node, 0, a->dtype, &shape);
}

/* Element i of input k as it stands for a real number, in float arithmetic. */
static double dequantized(const mlc_node *node, const mlc_tensor *const *in, int k, int64_t i) {
    return mlc_f32((double)(in[k]->i[i] - mlc_grid_zero(mlc_operand(node, in, k + 2), 0)) * in[k + 1]->f[0]);
}

static void store(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *out, int64_t i, double y) {
    const int s = result_scale(node);
    out->i[i] = mlc_to_grid(out->dtype, mlc_f32(mlc_f32(y) / in[s]->f[0]),
                            mlc_grid_zero(mlc_operand(node, in, s + 1), 0));
}

static void eval_binary(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    const bool sum = !strcmp(node->op->name, "QLinearAdd");
    const int64_t n = mlc_shape_elements(&out[0]->shape);
    mlc_walk w;
    mlc_walk_begin(&w, &out[0]->shape, 2, (const mlc_shape *const[]){&in[A]->shape, &in[B]->shape});
    for (int64_t i = 0; i < n; i++, mlc_walk_next(&w)) {
        const double a = dequantized(node, in, A, w.at[0]), b = dequantized(node, in, B, w.at[1]);
        store(node, in, out[0], i, sum ? a + b : a * b);
    }
}

static double sigmoid(double x, const void *user) {
    (void)user;
    return 1 / (1 + exp(-x));
}

static double leaky(double x, const void *alpha) {
    return x < 0 ? *(const double *)alpha * x : x;
}

static double alpha_of(const mlc_node *node) {
    return mlc_attr_float(node, "alpha", (double)0.01f);
}

static mlc_real_fn function_of(const mlc_node *node) {
    return strcmp(node->op->name, "QLinearSigmoid") ? leaky : sigmoid;
}

static void eval_unary(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    const double alpha = alpha_of(node);
    const int64_t n = mlc_shape_elements(&out[0]->shape);
    for (int64_t i = 0; i < n; i++)
        store(node, in, out[0], i, function_of(node)(dequantized(node, in, A, i), &alpha));
}

/* Scales and zero points are constants: reported otherwise. */
static bool constant_grids(mlc_quant *q, const mlc_node *node) {
    mlc_grid g;
    const mlc_shape one = {0};
    const int s = result_scale(node);
    return mlc_q_grid(q, node, A_SCALE, A_ZERO, &one, 0, 0, &g) &&
           mlc_q_grid(q, node, s, s + 1, &one, 0, 0, &g) &&
           (!binary(node) || mlc_q_grid(q, node, B_SCALE, B_ZERO, &one, 0, 0, &g));
}

static bool bind(mlc_quant *q, const mlc_node *node, const mlc_form *f) {
    return mlc_form_bind_step(q, node->out[0], f) ||
           mlc_error_at(q->diag, node, "no exact integer form of the operator was found");
}

static mlc_pair pair_of(const mlc_node *node) {
    double scale[3];
    int64_t zero[2];
    for (int k = 0; k < 3; k++)
        scale[k] = node->in[k < 2 ? 3 * k + 1 : 6]->constant->f[0];
    for (int k = 0; k < 2; k++)
        zero[k] = mlc_grid_zero(node->in[3 * k + 2] ? node->in[3 * k + 2]->constant : NULL, 0);
    if (!strcmp(node->op->name, "QLinearAdd"))
        return (mlc_pair){MLC_PAIR_SUM, scale[0] / scale[2], scale[1] / scale[2], zero[0], zero[1]};
    return (mlc_pair){MLC_PAIR_PRODUCT, scale[0] * scale[1] / scale[2], 0, zero[0], zero[1]};
}

static bool quantize_binary(mlc_quant *q, const mlc_node *node) {
    const mlc_value *y = node->out[0];
    mlc_value *a = mlc_q_value(q, node->in[A]), *b = mlc_q_value(q, node->in[B]);
    if (!a || !b || !constant_grids(q, node))
        return false;
    mlc_chain *chain = MLC_NEW(q->arena, mlc_chain);
    const mlc_tensor **constants = MLC_NEW_ARRAY(q->arena, node->n_in, const mlc_tensor *);
    for (int k = 0; k < node->n_in; k++)
        if (k != A && k != B && node->in[k])
            constants[k] = mlc_form_element(q, node->in[k]->constant, 0);
    const mlc_chain *integer = mlc_chain_linear(q, 1, 0, 0, node->in[A]->dtype);
    *chain = (mlc_chain){.kind = MLC_CHAIN_PAIR,
                         .depth = 2,
                         .dtype = y->dtype,
                         .node = node,
                         .at = A,
                         .other_at = B,
                         .prev = integer,
                         .other = integer,
                         .pair = pair_of(node),
                         .constants = constants};
    const bool same = a == b && mlc_shape_equal(&a->shape, &y->shape);
    mlc_form *f = mlc_form_simple(q, mlc_form_spread(q, a, &y->shape), chain);
    f->y = same ? NULL : mlc_form_spread(q, b, &y->shape);
    return f->x && (same || f->y) && bind(q, node, f);
}

static bool quantize_unary(mlc_quant *q, const mlc_node *node) {
    mlc_value *x = mlc_q_value(q, node->in[A]);
    if (!x || !constant_grids(q, node))
        return false;
    const mlc_form *f = mlc_form_simple(q, x, mlc_chain_linear(q, 1, 0, 0, node->in[A]->dtype));
    return bind(q, node, mlc_form_through(q, node, A, f));
}

#define ROW(NAME, KIND, LEAST, MOST, DOC, ...)      \
    {.domain = "com.microsoft",                     \
     .name = NAME,                                  \
     .since = 1,                                    \
     .doc = DOC,                                    \
     .limits = "constant scales and zero points",   \
     .min_in = LEAST,                               \
     .max_in = MOST,                                \
     .min_out = 1,                                  \
     .max_out = 1,                                  \
     .attrs = (const mlc_attr_spec[]){__VA_ARGS__}, \
     .infer = infer,                                \
     .eval = eval_##KIND,                           \
     .quantize = quantize_##KIND}

MLC_OPS(QLinearElementwise, ROW("QLinearAdd", binary, 7, 8, "a + b of quantized tensors, quantized", {0}),
        ROW("QLinearMul", binary, 7, 8, "a * b of quantized tensors, quantized", {0}),
        ROW("QLinearSigmoid", unary, 4, 5, "Sigmoid of a quantized tensor, quantized", {0}),
        ROW("QLinearLeakyRelu", unary, 4, 5, "LeakyRelu of a quantized tensor, quantized",
            {"alpha", MLC_ATTR_FLOAT}, {0}));
