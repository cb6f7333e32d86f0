#include "Whole.h"

#include "Real.h"

#include <math.h>

mlc_value *mlc_q_exact(mlc_quant *q, const char *op, mlc_value *a, mlc_value *b) {
    return a && b ? mlc_q_node(q, op, (mlc_value *const[]){a, b}, 2, NULL, NULL, 0) : NULL;
}

mlc_value *mlc_q_wrap(mlc_quant *q, mlc_value *v, mlc_dtype t) {
    int64_t lo, hi;
    mlc_dtype_range(t, &lo, &hi);
    bool fits = true;
    const int64_t n = mlc_shape_elements(&v->shape);
    for (int64_t i = 0; i < n; i++)
        fits = fits && v->lo[i] >= lo && v->hi[i] <= hi;
    if (fits)
        return v;
    if (hi == INT64_MAX) {
        mlc_error_at(q->diag, q->node, "the %s result can leave its type; declare narrower inputs",
                     mlc_dtype_name(t));
        return NULL;
    }
    /* (v - lo) mod 2^width + lo, the width being that of the mask hi - lo. */
    mlc_value *r = lo ? mlc_q_exact(q, "Sub", v, mlc_q_scalar(q, lo)) : v;
    r = mlc_q_exact(q, "BitAnd", r, mlc_q_scalar(q, hi - lo));
    return lo ? mlc_q_exact(q, "Add", r, mlc_q_scalar(q, lo)) : r;
}

mlc_value *mlc_q_truncated(mlc_quant *q, mlc_value *a, mlc_value *b) {
    mlc_value *sign = mlc_q_signs(q, b);
    if (!sign) {
        mlc_error_at(q->diag, q->node, "the divisor '%s' is not proved to keep away from 0",
                     mlc_escape(q->node->in[1]->name));
        return NULL;
    }
    a = mlc_q_times_sign(q, a, sign);
    return mlc_q_exact(q, "Divide", a, mlc_q_times_sign(q, b, sign));
}

/* (v + addend) >> bits, of integers. */
static mlc_value *shift(mlc_quant *q, mlc_value *v, int64_t addend, int bits) {
    const mlc_attr attr = {.name = "shift", .kind = MLC_ATTR_INT, .i = bits};
    mlc_value *const in[] = {v, mlc_q_scalar(q, 1), mlc_q_scalar(q, addend)};
    return v ? mlc_q_node(q, "Rescale", in, 3, NULL, &attr, 1) : NULL;
}

/* v * 2^-bits rounded half to even: half up, minus 1 where a tie gave an odd number. */
static mlc_value *half_even(mlc_quant *q, mlc_value *v, int bits) {
    const int64_t half = (int64_t)1 << (bits - 1);
    mlc_value *r = shift(q, v, half, bits);
    mlc_value *fraction = mlc_q_exact(q, "BitAnd", v, mlc_q_scalar(q, 2 * half - 1));
    mlc_value *tie = mlc_q_exact(q, "Equal", fraction, mlc_q_scalar(q, half));
    mlc_value *odd = mlc_q_exact(q, "BitAnd", r, mlc_q_scalar(q, 1));
    return mlc_q_exact(q, "Sub", r, mlc_q_exact(q, "BitAnd", tie, odd));
}

/* Bounds |round(q) - round(real)|: the steps between the ends of the interval, and around the error. */
static double *step_error(mlc_quant *q, const mlc_value *v) {
    if (!v->err)
        return NULL;
    const int64_t n = mlc_shape_elements(&v->shape);
    double *err = MLC_NEW_ARRAY(q->arena, n, double);
    for (int64_t i = 0; i < n; i++)
        if (v->err[i] > 0)
            err[i] = fmin(floor(v->err[i]) + 1, ceil(mlc_q_real_hi(v, i)) - floor(mlc_q_real_lo(v, i)));
    return err;
}

mlc_value *mlc_q_round(mlc_quant *q, mlc_value *v, mlc_rounding mode) {
    /* On a grid of 2^-bits, at most 40 of them: finer ones are rounding errors. */
    int exponent;
    const bool power = frexp(v->scale, &exponent) == 0.5;
    int bits = 1 - exponent + !power;
    if (bits > 40)
        bits = 40;
    if (bits <= 0 && power)
        return v;
    v = mlc_q_rescale(q, v, ldexp(1, -bits));
    if (!v || bits <= 0)
        return v;

    bool exact = true;
    const int64_t n = mlc_shape_elements(&v->shape);
    for (int64_t i = 0; i < n; i++)
        exact = exact && mlc_q_err(v, i) == 0;
    const int64_t one = (int64_t)1 << bits;
    mlc_value *r;
    if (mode == MLC_ROUND_HALF_EVEN && exact)
        r = half_even(q, v, bits);
    else
        r = shift(q, v, mode == MLC_ROUND_FLOOR ? 0 : mode == MLC_ROUND_CEIL ? one - 1 : one / 2, bits);
    if (r)
        r->err = step_error(q, v);
    return r;
}
