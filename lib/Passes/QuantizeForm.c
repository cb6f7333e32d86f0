/* Exact forms (form.h): which shaped values have one, and what stands for them where an integer value is
 * asked for. */
#include "Quant.h"

#include "mlc/form.h"

#include <math.h>
#include <string.h>

bool mlc_form_set(mlc_quant *q, const mlc_value *v, const mlc_form *form) {
    q->form[v->id] = form;
    return true;
}

const mlc_form *mlc_form_of(mlc_quant *q, const mlc_value *v) {
    if (v->constant)
        return NULL;
    if (q->form[v->id])
        return q->form[v->id];
    mlc_value *integer = q->map[v->id];
    if (!integer || !mlc_dtype_is_integer(v->dtype) || integer->scale != 1 || integer->zero != 0)
        return NULL;
    mlc_form *f = mlc_form_simple(q, integer, mlc_chain_linear(q, 1, 0, 0, v->dtype));
    q->form[v->id] = f;
    return f;
}

bool mlc_form_affine(const mlc_form *f, double *scale, int64_t *zero) {
    const mlc_chain *c = f->chain[0];
    if (f->n_cls != 1 || f->y || c->kind != MLC_CHAIN_LINEAR || c->offset != 0)
        return false;
    *scale = c->scale;
    *zero = c->zero;
    return true;
}

bool mlc_form_node(mlc_quant *q, const mlc_node *node) {
    for (int i = 0; i < mlc_n_form_rules; i++)
        if (strcmp(mlc_form_rules[i].op, node->op->name) == 0 &&
            strcmp(mlc_form_rules[i].domain, node->op->domain) == 0)
            return mlc_form_rules[i].form(q, node);
    return false;
}

/* Whether x changes along no dimension but d. */
static bool varies_along(const int64_t *x, const mlc_shape *shape, int d) {
    int64_t strides[MLC_MAX_RANK], n = mlc_shape_elements(shape);
    mlc_shape_strides(shape, strides);
    for (int64_t i = 0; i < n; i++)
        if (x[i] != x[i / strides[d] % shape->dim[d] * strides[d]])
            return false;
    return true;
}

mlc_value *mlc_q_per_class(mlc_quant *q, const int64_t *x, const mlc_shape *shape) {
    int64_t n = mlc_shape_elements(shape), i = 0;
    while (i < n && x[i] == x[0])
        i++;
    if (i == n)
        return mlc_q_scalar(q, n ? x[0] : 0);
    for (int d = 0; d < shape->rank; d++) {
        if (!varies_along(x, shape, d))
            continue;
        int64_t strides[MLC_MAX_RANK], *own = MLC_NEW_ARRAY(q->arena, shape->dim[d], int64_t);
        mlc_shape along = {.rank = shape->rank - d, .dim = {shape->dim[d]}};
        mlc_shape_strides(shape, strides);
        for (int k = 1; k < along.rank; k++)
            along.dim[k] = 1;
        for (i = 0; i < shape->dim[d]; i++)
            own[i] = x[i * strides[d]];
        return mlc_q_constant(q, own, &along);
    }
    return mlc_q_constant(q, x, shape);
}

