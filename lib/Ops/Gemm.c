#include "Product.h"

#include "Real.h"

typedef struct gemm {
    mlc_product product;
    mlc_shape shape; /* [M,N] */
    double alpha, beta;
} gemm;

/* With g NULL, after infer has passed, it cannot fail. */
static bool gemm_of(mlc_graph *g, const mlc_node *node, const mlc_shape *a, const mlc_shape *b, gemm *out) {
    if (a->rank != 2 || b->rank != 2)
        return mlc_error_at(g->diag, node, "shapes %s and %s are not those of two matrices",
                            mlc_shape_str(g->arena, a), mlc_shape_str(g->arena, b));
    out->alpha = mlc_attr_float(node, "alpha", 1);
    out->beta = mlc_attr_float(node, "beta", 1);
    return mlc_product_of(g, node, a, b, mlc_attr_int(node, "transA", 0) != 0,
                          mlc_attr_int(node, "transB", 0) != 0, &out->product, &out->shape);
}

static const mlc_value *addend(const mlc_node *node) {
    return node->n_in > 2 ? node->in[2] : NULL;
}

static bool infer(mlc_graph *g, mlc_node *node) {
    gemm op;
    const mlc_value *c = addend(node);
    if (!gemm_of(g, node, &node->in[0]->shape, &node->in[1]->shape, &op))
        return false;
    if (node->in[0]->dtype != node->in[1]->dtype || (c && c->dtype != node->in[0]->dtype))
        return mlc_error_at(g->diag, node, "the inputs must be of one type");
    if (!mlc_dtype_is_float(node->in[0]->dtype) && (op.alpha != 1 || op.beta != 1))
        return mlc_error_at(g->diag, node, "alpha and beta other than 1 need float inputs");
    mlc_shape sum;
    if (c && (!mlc_shape_broadcast(&c->shape, &op.shape, &sum) || !mlc_shape_equal(&sum, &op.shape)))
        return mlc_error_at(g->diag, node, "input C of shape %s does not broadcast to the result's shape %s",
                            mlc_shape_str(g->arena, &c->shape), mlc_shape_str(g->arena, &op.shape));
    return mlc_infer_set(g, node, 0, node->in[0]->dtype, &op.shape);
}

static void eval(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    gemm op;
    gemm_of(NULL, node, &in[0]->shape, &in[1]->shape, &op);
    mlc_tensor *y = out[0];
    mlc_product_eval(&op.product, op.alpha, in[0], in[1], y);
    const mlc_tensor *c = node->n_in > 2 ? in[2] : NULL;
    if (!c)
        return;
    const int64_t n = mlc_shape_elements(&y->shape);
    for (int64_t i = 0; i < n; i++) {
        const int64_t at = mlc_shape_broadcast_index(&c->shape, &y->shape, i);
        if (mlc_dtype_is_float(y->dtype))
            y->f[i] += op.beta * c->f[at];
        else
            y->i[i] = mlc_wrap(y->dtype, mlc_wrap_add(y->i[i], c->i[at]));
    }
}

/* beta * C for a constant C that is the same in every row; NULL otherwise. */
static const double *row_bias(mlc_arena *arena, const gemm *op, const mlc_value *c) {
    const mlc_shape *s = &c->shape;
    if (!c->constant || (s->rank == 2 && s->dim[0] != 1))
        return NULL;
    double *bias = MLC_NEW_ARRAY(arena, op->product.N, double);
    for (int64_t n = 0; n < op->product.N; n++)
        bias[n] = op->beta * mlc_tensor_real(c->constant, mlc_shape_elements(s) == 1 ? 0 : n);
    return bias;
}

static bool quantize(mlc_quant *q, const mlc_node *node) {
    gemm op;
    gemm_of(NULL, node, &node->in[0]->shape, &node->in[1]->shape, &op);
    const mlc_value *c = addend(node);
    const bool exact = !mlc_dtype_is_float(node->in[0]->dtype);
    const double *bias = c && !exact ? row_bias(q->arena, &op, c) : NULL;
    mlc_value *y = mlc_q_product(q, &op.product, op.alpha, node->in[0], node->in[1], bias, &op.shape);
    if (!y || !c || bias)
        return mlc_q_result(q, node, y);

    mlc_value *z = mlc_q_value(q, c);
    if (z && op.beta != 1)
        z = mlc_q_scale_by(q, z, op.beta);
    return mlc_q_result(q, node, z ? mlc_q_add(q, y, z) : NULL);
}

#define COMMON                                                                                           \
    .domain = "", .name = "Gemm", .min_out = 1, .max_out = 1, .max_in = 3, .infer = infer, .eval = eval, \
    .quantize = quantize, .doc = "alpha * A * B + beta * C"

MLC_OPS(Gemm,
        {COMMON, .since = 1, .until = 6, .min_in = 3,
         .attrs = (const mlc_attr_spec[]){{"alpha", MLC_ATTR_FLOAT},
                                          {"beta", MLC_ATTR_FLOAT},
                                          {"transA", MLC_ATTR_INT},
                                          {"transB", MLC_ATTR_INT},
                                          {"broadcast", MLC_ATTR_INT},
                                          {0}}},
        {COMMON, .since = 7, .min_in = 2,
         .attrs = (const mlc_attr_spec[]){{"alpha", MLC_ATTR_FLOAT},
                                          {"beta", MLC_ATTR_FLOAT},
                                          {"transA", MLC_ATTR_INT},
                                          {"transB", MLC_ATTR_INT},
                                          {0}}});
