#include "Form.h"

#include <math.h>

/* 1 or -1: the op never falls, or never rises, as input `at` grows. */
static int direction(const mlc_node *node, int at, const mlc_tensor *const *constants) {
    static const char *const rising[] = {"Relu",     "Sigmoid", "Tanh", "Softplus", "Softsign", "Exp",
                                         "Identity", "Cast",    "Erf",  "Floor",    "Ceil",     "Round",
                                         "Clip",     "Add",     "Max",  "Min"};
    static const char *const sloped[] = {"LeakyRelu", "Elu", "Celu", "HardSigmoid"};
    const char *op = node->op->name;
    for (size_t i = 0; i < sizeof rising / sizeof rising[0]; i++)
        if (!strcmp(op, rising[i]))
            return 1;
    for (size_t i = 0; i < sizeof sloped / sizeof sloped[0]; i++)
        if (!strcmp(op, sloped[i]))
            return mlc_attr_float(node, "alpha", 0.01) >= 0 ? 1 : 0;
    if (!strcmp(op, "Selu"))
        return mlc_attr_float(node, "alpha", 1) >= 0 && mlc_attr_float(node, "gamma", 1) >= 0 ? 1 : 0;
    if (!strcmp(op, "Neg"))
        return -1;
    if (!strcmp(op, "Sub"))
        return at == 0 ? 1 : -1;
    if (!strcmp(op, "Mul") || (!strcmp(op, "Div") && at == 0) || !strcmp(op, "BatchNormalization"))
        return mlc_tensor_real(constants[at == 0 ? 1 : 0], 0) < 0 ? -1 : 1;
    return 0;
}

/* Element of constant input k that meets element i of the result. */
static int64_t constant_at(const mlc_node *node, int k, int64_t i) {
    const mlc_shape *c = &node->in[k]->shape, *y = &node->out[0]->shape;
    if (!strcmp(node->op->name, "BatchNormalization")) {
        int64_t strides[MLC_MAX_RANK];
        mlc_shape_strides(y, strides);
        return i / strides[1] % y->dim[1];
    }
    return mlc_shape_broadcast_index(c, y, i);
}

static bool constants_fit(const mlc_node *node, int at) {
    const mlc_shape *y = &node->out[0]->shape;
    const bool normalizes = !strcmp(node->op->name, "BatchNormalization");
    if (normalizes && (y->rank < 2 || mlc_attr_int(node, "spatial", 1) == 0))
        return false;
    for (int k = 0; k < node->n_in; k++) {
        if (k == at || !node->in[k])
            continue;
        mlc_shape both;
        const mlc_value *v = node->in[k];
        if (!v->constant || v->dtype == MLC_STRING)
            return false;
        if (!normalizes && (!mlc_shape_broadcast(&v->shape, y, &both) || !mlc_shape_equal(&both, y)))
            return false;
    }
    return true;
}

mlc_value *mlc_form_spread(mlc_quant *q, mlc_value *x, const mlc_shape *shape) {
    if (mlc_shape_equal(&x->shape, shape))
        return x;
    const int64_t n = mlc_shape_elements(shape);
    int64_t *index = MLC_NEW_ARRAY(q->arena, n, int64_t);
    for (int64_t i = 0; i < n; i++)
        index[i] = mlc_shape_broadcast_index(&x->shape, shape, i);
    return mlc_form_take(q, x, index, shape);
}

const mlc_tensor *mlc_form_element(mlc_quant *q, const mlc_tensor *t, int64_t i) {
    const mlc_shape one = {1, {1}};
    mlc_tensor *e = mlc_tensor_create(q->arena, t->dtype, &one);
    mlc_move(e, 0, t, i);
    return e;
}