/* What several classes of (x - zero)*scale + offset mean, as one value of one scale. */
static mlc_value *common_scale(mlc_quant *q, const mlc_form *f, const mlc_shape *shape) {
    int64_t n = mlc_shape_elements(shape);
    double most = 0, worst = 0;
    for (int64_t i = 0; i < n; i++) {
        const mlc_chain *c = f->chain[f->cls ? f->cls[i] : 0];
        double lo = fma((double)f->x->lo[i] - (double)c->zero, c->scale, c->offset),
               hi = fma((double)f->x->hi[i] - (double)c->zero, c->scale, c->offset);
        most = fmax(most, fmax(fabs(lo), fabs(hi)) + fabs(c->offset) + fabs(c->scale * (double)c->zero));
        worst =
            fmax(worst, fabs(c->scale) * (fmax(fabs((double)f->x->lo[i]), fabs((double)f->x->hi[i])) + 1));
    }
    /* The product x * multiplier and the sum fill the accumulator; the shift leaves the working precision. */
    int range = 0, full = 0;
    frexp(fmax(most, 1e-300), &range);
    frexp(fmax(fmax(most, worst), 1e-300), &full);
    int fraction = MLC_ACCUMULATOR_BITS - 1 - full,
        shift = MLC_ACCUMULATOR_BITS - 1 - MLC_WORK_BITS - (full - range);
    if (shift < 0)
        shift = 0;
    double fine = ldexp(1, -fraction), scale = ldexp(fine, shift);
    int64_t *m = MLC_NEW_ARRAY(q->arena, n + 1, int64_t), *a = MLC_NEW_ARRAY(q->arena, n + 1, int64_t);
    double *err = MLC_NEW_ARRAY(q->arena, n + 1, double);
    for (int64_t i = 0; i < n; i++) {
        const mlc_chain *c = f->chain[f->cls ? f->cls[i] : 0];
        m[i] = (int64_t)rint(c->scale / fine);
        double x = fmax(fabs((double)f->x->lo[i]), fabs((double)f->x->hi[i]));
        double offset = c->offset - (double)c->zero * c->scale;
        a[i] = (int64_t)rint(offset / fine) + (shift ? (int64_t)1 << (shift - 1) : 0);
        err[i] = fabs((double)m[i] * fine - c->scale) * x + fine + 0.5 * scale +
                 mlc_q_err(f->x, i) / f->x->scale * fabs(c->scale);
    }
    mlc_value *in[3] = {f->x, mlc_q_per_class(q, m, shape), mlc_q_per_class(q, a, shape)};
    mlc_attr attr = {.name = "shift", .kind = MLC_ATTR_INT, .i = shift};
    mlc_value *r = mlc_q_node(q, "Rescale", in, 3, NULL, &attr, 1);
    if (!r)
        return NULL;
    r->scale = scale;
    r->err = err;
    return r;
}

/* x - zero, at its scale. */
static mlc_value *affine_value(mlc_quant *q, mlc_value *x, double scale, int64_t zero) {
    mlc_value *r = zero ? mlc_q_binary(q, "Sub", x, mlc_q_scalar(q, zero)) : mlc_q_reshape(q, x, &x->shape);
    if (!r)
        return NULL;
    if (scale < 0 && !(r = mlc_q_neg(q, r)))
        return NULL;
    r->scale = fabs(scale);
    r->err = NULL;
    if (x->err) {
        double *err = mlc_q_err_array(q, r);
        for (int64_t i = 0; i < mlc_q_elements(r); i++)
            err[i] = x->err[i] / x->scale * fabs(scale);
    }
    return r;
}

static mlc_value *build(mlc_quant *q, const mlc_value *v) {
    const mlc_form *f = q->form[v->id];
    double scale;
    int64_t zero;
    if (mlc_form_affine(f, &scale, &zero) && scale != 0)
        return affine_value(q, f->x, scale, zero);
    bool linear = !f->y;
    for (int c = 0; c < f->n_cls; c++)
        linear = linear && f->chain[c]->kind == MLC_CHAIN_LINEAR;
    if (linear)
        return common_scale(q, f, &f->x->shape);
    return mlc_q_rewrite(q, v->producer) ? q->map[v->id] : NULL;
}

mlc_value *mlc_form_value(mlc_quant *q, const mlc_value *v) {
    const mlc_node *outer = q->node;
    const int outer_bits = q->dot_bits;
    if (v->producer)
        q->node = v->producer;
    mlc_value *r = build(q, v);
    if (r && mlc_q_bind(q, v, r))
        r = q->map[v->id];
    q->node = outer;
    q->dot_bits = outer_bits;
    return r;
}
