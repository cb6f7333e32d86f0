#include "Elementwise.h"

#include <math.h>

int64_t mlc_wrap(mlc_dtype t, int64_t x) {
    int bits;
    bool is_signed = false;
    switch (t) {
    case MLC_BOOL:
        return x != 0;
    case MLC_INT4:
        is_signed = true;
        /* fall through */
    case MLC_UINT4:
        bits = 4;
        break;
    case MLC_INT8:
        is_signed = true;
        /* fall through */
    case MLC_UINT8:
        bits = 8;
        break;
    case MLC_INT16:
        is_signed = true;
        /* fall through */
    case MLC_UINT16:
        bits = 16;
        break;
    case MLC_INT32:
        is_signed = true;
        /* fall through */
    case MLC_UINT32:
        bits = 32;
        break;
    default:
        return x;
    }
    int64_t low = x & (((int64_t)1 << bits) - 1);
    int64_t sign = (int64_t)1 << (bits - 1);
    return is_signed ? (low ^ sign) - sign : low;
}

int64_t mlc_wrap_add(int64_t a, int64_t b) {
    return (int64_t)((uint64_t)a + (uint64_t)b);
}

int64_t mlc_wrap_sub(int64_t a, int64_t b) {
    return (int64_t)((uint64_t)a - (uint64_t)b);
}

int64_t mlc_wrap_mul(int64_t a, int64_t b) {
    return (int64_t)((uint64_t)a * (uint64_t)b);
}

int64_t mlc_real_to_int(mlc_dtype t, double x) {
    if (t == MLC_BOOL)
        return x != 0;
    if (isnan(x))
        return 0;
    int64_t lo, hi;
    mlc_dtype_range(t, &lo, &hi);
    /* (double)hi may round up to a power of two that does not fit: >= keeps it out. */
    if (x >= (double)hi)
        return hi;
    if (x <= (double)lo)
        return lo;
    return (int64_t)x;
}

static void store(mlc_tensor *out, int64_t i, double x) {
    if (mlc_dtype_is_float(out->dtype))
        out->f[i] = x;
    else
        out->i[i] = mlc_real_to_int(out->dtype, x);
}

void mlc_eval_unary(const mlc_tensor *in, mlc_tensor *out, mlc_real1 real, mlc_int1 integer) {
    int64_t n = mlc_shape_elements(&out->shape);
    if (integer && !mlc_dtype_is_float(in->dtype) && !mlc_dtype_is_float(out->dtype)) {
        for (int64_t i = 0; i < n; i++)
            out->i[i] = mlc_wrap(out->dtype, integer(in->i[i]));
        return;
    }
    for (int64_t i = 0; i < n; i++)
        store(out, i, real(mlc_tensor_real(in, i)));
}

void mlc_eval_function(const mlc_tensor *in, mlc_tensor *out, mlc_real_fn fn, const void *user) {
    int64_t n = mlc_shape_elements(&out->shape);
    for (int64_t i = 0; i < n; i++)
        store(out, i, fn(mlc_tensor_real(in, i), user));
}

void mlc_eval_binary(const mlc_tensor *a, const mlc_tensor *b, mlc_tensor *out, mlc_real2 real,
                     mlc_int2 integer) {
    bool whole = integer && !mlc_dtype_is_float(a->dtype) && !mlc_dtype_is_float(b->dtype) &&
                 !mlc_dtype_is_float(out->dtype);
    int64_t n = mlc_shape_elements(&out->shape);
    mlc_walk w;
    mlc_walk_begin(&w, &out->shape, 2, (const mlc_shape *const[]){&a->shape, &b->shape});
    for (int64_t i = 0; i < n; i++, mlc_walk_next(&w)) {
        if (whole)
            out->i[i] = mlc_wrap(out->dtype, integer(a->i[w.at[0]], b->i[w.at[1]]));
        else
            store(out, i, real(mlc_tensor_real(a, w.at[0]), mlc_tensor_real(b, w.at[1])));
    }
}

mlc_axis_view mlc_view_axis(const mlc_shape *s, int axis) {
    mlc_axis_view v = {1, axis < s->rank ? s->dim[axis] : 1, 1};
    for (int d = 0; d < axis && d < s->rank; d++)
        v.outer *= s->dim[d];
    for (int d = axis + 1; d < s->rank; d++)
        v.inner *= s->dim[d];
    return v;
}

void mlc_walk_begin(mlc_walk *w, const mlc_shape *shape, int n, const mlc_shape *const *from) {
    memset(w, 0, sizeof *w);
    w->shape = *shape;
    w->n = n;
    for (int k = 0; k < n; k++) {
        int64_t step = 1;
        int lead = shape->rank - from[k]->rank;
        for (int d = from[k]->rank - 1; d >= 0; d--) {
            w->stride[k][lead + d] = from[k]->dim[d] == 1 ? 0 : step;
            step *= from[k]->dim[d];
        }
    }
}

void mlc_walk_next(mlc_walk *w) {
    for (int d = w->shape.rank - 1; d >= 0; d--) {
        for (int k = 0; k < w->n; k++)
            w->at[k] += w->stride[k][d];
        if (++w->position[d] < w->shape.dim[d])
            return;
        for (int k = 0; k < w->n; k++)
            w->at[k] -= w->stride[k][d] * w->shape.dim[d];
        w->position[d] = 0;
    }
}

void mlc_unflatten(const mlc_shape *s, int64_t i, int64_t position[MLC_MAX_RANK]) {
    for (int d = s->rank - 1; d >= 0; d--) {
        position[d] = s->dim[d] ? i % s->dim[d] : 0;
        i = s->dim[d] ? i / s->dim[d] : 0;
    }
}

int64_t mlc_flatten(const mlc_shape *s, const int64_t position[MLC_MAX_RANK]) {
    int64_t i = 0;
    for (int d = 0; d < s->rank; d++)
        i = i * s->dim[d] + position[d];
    return i;
}
