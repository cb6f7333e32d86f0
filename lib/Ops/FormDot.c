#include "Form.h"
#include "Spatial.h"

#include <math.h>

/* An output's integer sum s stands for (s - zero)*scale + offset. */
typedef struct meaning {
    double scale, offset;
    int64_t zero;
} meaning;

/* The bias in units of the sum, which goes into the sum; the rest stays in the offset. */
static meaning meaning_of(double scale, double bias) {
    meaning m = {scale, bias, 0};
    const double units = rint(bias / scale);
    if (fabs(units) < 0x1p40)
        m.zero = (int64_t)units;
    return m;
}

/* Sets the form of output 0: element i of `sum` means all[which(i)], i / inner % n of them. */
static bool set_sums(mlc_quant *q, const mlc_node *node, mlc_value *sum, const meaning *all, int64_t n,
                     int64_t inner) {
    const mlc_value *y = node->out[0];
    for (int64_t i = 0; i < n; i++)
        if (!isfinite(all[i].offset) || !isfinite(all[i].scale) || all[i].scale == 0)
            return false;
    const int64_t elements = mlc_shape_elements(&y->shape);
    int64_t *keys = MLC_NEW_ARRAY(q->arena, 3 * elements + 1, int64_t), *first;
    if (!sum || elements == 0)
        return false;
    for (int64_t i = 0; i < elements; i++)
        memcpy(keys + 3 * i, &all[i / inner % n], sizeof all[0]);
    mlc_form *f = MLC_NEW(q->arena, mlc_form);
    *f = (mlc_form){.x = sum, .quantized = true};
    f->cls = mlc_classes(q->arena, keys, elements, 3, &f->n_cls, &first);
    if (!f->cls)
        return false;
    const mlc_chain **chains = MLC_NEW_ARRAY(q->arena, f->n_cls, const mlc_chain *);
    for (int c = 0; c < f->n_cls; c++) {
        const meaning *m = &all[first[c] / inner % n];
        chains[c] = mlc_chain_linear(q, m->scale, m->zero, m->offset, y->dtype);
    }
    f->chain = chains;
    return mlc_form_set(q, y, f);
}

_Static_assert(sizeof(meaning) == 3 * sizeof(int64_t), "a meaning is a key of three numbers");

/* An affine form of quantized numbers. */
static const mlc_form *quantized(mlc_quant *q, const mlc_value *v, double *scale, int64_t *zero) {
    const mlc_form *f = v->constant ? NULL : mlc_form_of(q, v);
    return f && f->quantized && mlc_form_affine(f, scale, zero) && *scale != 0 ? f : NULL;
}

/* Sums of N dot products with w, element i being that of row i / inner % N, where x is off by some of its
 * units. */
static mlc_value *with_error(mlc_quant *q, mlc_value *sum, const mlc_value *x, const int64_t *w, int64_t N,
                             int64_t row, int64_t inner) {
    if (!sum || !x->err)
        return sum;
    double most = 0, *reach = MLC_NEW_ARRAY(q->arena, N, double);
    for (int64_t i = 0; i < mlc_shape_elements(&x->shape); i++)
        most = fmax(most, x->err[i] / x->scale);
    for (int64_t i = 0; i < N * row; i++)
        reach[i / row] += fabs((double)w[i]) * most;
    const int64_t n = mlc_shape_elements(&sum->shape);
    sum->err = MLC_NEW_ARRAY(q->arena, n + 1, double);
    for (int64_t i = 0; i < n; i++)
        sum->err[i] = reach[i / inner % N];
    return sum;
}

mlc_value *mlc_q_integer_linear(mlc_quant *q, mlc_value *x, const int64_t *w, const int64_t *bias, int64_t N,
                                int64_t K, const mlc_shape *shape) {
    const mlc_shape w_shape = {2, {N, K}}, b_shape = {1, {N}};
    mlc_value *const in[3] = {x, mlc_q_constant(q, w, &w_shape), mlc_q_constant(q, bias, &b_shape)};
    return with_error(q, mlc_q_node(q, "Linear", in, 3, shape, NULL, 0), x, w, N, K, 1);
}

