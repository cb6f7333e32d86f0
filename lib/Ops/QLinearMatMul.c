#include "Grid.h"
#include "Product.h"
#include "Whole.h"

/*
 * Products of quantized matrices: MatMulInteger, QLinearMatMul and QGemm. All sum
 * (a - a_zero) * (b - b_zero) in integers; a's parameters are per tensor or row,
 * b's per tensor or column.
 */
typedef struct layout {
    int a, a_scale, a_zero, b, b_scale, b_zero, c, y_scale, y_zero; /* inputs, -1: none */
} layout;

static const layout integer_layout = {0, -1, 2, 1, -1, 3, -1, -1, -1};
static const layout linear_layout = {0, 1, 2, 3, 4, 5, -1, 6, 7};
static const layout gemm_layout = {0, 1, 2, 3, 4, 5, 6, 7, 8};

static const layout *layout_of(const mlc_node *node) {
    if (!strcmp(node->op->name, "MatMulInteger"))
        return &integer_layout;
    return strcmp(node->op->name, "QGemm") ? &linear_layout : &gemm_layout;
}

/* With g NULL, after infer has passed, it cannot fail. */
static bool product_of(mlc_graph *g, const mlc_node *node, mlc_product *p, mlc_shape *shape) {
    const layout *l = layout_of(node);
    const mlc_shape *a = &node->in[l->a]->shape, *b = &node->in[l->b]->shape;
    if (l->c >= 0 && (a->rank != 2 || b->rank != 2))
        return mlc_error_at(g->diag, node, "shapes %s and %s are not those of two matrices",
                            mlc_shape_str(g->arena, a), mlc_shape_str(g->arena, b));
    const bool trans_a = l->c >= 0 && mlc_attr_int(node, "transA", 0) != 0;
    const bool trans_b = l->c >= 0 && mlc_attr_int(node, "transB", 0) != 0;
    return mlc_product_of(g, node, a, b, trans_a, trans_b, p, shape);
}

static bool need_bytes(mlc_graph *g, const mlc_node *node, int k) {
    const mlc_value *v = mlc_input(node, k);
    if (v->dtype == MLC_INT8 || v->dtype == MLC_UINT8)
        return true;
    return mlc_error_at(g->diag, node, "input '%s' is of type %s, int8 or uint8 is needed",
                        mlc_escape(v->name), mlc_dtype_name(v->dtype));
}

/* A zero point has its tensor's type, and one element or `many`. */
static bool check_zero(mlc_graph *g, const mlc_node *node, int zero, mlc_dtype t, int64_t many) {
    const mlc_value *z = mlc_input(node, zero);
    if (!z)
        return true;
    const int64_t n = mlc_shape_elements(&z->shape);
    if (z->dtype == t && (n == 1 || n == many))
        return true;
    return mlc_error_at(g->diag, node, "zero point '%s' is of type %s and shape %s, which does not fit",
                        mlc_escape(z->name), mlc_dtype_name(z->dtype), mlc_shape_str(g->arena, &z->shape));
}

static bool infer(mlc_graph *g, mlc_node *node) {
    const layout *l = layout_of(node);
    mlc_product p;
    mlc_shape shape;
    if (!need_bytes(g, node, l->a) || !need_bytes(g, node, l->b) || !product_of(g, node, &p, &shape) ||
        !check_zero(g, node, l->a_zero, node->in[l->a]->dtype, p.M) ||
        !check_zero(g, node, l->b_zero, node->in[l->b]->dtype, p.N))
        return false;
    if (l->a_scale < 0)
        return mlc_infer_set(g, node, 0, MLC_INT32, &shape);
    if (!mlc_grid_check(g, node, l->a_scale, l->a_zero, p.M) ||
        !mlc_grid_check(g, node, l->b_scale, l->b_zero, p.N))
        return false;
    const mlc_value *c = mlc_input(node, l->c >= 0 ? l->c : node->n_in);
    mlc_shape sum;
    if (c && (c->dtype != MLC_INT32 || !mlc_shape_broadcast(&c->shape, &shape, &sum) ||
              !mlc_shape_equal(&sum, &shape)))
        return mlc_error_at(g->diag, node,
                            "input '%s' is %s of shape %s, int32 that broadcasts to %s is needed",
                            mlc_escape(c->name), mlc_dtype_name(c->dtype), mlc_shape_str(g->arena, &c->shape),
                            mlc_shape_str(g->arena, &shape));
    if (!mlc_input(node, l->y_scale))
        return mlc_infer_set(g, node, 0, MLC_FLOAT, &shape);
    const mlc_value *zero = mlc_input(node, l->y_zero);
    return mlc_grid_check(g, node, l->y_scale, l->y_zero, 0) &&
           mlc_infer_set(g, node, 0, zero ? zero->dtype : node->in[l->a]->dtype, &shape);
}

static double alpha_of(const mlc_node *node) {
    return mlc_attr_float(node, "alpha", 1);
}

