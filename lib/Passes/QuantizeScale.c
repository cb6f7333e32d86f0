/*
 * Builder of quantize.h: multiplication by constants of very different sizes. With
 * one scale for all, the small ones would lose their digits; each has its own here:
 *
 *   v * c_k ~ (v * m_k + half) >> s_k,  c_k ~ m_k * 2^-(f + s_k)
 */
#include "Quant.h"

#include <limits.h>
#include <math.h>

enum {
    UNEQUAL_BITS = 8, /* between the sizes of constants that share a scale */
    MOST_SHIFT = 40,
    LEAST_BITS = 22, /* of a constant */
};

static int exponent_of(double x) {
    int e = 0;
    frexp(x, &e);
    return e;
}

bool mlc_q_unequal(const double *c, int64_t n) {
    int least = INT_MAX, most = INT_MIN;
    for (int64_t i = 0; i < n; i++) {
        if (c[i] == 0 || !isfinite(c[i]))
            continue;
        int e = exponent_of(c[i]);
        least = e < least ? e : least;
        most = e > most ? e : most;
    }
    return most > INT_MIN && most - least > UNEQUAL_BITS;
}

mlc_value *mlc_q_mul_unequal(mlc_quant *q, mlc_value *v, const double *c, const mlc_shape *shape) {
    int64_t n = mlc_shape_elements(shape);
    int most = INT_MIN;
    for (int64_t i = 0; i < n; i++) {
        if (!isfinite(c[i])) {
            mlc_error_at(q->diag, q->node,
                         "a constant operand is %g; only finite numbers can be lowered to integers", c[i]);
            return NULL;
        }
        if (c[i] != 0 && exponent_of(c[i]) > most)
            most = exponent_of(c[i]);
    }
    enum { ROOM = MLC_ACCUMULATOR_BITS - 1 };
    int bits = ROOM - mlc_q_bits((uint64_t)mlc_q_magnitude(v));
    bits = bits < LEAST_BITS ? LEAST_BITS : bits > MLC_WEIGHT_BITS ? MLC_WEIGHT_BITS : bits;
    v = mlc_q_narrow(q, v, ROOM - bits);
    if (!v)
        return NULL;
    int64_t *m = MLC_NEW_ARRAY(q->arena, n, int64_t), *s = MLC_NEW_ARRAY(q->arena, n, int64_t);
    int64_t *half = MLC_NEW_ARRAY(q->arena, n, int64_t);
    for (int64_t i = 0; i < n; i++) {
        int shift = c[i] != 0 ? most - exponent_of(c[i]) : 0;
        s[i] = shift < MOST_SHIFT ? shift : MOST_SHIFT;
        m[i] = (int64_t)rint(ldexp(c[i], bits - most + (int)s[i]));
        half[i] = s[i] ? (int64_t)1 << (s[i] - 1) : 0;
    }
    mlc_value *r = mlc_q_binary(q, "Mul", v, mlc_q_constant(q, m, shape));
    r = r ? mlc_q_binary(q, "Add", r, mlc_q_constant(q, half, shape)) : NULL;
    r = r ? mlc_q_binary(q, "ShiftRight", r, mlc_q_constant(q, s, shape)) : NULL;
    if (!r)
        return NULL;
    r->scale = ldexp(v->scale, most - bits);
    double *err = mlc_q_err_array(q, r);
    for (int64_t i = 0; i < mlc_q_elements(r); i++) {
        int64_t k = mlc_shape_broadcast_index(shape, &r->shape, i);
        int64_t j = mlc_shape_broadcast_index(&v->shape, &r->shape, i);
        double size = fmax(fabs((double)v->lo[j]), fabs((double)v->hi[j])) * v->scale;
        double off = fabs(ldexp((double)m[k], most - bits - (int)s[k]) - c[k]);
        err[i] = off * size + fabs(c[k]) * mlc_q_err(v, j) + (s[k] ? 0.5 * r->scale : 0);
    }
    return mlc_q_settle(q, r);
}