mlc_value *mlc_form_rows(mlc_quant *q, const mlc_product *p, mlc_value *x) {
    if (!p->trans_a && mlc_shape_elements(&p->a_batch) == p->batch)
        return x;
    const mlc_shape shape = {3, {p->batch, p->M, p->K}};
    int64_t *index = MLC_NEW_ARRAY(q->arena, mlc_shape_elements(&shape), int64_t), at = 0;
    for (int64_t i = 0; i < p->batch; i++)
        for (int64_t m = 0; m < p->M; m++)
            for (int64_t k = 0; k < p->K; k++)
                index[at++] = mlc_product_a(p, i, m, k);
    return mlc_form_take(q, x, index, &shape);
}

/* Constant weights, one matrix for the whole batch. */
static bool by_constant(mlc_quant *q, const mlc_node *node, const mlc_product *p, const mlc_shape *shape,
                        double alpha, const double *bias) {
    double scale;
    int64_t zero;
    const mlc_form *f = quantized(q, node->in[0], &scale, &zero);
    const mlc_tensor *b = node->in[1]->constant;
    if (!f || !mlc_dtype_is_float(b->dtype) || mlc_shape_elements(&p->b_batch) != 1 || p->N * p->K == 0)
        return false;
    const int64_t n = p->N * p->K;
    double *w = MLC_NEW_ARRAY(q->arena, n, double), *scales = MLC_NEW_ARRAY(q->arena, p->N, double);
    int64_t *number = MLC_NEW_ARRAY(q->arena, n, int64_t), *addend = MLC_NEW_ARRAY(q->arena, p->N, int64_t);
    meaning *means = MLC_NEW_ARRAY(q->arena, p->N, meaning);
    for (int64_t i = 0; i < n; i++)
        w[i] = b->f[mlc_product_b(p, 0, i % p->K, i / p->K)];
    if (!mlc_form_weights(q->arena, w, n, p->K, number, scales))
        return false;
    for (int64_t o = 0; o < p->N; o++) {
        means[o] = meaning_of(scale * scales[o] * alpha, bias ? bias[o] : 0);
        addend[o] = means[o].zero;
        for (int64_t k = 0; k < p->K; k++)
            addend[o] -= zero * number[o * p->K + k];
    }
    mlc_value *x = mlc_form_rows(q, p, f->x);
    mlc_value *sum = x ? mlc_q_integer_linear(q, x, number, addend, p->N, p->K, shape) : NULL;
    return set_sums(q, node, sum, means, p->N, 1);
}

/* x - zero in its own units, of scale 1. */
static mlc_value *centered(mlc_quant *q, mlc_value *x, int64_t zero) {
    mlc_value *const in[2] = {x, mlc_q_scalar(q, zero)};
    mlc_value *r = mlc_q_node(q, "Sub", in, 2, NULL, NULL, 0);
    for (int64_t i = 0; r && x->err && i < mlc_shape_elements(&x->shape); i++) {
        if (!r->err)
            r->err = MLC_NEW_ARRAY(q->arena, mlc_shape_elements(&x->shape), double);
        r->err[i] = x->err[i] / x->scale;
    }
    return r;
}

/* Both sides are quantized tensors. */
static bool by_tensor(mlc_quant *q, const mlc_node *node, const mlc_product *p, const mlc_shape *shape,
                      double alpha) {
    double scale[2];
    int64_t zero[2];
    const mlc_form *a = quantized(q, node->in[0], &scale[0], &zero[0]),
                   *b = quantized(q, node->in[1], &scale[1], &zero[1]);
    if (!a || !b)
        return false;
    mlc_value *x = centered(q, a->x, zero[0]), *y = centered(q, b->x, zero[1]);
    mlc_value *sum = x && y ? mlc_q_integer_product(q, p, x, y, shape) : NULL;
    const meaning m = meaning_of(scale[0] * scale[1] * alpha, 0);
    return set_sums(q, node, sum, &m, 1, 1);
}

bool mlc_form_matmul(mlc_quant *q, const mlc_node *node) {
    mlc_product p;
    mlc_shape shape;
    if (!mlc_dtype_is_float(node->in[0]->dtype) || node->in[0]->constant)
        return false;
    mlc_product_of(NULL, node, &node->in[0]->shape, &node->in[1]->shape, false, false, &p, &shape);
    return node->in[1]->constant ? by_constant(q, node, &p, &shape, 1, NULL)
                                 : by_tensor(q, node, &p, &shape, 1);
}

