/* Builders of quantize.h: data movement, reductions, comparisons. */
#include "Precision.h"
#include "Quant.h"

#include <math.h>
#include <string.h>

static mlc_value *gather_node(mlc_quant *q, mlc_value *const *in, int n_in, const int64_t *index,
                              const mlc_shape *shape) {
    mlc_value **all = MLC_NEW_ARRAY(q->arena, n_in + 1, mlc_value *);
    memcpy(all, in, (size_t)n_in * sizeof *all);
    all[n_in] = mlc_q_constant(q, index, shape);
    return mlc_q_node(q, "Gather", all, n_in + 1, shape, NULL, 0);
}

/* Errors follow the elements. */
static void gather_errors(mlc_quant *q, mlc_value *r, mlc_value *const *in, int n_in, const int64_t *index) {
    bool any = false;
    for (int k = 0; k < n_in; k++)
        any = any || in[k]->err;
    if (!any)
        return;
    double *err = mlc_q_err_array(q, r);
    for (int64_t i = 0; i < mlc_q_elements(r); i++) {
        int64_t at = index[i];
        for (int k = 0; k < n_in; at -= mlc_q_elements(in[k++]))
            if (at < mlc_q_elements(in[k])) {
                err[i] = mlc_q_err(in[k], at);
                break;
            }
    }
}

mlc_value *mlc_q_gather(mlc_quant *q, mlc_value *const *in, int n_in, const int64_t *index, double fill,
                        const mlc_shape *shape) {
    int64_t n = mlc_shape_elements(shape), total = 0;
    bool filled = false;
    for (int64_t i = 0; i < n; i++)
        filled = filled || index[i] < 0;
    mlc_value **all = MLC_NEW_ARRAY(q->arena, n_in + 1, mlc_value *);
    for (int k = 0; k < n_in; k++) {
        if (!in[k])
            return NULL;
        all[k] = in[k];
        total += mlc_q_elements(in[k]);
    }
    int count = n_in;
    if (filled) {
        mlc_shape scalar = {0};
        all[count++] = mlc_q_real_constant(q, &fill, &scalar, MLC_WORK_BITS);
        if (!all[n_in])
            return NULL;
    }
    for (int k = 1; k < count; k++) /* the finest scale reaches the first ... */
        if (!mlc_q_align(q, &all[0], &all[k]))
            return NULL;
    for (int k = 1; k < count; k++) /* ... and from there all */
        if (!(all[k] = mlc_q_rescale(q, all[k], all[0]->scale)))
            return NULL;
    int64_t *at = MLC_NEW_ARRAY(q->arena, n + 1, int64_t);
    for (int64_t i = 0; i < n; i++)
        at[i] = index[i] < 0 ? total : index[i];
    mlc_value *r = gather_node(q, all, count, at, shape);
    if (!r)
        return NULL;
    r->scale = all[0]->scale;
    gather_errors(q, r, all, count, at);
    mlc_q_gather_seen(q, r, all, count, at);
    return r;
}

mlc_value *mlc_q_reshape(mlc_quant *q, mlc_value *v, const mlc_shape *shape) {
    if (!v)
        return NULL;
    int64_t n = mlc_q_elements(v), *index = MLC_NEW_ARRAY(q->arena, n + 1, int64_t);
    for (int64_t i = 0; i < n; i++)
        index[i] = i;
    return mlc_q_gather(q, &v, 1, index, 0, shape);
}