mlc_form *mlc_form_through(mlc_quant *q, const mlc_node *node, int at, const mlc_form *f) {
    enum { WIDTH = 8 };
    const mlc_value *y = node->out[0];
    const mlc_shape *from = &f->x->shape;
    const int64_t n = mlc_shape_elements(&y->shape);
    if (node->n_in > WIDTH || f->depth >= MLC_FORM_DEPTH || !constants_fit(node, at))
        return NULL;
    /* Elements with the same function before and the same constants have one function behind. */
    int64_t *keys = MLC_NEW_ARRAY(q->arena, n * WIDTH + 1, int64_t), *first;
    for (int64_t i = 0; i < n; i++) {
        const int64_t source = mlc_shape_broadcast_index(from, &y->shape, i);
        for (int k = 0; k < node->n_in; k++)
            keys[i * WIDTH + k] = k == at       ? (f->cls ? f->cls[source] : 0)
                                  : node->in[k] ? node->in[k]->constant->i[constant_at(node, k, i)]
                                                : 0;
    }
    mlc_form *r = MLC_NEW(q->arena, mlc_form);
    *r = *f;
    r->cls = mlc_classes(q->arena, keys, n, WIDTH, &r->n_cls, &first);
    if (!r->cls || n == 0)
        return NULL;
    const mlc_chain **chains = MLC_NEW_ARRAY(q->arena, r->n_cls, const mlc_chain *);
    for (int c = 0; c < r->n_cls; c++) {
        const int64_t i = first[c], source = mlc_shape_broadcast_index(from, &y->shape, i);
        const mlc_chain *prev = f->chain[f->cls ? f->cls[source] : 0];
        const mlc_tensor **constants = MLC_NEW_ARRAY(q->arena, node->n_in, const mlc_tensor *);
        for (int k = 0; k < node->n_in; k++)
            if (k != at && node->in[k])
                constants[k] = mlc_form_element(q, node->in[k]->constant, constant_at(node, k, i));
        mlc_chain *chain = MLC_NEW(q->arena, mlc_chain);
        *chain = (mlc_chain){.kind = MLC_CHAIN_NODE,
                             .depth = prev->depth + 1,
                             .dtype = y->dtype,
                             .node = node,
                             .at = at,
                             .prev = prev,
                             .constants = constants};
        chain->direction = prev->direction * direction(node, at, constants);
        chains[c] = chain;
    }
    r->chain = chains;
    r->x = mlc_form_spread(q, f->x, &y->shape);
    r->y = f->y ? mlc_form_spread(q, f->y, &y->shape) : NULL;
    r->depth++;
    return r->x && (!f->y || r->y) ? r : NULL;
}

static mlc_pair pair_of(const mlc_node *node, const mlc_chain *a, const mlc_chain *b) {
    mlc_pair pair = {.kind = MLC_PAIR_OTHER};
    const char *op = node->op->name;
    if (a->kind != MLC_CHAIN_LINEAR || b->kind != MLC_CHAIN_LINEAR || a->offset != 0 || b->offset != 0)
        return pair;
    pair = (mlc_pair){MLC_PAIR_OTHER, a->scale, b->scale, a->zero, b->zero};
    if (!strcmp(op, "Add") || !strcmp(op, "Sub")) {
        pair.kind = MLC_PAIR_SUM;
        pair.slope_y *= !strcmp(op, "Sub") ? -1 : 1;
    } else if (!strcmp(op, "Mul")) {
        pair.kind = MLC_PAIR_PRODUCT;
        pair.slope_x *= b->scale;
    }
    return pair;
}

/* (x - zero) as an integer value. */
static mlc_value *centered(mlc_quant *q, mlc_value *x, int64_t zero) {
    mlc_value *const in[2] = {x, mlc_q_scalar(q, zero)};
    return zero ? mlc_q_node(q, "Sub", in, 2, NULL, NULL, 0) : x;
}

static bool many(const mlc_value *x, const mlc_value *y) {
    double most[2] = {0};
    for (int k = 0; k < 2; k++) {
        const mlc_value *v = k ? y : x;
        double lo = INFINITY, hi = -INFINITY;
        for (int64_t i = 0; i < mlc_shape_elements(&v->shape); i++) {
            lo = fmin(lo, (double)v->lo[i]);
            hi = fmax(hi, (double)v->hi[i]);
        }
        most[k] = hi - lo + 1;
    }
    return most[0] * most[1] > (1 << 17);
}

