#include "Form.h"
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

/* Constant b, one matrix for the whole batch: dot products with b - b_zero. Adds c where it is one
 * number for each column, and says so. NULL, without a report: of another kind. */
static mlc_value *constant_product(mlc_quant *q, const mlc_node *node, const mlc_product *p,
                                   const mlc_shape *shape, bool *added) {
    const layout *l = layout_of(node);
    const mlc_value *b = node->in[l->b], *az = mlc_input(node, l->a_zero), *bz = mlc_input(node, l->b_zero);
    const mlc_value *c = l->c >= 0 ? mlc_input(node, l->c) : NULL;
    if (!b->constant || (bz && !bz->constant) || mlc_shape_elements(&p->b_batch) != 1 || p->K * p->N == 0 ||
        (az && mlc_shape_elements(&az->shape) != 1))
        return NULL;
    *added = c && c->constant &&
             (mlc_shape_elements(&c->shape) == 1 ||
              (c->shape.dim[c->shape.rank - 1] == p->N && mlc_shape_elements(&c->shape) == p->N));
    int64_t *w = MLC_NEW_ARRAY(q->arena, p->K * p->N, int64_t),
            *bias = MLC_NEW_ARRAY(q->arena, p->N, int64_t);
    for (int64_t n = 0; n < p->N; n++) {
        if (*added)
            bias[n] = mlc_grid_zero(c->constant, n);
        for (int64_t k = 0; k < p->K; k++) {
            const int64_t x = b->constant->i[mlc_product_b(p, 0, k, n)];
            w[n * p->K + k] = x - (bz ? mlc_grid_zero(bz->constant, n) : 0);
            if (az && az->constant)
                bias[n] -= az->constant->i[0] * w[n * p->K + k];
        }
    }
    mlc_value *a =
        az && !az->constant ? centered_input(q, node, l->a, l->a_zero, 0) : mlc_q_value(q, node->in[l->a]);
    a = a ? mlc_form_rows(q, p, a) : NULL;
    return a ? mlc_q_integer_linear(q, a, w, bias, p->N, p->K, shape) : NULL;
}

/* The sums in int32. */
static mlc_value *integer_product(mlc_quant *q, const mlc_node *node, const mlc_product *p,
                                  const mlc_shape *shape) {
    const layout *l = layout_of(node);
    const int rank_a = node->in[l->a]->shape.rank, rank_b = node->in[l->b]->shape.rank;
    bool added = false;
    mlc_value *y = constant_product(q, node, p, shape, &added);
    if (!y) {
        added = false;
        mlc_value *a =
            centered_input(q, node, l->a, l->a_zero, p->trans_a || rank_a < 2 ? rank_a - 1 : rank_a - 2);
        mlc_value *b =
            centered_input(q, node, l->b, l->b_zero, p->trans_b && rank_b > 1 ? rank_b - 2 : rank_b - 1);
        y = a && b ? mlc_q_integer_product(q, p, a, b, shape) : NULL;
    }
    if (y && !added && l->c >= 0 && mlc_input(node, l->c))
        y = mlc_q_add(q, y, mlc_q_value(q, node->in[l->c]));
    return y ? mlc_q_wrap(q, y, MLC_INT32) : NULL;
}

/* What the sums stand for, as eval computes it: one function for each pair of scales. */
static mlc_form *scaled(mlc_quant *q, const mlc_node *node, const mlc_product *p, mlc_value *sum) {
    const layout *l = layout_of(node);
    const mlc_value *ys = l->y_scale >= 0 ? mlc_input(node, l->y_scale) : NULL;
    const mlc_value *yz = l->y_zero >= 0 ? mlc_input(node, l->y_zero) : NULL;
    const int64_t n = mlc_shape_elements(&sum->shape);
    const bool many_a = mlc_shape_elements(&node->in[l->a_scale]->shape) > 1,
               many_b = mlc_shape_elements(&node->in[l->b_scale]->shape) > 1;
    int64_t *keys = MLC_NEW_ARRAY(q->arena, 2 * n + 1, int64_t), *first;
    for (int64_t i = 0; i < n; i++) {
        keys[2 * i] = many_a ? i / p->N % p->M : 0;
        keys[2 * i + 1] = many_b ? i % p->N : 0;
    }
    mlc_form *f = mlc_form_simple(q, sum, NULL);
    f->cls = mlc_classes(q->arena, keys, n, 2, &f->n_cls, &first);
    if (!f->cls || n == 0)
        return NULL;
    const mlc_chain **chains = MLC_NEW_ARRAY(q->arena, f->n_cls, const mlc_chain *);
    for (int c = 0; c < f->n_cls; c++) {
        const int64_t *key = keys + 2 * first[c];
        double scale =
            mlc_f32(mlc_f32(alpha_of(node) * mlc_grid_scale(node->in[l->a_scale]->constant, key[0])) *
                    mlc_grid_scale(node->in[l->b_scale]->constant, key[1]));
        if (!ys)
            chains[c] = mlc_chain_linear(q, scale, 0, 0, MLC_FLOAT);
        else
            chains[c] = mlc_chain_grid(q, mlc_chain_linear(q, 1, 0, 0, MLC_INT32),
                                       mlc_f32(scale / ys->constant->f[0]), yz ? yz->constant->i[0] : 0,
                                       node->out[0]->dtype);
    }
    f->chain = chains;
    f->quantized = true;
    return f;
}

static bool constant_grids(mlc_quant *q, const mlc_node *node, const mlc_product *p) {
    const layout *l = layout_of(node);
    const mlc_shape rows = {2, {p->M, 1}}, columns = {1, {p->N}}, one = {0};
    mlc_grid g;
    return mlc_q_grid(q, node, l->a_scale, l->a_zero, &rows, 0, 0, &g) &&
           mlc_q_grid(q, node, l->b_scale, l->b_zero, &columns, 0, 0, &g) &&
           (!mlc_input(node, l->y_scale) || mlc_q_grid(q, node, l->y_scale, l->y_zero, &one, 0, 0, &g));
}

static bool quantize(mlc_quant *q, const mlc_node *node) {
    const layout *l = layout_of(node);
    mlc_product p;
    mlc_shape shape;
    product_of(NULL, node, &p, &shape);
    if (l->a_scale >= 0 && !constant_grids(q, node, &p))
        return false;
    mlc_value *sum = integer_product(q, node, &p, &shape);
    if (!sum || l->a_scale < 0)
        return mlc_q_result(q, node, sum);
    mlc_form *f = scaled(q, node, &p, sum);
    if (f && !mlc_dtype_is_integer(node->out[0]->dtype))
        return mlc_form_set(q, node->out[0], f);
    return mlc_form_bind_step(q, node->out[0], f) ||
           mlc_error_at(q->diag, node, "no exact integer form of the requantization was found");
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