/* beta * C where C is the same in every row; NULL: it is not. */
static const double *row_bias(mlc_quant *q, const mlc_node *node, const mlc_value *c, int64_t N) {
    const int64_t n = mlc_shape_elements(&c->shape);
    if (!c->constant || (n != 1 && !(n == N && c->shape.dim[c->shape.rank - 1] == N)))
        return NULL;
    double *bias = MLC_NEW_ARRAY(q->arena, N, double);
    for (int64_t i = 0; i < N; i++)
        bias[i] = mlc_attr_float(node, "beta", 1) * mlc_tensor_real(c->constant, n == 1 ? 0 : i);
    return bias;
}

bool mlc_form_gemm(mlc_quant *q, const mlc_node *node) {
    mlc_product p;
    mlc_shape shape;
    const mlc_value *c = mlc_input(node, 2);
    const double alpha = mlc_attr_float(node, "alpha", 1);
    if (!mlc_dtype_is_float(node->in[0]->dtype) || node->in[0]->constant || alpha == 0)
        return false;
    mlc_product_of(NULL, node, &node->in[0]->shape, &node->in[1]->shape, mlc_attr_int(node, "transA", 0) != 0,
                   mlc_attr_int(node, "transB", 0) != 0, &p, &shape);
    if (!node->in[1]->constant)
        return !c && by_tensor(q, node, &p, &shape, alpha);
    const double *bias = c ? row_bias(q, node, c, p.N) : NULL;
    return (!c || bias) && by_constant(q, node, &p, &shape, alpha, bias);
}

mlc_value *mlc_q_integer_conv(mlc_quant *q, mlc_value *x, int64_t padding, const int64_t *w,
                              const mlc_shape *w_shape, const int64_t *bias, const mlc_conv_geometry *c,
                              const mlc_shape *shape) {
    const mlc_shape b_shape = {1, {c->channels_out}};
    mlc_value *const in[3] = {x, mlc_q_constant(q, w, w_shape), mlc_q_constant(q, bias, &b_shape)};
    const int64_t *const lists[3] = {c->stride, c->dilation, c->pad_begin};
    static const char *const names[3] = {"strides", "dilations", "pads"};
    mlc_attr attrs[5];
    for (int a = 0; a < 3; a++) {
        int64_t *copy = MLC_NEW_ARRAY(q->arena, 3, int64_t);
        memcpy(copy, lists[a], 3 * sizeof *copy);
        attrs[a] = (mlc_attr){.name = names[a], .kind = MLC_ATTR_INTS, .n = c->nd, .ints = copy};
    }
    attrs[3] = (mlc_attr){.name = "group", .kind = MLC_ATTR_INT, .i = c->group};
    attrs[4] = (mlc_attr){.name = "pad_value", .kind = MLC_ATTR_INT, .i = padding};
    const int64_t row = mlc_shape_elements(w_shape) / c->channels_out;
    return with_error(q, mlc_q_node(q, "Conv", in, 3, shape, attrs, padding ? 5 : 4), x, w, c->channels_out,
                      row, c->out[0] * c->out[1] * c->out[2]);
}

bool mlc_form_conv(mlc_quant *q, const mlc_node *node) {
    const mlc_value *weights = node->in[1], *bias = mlc_input(node, 2);
    double scale;
    int64_t zero;
    const mlc_form *f = quantized(q, node->in[0], &scale, &zero);
    if (!f || !weights->constant || (bias && !bias->constant) || node->in[0]->shape.dim[0] != 1)
        return false;
    mlc_window window;
    mlc_window_of(NULL, node, &node->in[0]->shape, &weights->shape, &window);
    const int64_t n = mlc_shape_elements(&weights->shape), N = weights->shape.dim[0], row = N ? n / N : 0;
    if (n == 0)
        return false;
    double *scales = MLC_NEW_ARRAY(q->arena, N, double);
    int64_t *number = MLC_NEW_ARRAY(q->arena, n, int64_t), *addend = MLC_NEW_ARRAY(q->arena, N, int64_t);
    meaning *means = MLC_NEW_ARRAY(q->arena, N, meaning);
    if (!mlc_form_weights(q->arena, weights->constant->f, n, row, number, scales))
        return false;
    for (int64_t o = 0; o < N; o++) {
        means[o] = meaning_of(scale * scales[o], bias ? bias->constant->f[o] : 0);
        addend[o] = means[o].zero;
        for (int64_t k = 0; k < row; k++)
            addend[o] -= zero * number[o * row + k];
    }
    mlc_value *sum = mlc_q_integer_conv(q, f->x, zero, number, &weights->shape, addend, &window.geometry,
                                        &node->out[0]->shape);
    return set_sums(q, node, sum, means, N, window.positions);
}