/* The product of two affine numbers is affine in the product of their integers. */
static bool exact_product(mlc_quant *q, const mlc_node *node, mlc_value *x, mlc_value *y,
                          const mlc_pair *pair) {
    x = centered(q, x, pair->zero_x);
    y = centered(q, y, pair->zero_y);
    mlc_value *const in[2] = {x, y};
    mlc_value *product = mlc_q_node(q, "Mul", in, 2, NULL, NULL, 0);
    if (!product)
        return false;
    return mlc_form_set(
        q, node->out[0],
        mlc_form_simple(q, product, mlc_chain_linear(q, pair->slope_x, 0, 0, node->out[0]->dtype)));
}

static bool pair_form(mlc_quant *q, const mlc_node *node, const mlc_form *a, const mlc_form *b) {
    const mlc_shape *shape = &node->out[0]->shape;
    if (a->n_cls != 1 || b->n_cls != 1 || a->y || b->y || a->x->err || b->x->err ||
        a->depth >= MLC_FORM_DEPTH || b->depth >= MLC_FORM_DEPTH || mlc_shape_elements(shape) == 0)
        return false;
    const bool same = a->x == b->x && mlc_shape_equal(&a->x->shape, shape);
    mlc_value *x = mlc_form_spread(q, a->x, shape), *y = same ? NULL : mlc_form_spread(q, b->x, shape);
    if (!x || (!same && !y))
        return false;
    const mlc_pair pair = pair_of(node, a->chain[0], b->chain[0]);
    if (y && many(x, y))
        return pair.kind == MLC_PAIR_PRODUCT && exact_product(q, node, x, y, &pair);
    mlc_chain *chain = MLC_NEW(q->arena, mlc_chain);
    *chain = (mlc_chain){.kind = MLC_CHAIN_PAIR,
                         .dtype = node->out[0]->dtype,
                         .node = node,
                         .at = 0,
                         .other_at = 1,
                         .prev = a->chain[0],
                         .other = b->chain[0],
                         .pair = pair,
                         .constants = MLC_NEW_ARRAY(q->arena, 2, const mlc_tensor *)};
    chain->depth = 1 + (a->chain[0]->depth > b->chain[0]->depth ? a->chain[0]->depth : b->chain[0]->depth);
    mlc_form *f = mlc_form_simple(q, x, chain);
    f->y = y;
    f->depth = 1 + (a->depth > b->depth ? a->depth : b->depth);
    return mlc_form_set(q, node->out[0], f);
}

bool mlc_form_elementwise(mlc_quant *q, const mlc_node *node) {
    int at = -1, other = -1;
    for (int k = 0; k < node->n_in; k++) {
        if (!node->in[k] || node->in[k]->constant)
            continue;
        if (other >= 0)
            return false;
        *(at < 0 ? &at : &other) = k;
    }
    /* Integer arithmetic is exact anyway. */
    if (at < 0 || !mlc_dtype_is_float(node->out[0]->dtype) || (node->n_out > 1 && node->out[1]))
        return false;
    const mlc_form *f = mlc_form_of(q, node->in[at]);
    if (!f)
        return false;
    if (other >= 0) {
        const mlc_form *g = mlc_form_of(q, node->in[other]);
        return g && node->n_in == 2 && pair_form(q, node, f, g);
    }
    mlc_form *r = mlc_form_through(q, node, at, f);
    return r && mlc_form_set(q, node->out[0], r);
}

bool mlc_form_bind_step(mlc_quant *q, const mlc_value *v, const mlc_form *f) {
    mlc_value *step = f ? mlc_q_step(q, f) : NULL;
    return step && mlc_q_bind(q, v, step);
}