mlc_value *mlc_q_reduce(mlc_quant *q, mlc_reduce kind, mlc_value *v, const int64_t *index, int64_t n,
                        const mlc_shape *shape) {
    static const char *const ops[] = {"ReduceSum", "ReduceMax", "ReduceMin", "ArgMax"};
    if (!v)
        return NULL;
    int64_t groups = mlc_shape_elements(shape);
    if (kind == MLC_REDUCE_SUM && n > 1) { /* room for the carries */
        int carries = mlc_q_bits((uint64_t)n);
        v = mlc_q_narrow(q, v, MLC_ACCUMULATOR_BITS - carries);
        if (!v)
            return NULL;
    }
    mlc_shape index_shape = *shape;
    if (index_shape.rank == MLC_MAX_RANK)
        index_shape = (mlc_shape){.rank = 1, .dim = {groups}};
    index_shape.dim[index_shape.rank++] = n;
    mlc_value *in[2] = {v, mlc_q_constant(q, index, &index_shape)};
    mlc_value *r = mlc_q_node(q, ops[kind], in, 2, shape, NULL, 0);
    if (!r)
        return NULL;
    if (kind == MLC_REDUCE_ARGMAX) {
        if (v->err) { /* a tie within the error may go either way */
            double *err = mlc_q_err_array(q, r);
            for (int64_t i = 0; i < groups; i++)
                err[i] = (double)(r->hi[i] - r->lo[i]);
        }
        return r;
    }
    r->scale = v->scale;
    if (v->err) {
        double *err = mlc_q_err_array(q, r);
        for (int64_t i = 0; i < groups; i++)
            for (int64_t j = 0; j < n; j++) {
                int64_t at = index[i * n + j];
                if (at < 0)
                    continue;
                err[i] = kind == MLC_REDUCE_SUM ? err[i] + v->err[at] : fmax(err[i], v->err[at]);
            }
    }
    return kind == MLC_REDUCE_SUM ? mlc_q_settle(q, r) : r;
}

/* 0 or 1; wrong by 1 where an inexact operand is close. */
static mlc_value *comparison(mlc_quant *q, const char *op, mlc_value *a, mlc_value *b) {
    if (!mlc_q_align(q, &a, &b))
        return NULL;
    mlc_value *r = mlc_q_binary(q, op, a, b);
    if (!r || (!a->err && !b->err))
        return r;
    double *err = mlc_q_err_array(q, r);
    for (int64_t i = 0; i < mlc_q_elements(r); i++) {
        int64_t ia = mlc_shape_broadcast_index(&a->shape, &r->shape, i),
                ib = mlc_shape_broadcast_index(&b->shape, &r->shape, i);
        bool apart =
            mlc_q_real_hi(a, ia) < mlc_q_real_lo(b, ib) || mlc_q_real_lo(a, ia) > mlc_q_real_hi(b, ib);
        err[i] = apart ? 0 : 1;
    }
    return r;
}

static mlc_value *negated(mlc_quant *q, mlc_value *bit) {
    if (!bit)
        return NULL;
    mlc_value *r = mlc_q_binary(q, "Sub", mlc_q_scalar(q, 1), bit);
    if (r)
        r->err = bit->err;
    return r;
}

mlc_value *mlc_q_less(mlc_quant *q, mlc_value *a, mlc_value *b) {
    return comparison(q, "Less", a, b);
}

mlc_value *mlc_q_less_equal(mlc_quant *q, mlc_value *a, mlc_value *b) {
    return negated(q, comparison(q, "Less", b, a));
}

mlc_value *mlc_q_equal(mlc_quant *q, mlc_value *a, mlc_value *b) {
    return comparison(q, "Equal", a, b);
}

mlc_value *mlc_q_where(mlc_quant *q, mlc_value *c, mlc_value *a, mlc_value *b) {
    if (!c || !mlc_q_align(q, &a, &b))
        return NULL;
    mlc_value *in[3] = {c, a, b};
    mlc_value *r = mlc_q_node(q, "Where", in, 3, NULL, NULL, 0);
    if (!r)
        return NULL;
    r->scale = a->scale;
    if (!a->err && !b->err && !c->err)
        return r;
    double *err = mlc_q_err_array(q, r);
    for (int64_t i = 0; i < mlc_q_elements(r); i++) {
        int64_t ia = mlc_shape_broadcast_index(&a->shape, &r->shape, i),
                ib = mlc_shape_broadcast_index(&b->shape, &r->shape, i),
                ic = mlc_shape_broadcast_index(&c->shape, &r->shape, i);
        err[i] = fmax(mlc_q_err(a, ia), mlc_q_err(b, ib));
        if (mlc_q_err(c, ic) > 0)
            err[i] += fmax(mlc_q_real_hi(a, ia), mlc_q_real_hi(b, ib)) -
                      fmin(mlc_q_real_lo(a, ia), mlc_q_real_lo(b, ib));
    }
    return r;
}