static void eval(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    const layout *l = layout_of(node);
    const mlc_tensor *a_zero = mlc_operand(node, in, l->a_zero), *b_zero = mlc_operand(node, in, l->b_zero);
    const mlc_tensor *c = l->c >= 0 ? mlc_operand(node, in, l->c) : NULL;
    const mlc_tensor *y_scale = l->y_scale >= 0 ? mlc_operand(node, in, l->y_scale) : NULL;
    const mlc_tensor *y_zero = l->y_zero >= 0 ? mlc_operand(node, in, l->y_zero) : NULL;
    mlc_product p;
    mlc_shape shape;
    product_of(NULL, node, &p, &shape);
    int64_t at = 0;
    for (int64_t i = 0; i < p.batch; i++)
        for (int64_t m = 0; m < p.M; m++)
            for (int64_t n = 0; n < p.N; n++, at++) {
                double sum = mlc_product_sum(&p, in[l->a], (double)mlc_grid_zero(a_zero, m), in[l->b],
                                             (double)mlc_grid_zero(b_zero, n), i, m, n);
                if (c)
                    sum += (double)c->i[mlc_shape_broadcast_index(&c->shape, &shape, at)];
                const int64_t whole = mlc_wrap(MLC_INT32, (int64_t)sum);
                if (l->a_scale < 0) {
                    out[0]->i[at] = whole;
                    continue;
                }
                double scale = mlc_f32(mlc_f32(alpha_of(node) * mlc_grid_scale(in[l->a_scale], m)) *
                                       mlc_grid_scale(in[l->b_scale], n));
                if (y_scale)
                    scale = mlc_f32(scale / y_scale->f[0]);
                const double y = mlc_f32(mlc_f32((double)whole) * scale);
                if (y_scale)
                    out[0]->i[at] = mlc_to_grid(out[0]->dtype, y, mlc_grid_zero(y_zero, 0));
                else
                    out[0]->f[at] = y;
            }
}

/* Input k minus its zero point, whose elements, if more than one, stand along `axis`. */
static mlc_value *centered_input(mlc_quant *q, const mlc_node *node, int k, int zero, int axis) {
    const mlc_value *z = mlc_input(node, zero);
    mlc_value *v = mlc_q_value(q, node->in[k]);
    if (!v || !z)
        return v;
    mlc_value *w = mlc_q_value(q, z);
    const int64_t n = mlc_shape_elements(&z->shape);
    mlc_shape shape = {0};
    if (n > 1) {
        shape.rank = node->in[k]->shape.rank - axis;
        for (int d = 0; d < shape.rank; d++)
            shape.dim[d] = d == 0 ? n : 1;
    }
    w = w ? mlc_q_reshape(q, w, &shape) : NULL;
    return w ? mlc_q_sub(q, v, w) : NULL;
}

static mlc_value *integer_product(mlc_quant *q, const mlc_node *node, const mlc_product *p,
                                  const mlc_shape *shape) {
    const layout *l = layout_of(node);
    const int rank_a = node->in[l->a]->shape.rank, rank_b = node->in[l->b]->shape.rank;
    mlc_value *a =
        centered_input(q, node, l->a, l->a_zero, p->trans_a || rank_a < 2 ? rank_a - 1 : rank_a - 2);
    mlc_value *b =
        centered_input(q, node, l->b, l->b_zero, p->trans_b && rank_b > 1 ? rank_b - 2 : rank_b - 1);
    return a && b ? mlc_q_integer_product(q, p, a, b, shape) : NULL;
}

static bool quantize(mlc_quant *q, const mlc_node *node) {
    const layout *l = layout_of(node);
    mlc_product p;
    mlc_shape shape;
    product_of(NULL, node, &p, &shape);
    mlc_value *y = integer_product(q, node, &p, &shape);
    if (y && l->c >= 0 && mlc_input(node, l->c)) {
        mlc_value *c = mlc_q_value(q, node->in[l->c]);
        y = c ? mlc_q_add(q, y, c) : NULL;
    }
    y = y ? mlc_q_wrap(q, y, MLC_INT32) : NULL;
    if (!y || l->a_scale < 0)
        return mlc_q_result(q, node, y);

    const mlc_shape rows = {2, {p.M, 1}}, columns = {1, {p.N}};
    mlc_grid a, b, result = {.shape = {0}, .scale = NULL};
    const bool grids = mlc_q_grid(q, node, l->a_scale, l->a_zero, &rows, 0, 0, &a) &&
                       mlc_q_grid(q, node, l->b_scale, l->b_zero, &columns, 0, 0, &b);
    if (!grids ||
        (mlc_input(node, l->y_scale) && !mlc_q_grid(q, node, l->y_scale, l->y_zero, &shape, 0, 0, &result)))
        return false;
    y = mlc_q_mul_real(q, y, a.scale, &a.shape);
    y = y ? mlc_q_mul_real(q, y, b.scale, &b.shape) : NULL;
    y = y && alpha_of(node) != 1 ? mlc_q_scale_by(q, y, alpha_of(node)) : y;
    if (result.scale)
        y = mlc_q_to_grid(q, y, &result, node->out[0]->dtype);
    return mlc_q_result(q, node, y);
}

#define ROW(DOMAIN, NAME, SINCE, LEAST, MOST, DOC, ...) \
    {.domain = DOMAIN,                                  \
     .name = NAME,                                      \
     .since = SINCE,                                    \
     .doc = DOC,                                        \
     .min_in = LEAST,                                   \
     .max_in = MOST,                                    \
     .min_out = 1,                                      \
     .max_out = 1,                                      \
     .attrs = (const mlc_attr_spec[]){__VA_ARGS__},     \
     .infer = infer,                                    \
     .eval = eval,                                      \
     .quantize = quantize}

MLC_OPS(QLinearMatMul, ROW("", "MatMulInteger", 10, 2, 4, "Product of matrices of 8-bit integers", {0}),
        ROW("", "QLinearMatMul", 10, 8, 8, "Product of quantized matrices, quantized", {0}),
        ROW("com.microsoft", "QGemm", 1, 6, 9, "alpha * A * B + C of quantized matrices, quantized or float",
            {"alpha", MLC_ATTR_FLOAT}, {"transA", MLC_ATTR_INT}, {"transB", MLC_ATTR_INT}, {0}));
