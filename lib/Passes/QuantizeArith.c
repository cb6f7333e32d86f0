/* Builders of quantize.h: element-wise arithmetic. */
#include "Quant.h"

#include <math.h>
#include <string.h>

/* Error of operand k's element that is broadcast to element i of the result. */
static double operand_err(const mlc_value *r, const mlc_value *x, int64_t i) {
    return x->err ? x->err[mlc_shape_broadcast_index(&x->shape, &r->shape, i)] : 0;
}

static double operand_max(const mlc_value *r, const mlc_value *x, int64_t i) {
    int64_t k = mlc_shape_broadcast_index(&x->shape, &r->shape, i);
    return fmax(fabs((double)x->lo[k]), fabs((double)x->hi[k])) * x->scale;
}

/* Sum, difference, maximum: errors add up, or the larger counts. */
static mlc_value *aligned(mlc_quant *q, const char *op, mlc_value *a, mlc_value *b, bool sum) {
    if (!mlc_q_align(q, &a, &b))
        return NULL;
    mlc_value *r = mlc_q_binary(q, op, a, b);
    if (!r)
        return NULL;
    r->scale = a->scale;
    if (a->err || b->err) {
        double *err = mlc_q_err_array(q, r);
        for (int64_t i = 0; i < mlc_q_elements(r); i++) {
            double ea = operand_err(r, a, i), eb = operand_err(r, b, i);
            err[i] = sum ? ea + eb : fmax(ea, eb);
        }
    }
    return r;
}

mlc_value *mlc_q_add(mlc_quant *q, mlc_value *a, mlc_value *b) {
    return mlc_q_settle(q, aligned(q, "Add", a, b, true));
}

mlc_value *mlc_q_sub(mlc_quant *q, mlc_value *a, mlc_value *b) {
    return mlc_q_settle(q, aligned(q, "Sub", a, b, true));
}

/* a is at least b (`least`), or at most b, at every element, and has the shape of the result. */
static bool decided(const mlc_value *a, const mlc_value *b, bool least) {
    mlc_shape joint;
    if (!mlc_shape_broadcast(&a->shape, &b->shape, &joint) || !mlc_shape_equal(&joint, &a->shape))
        return false;
    for (int64_t i = 0; i < mlc_q_elements(a); i++) {
        int64_t k = mlc_shape_broadcast_index(&b->shape, &a->shape, i);
        if (least ? mlc_q_real_lo(a, i) < mlc_q_real_hi(b, k) : mlc_q_real_hi(a, i) > mlc_q_real_lo(b, k))
            return false;
    }
    return true;
}

mlc_value *mlc_q_max(mlc_quant *q, mlc_value *a, mlc_value *b) {
    if (a && b && decided(a, b, true))
        return a;
    if (a && b && decided(b, a, true))
        return b;
    return mlc_q_settle(q, aligned(q, "Max", a, b, false));
}

mlc_value *mlc_q_min(mlc_quant *q, mlc_value *a, mlc_value *b) {
    if (a && b && decided(a, b, false))
        return a;
    if (a && b && decided(b, a, false))
        return b;
    return mlc_q_settle(q, aligned(q, "Min", a, b, false));
}

static mlc_value *unary(mlc_quant *q, const char *op, mlc_value *a) {
    if (!a)
        return NULL;
    mlc_value *r = mlc_q_node(q, op, &a, 1, NULL, NULL, 0);
    if (!r)
        return NULL;
    r->scale = a->scale;
    r->err = a->err;
    return r;
}

mlc_value *mlc_q_neg(mlc_quant *q, mlc_value *a) {
    return unary(q, "Neg", a);
}

mlc_value *mlc_q_abs(mlc_quant *q, mlc_value *a) {
    return unary(q, "Abs", a);
}

/* A constant factor may lose bits down to this before the value does: its error
 * is relative to the product, that of the value is absolute. */
enum { LEAST_FACTOR_BITS = 18 };

/* Takes bits from the operands until the product fits the accumulator. */
static bool fit_product(mlc_quant *q, mlc_value **a, mlc_value **b) {
    int bits_a = mlc_q_bits((uint64_t)mlc_q_magnitude(*a)),
        bits_b = mlc_q_bits((uint64_t)mlc_q_magnitude(*b));
    while (bits_a + bits_b > MLC_ACCUMULATOR_BITS) {
        if ((*a)->constant && bits_a > LEAST_FACTOR_BITS)
            bits_a--;
        else if ((*b)->constant && bits_b > LEAST_FACTOR_BITS)
            bits_b--;
        else if (bits_a > bits_b)
            bits_a--;
        else
            bits_b--;
    }
    *a = mlc_q_narrow(q, *a, bits_a);
    *b = mlc_q_narrow(q, *b, bits_b);
    return *a && *b;
}

mlc_value *mlc_q_mul(mlc_quant *q, mlc_value *a, mlc_value *b) {
    if (!a || !b || !fit_product(q, &a, &b))
        return NULL;
    mlc_value *r = mlc_q_binary(q, "Mul", a, b);
    if (!r)
        return NULL;
    r->scale = a->scale * b->scale;
    if (a->err || b->err) {
        double *err = mlc_q_err_array(q, r);
        for (int64_t i = 0; i < mlc_q_elements(r); i++) {
            double ea = operand_err(r, a, i), eb = operand_err(r, b, i);
            err[i] = operand_max(r, a, i) * eb + operand_max(r, b, i) * ea + ea * eb;
        }
    }
    return mlc_q_settle(q, r);
}

/* The divisor's integers are kept at 1 or more; where its real values are proven
 * positive that changes nothing beyond its error. */
static mlc_value *positive_divisor(mlc_quant *q, mlc_value *b) {
    bool positive = true;
    for (int64_t i = 0; i < mlc_q_elements(b); i++) {
        if (b->hi[i] < 1) {
            mlc_error_at(q->diag, q->node, "the divisor is not proven positive: element %lld is at most %g",
                         (long long)i, (double)b->hi[i] * b->scale);
            return NULL;
        }
        if (b->lo[i] < 1)
            positive = false;
    }
    if (positive)
        return b;
    mlc_value *one = mlc_q_scalar(q, 1);
    one->scale = b->scale;
    return mlc_q_max(q, b, one);
}

/* A divisor with more digits than it needs would leave none to the quotient. */
static mlc_value *short_divisor(mlc_quant *q, mlc_value *b) {
    enum { DIGITS = 20 }; /* of the smallest divisor */
    int64_t least = INT64_MAX;
    for (int64_t i = 0; i < mlc_q_elements(b); i++)
        if (b->lo[i] < least)
            least = b->lo[i];
    int spare = mlc_q_bits((uint64_t)least) - DIGITS,
        over = mlc_q_bits((uint64_t)mlc_q_magnitude(b)) - MLC_WORK_BITS;
    if (over < spare)
        spare = over;
    return spare > 0 ? mlc_q_shift_right(q, b, spare) : b;
}

mlc_value *mlc_q_quotient(mlc_quant *q, mlc_value *a, mlc_value *b, double most) {
    if (!a || !b || !(b = positive_divisor(q, b)) || !(b = short_divisor(q, b)))
        return NULL;
    int have = mlc_q_bits((uint64_t)mlc_q_magnitude(a)), extend = MLC_ACCUMULATOR_BITS - 1 - have;
    if (extend < 0)
        extend = 0;
    mlc_value *wide = mlc_q_shift_left(q, a, extend);
    mlc_value *r = wide ? mlc_q_binary(q, "Divide", wide, b) : NULL;
    if (!r)
        return NULL;
    r->scale = wide->scale / b->scale;
    double *err = mlc_q_err_array(q, r);
    for (int64_t i = 0; i < mlc_q_elements(r); i++) {
        int64_t k = mlc_shape_broadcast_index(&b->shape, &r->shape, i);
        double least = fmax((double)b->lo[k] * b->scale - mlc_q_err(b, k), b->scale);
        double quotient = fmin(fmax(fabs((double)r->lo[i]), fabs((double)r->hi[i])) * r->scale, most);
        err[i] = (operand_err(r, a, i) + quotient * operand_err(r, b, i)) / least + r->scale;
    }
    return r;
}

mlc_value *mlc_q_div(mlc_quant *q, mlc_value *a, mlc_value *b) {
    return mlc_q_settle(q, mlc_q_quotient(q, a, b, INFINITY));
}

mlc_value *mlc_q_mul_real(mlc_quant *q, mlc_value *v, const double *c, const mlc_shape *shape) {
    if (!v)
        return NULL;
    if (mlc_q_unequal(c, mlc_shape_elements(shape)))
        return mlc_q_mul_unequal(q, v, c, shape);
    if (mlc_shape_elements(shape) != 1 || c[0] == 0 || !isfinite(c[0]))
        return mlc_q_mul(q, v, mlc_q_real_constant(q, c, shape, MLC_WEIGHT_BITS));
    /* A single factor only changes the scale. */
    mlc_value *r = c[0] < 0 ? mlc_q_neg(q, v) : mlc_q_reshape(q, v, &v->shape);
    if (!r)
        return NULL;
    double *err = NULL;
    if (v->err) {
        err = MLC_NEW_ARRAY(q->arena, mlc_q_elements(v) + 1, double);
        for (int64_t i = 0; i < mlc_q_elements(v); i++)
            err[i] = v->err[i] * fabs(c[0]);
    }
    r->scale = v->scale * fabs(c[0]);
    r->err = err;
    return r;
}

mlc_value *mlc_q_add_real(mlc_quant *q, mlc_value *v, const double *c, const mlc_shape *shape) {
    return mlc_q_add(q, v, mlc_q_real_constant(q, c, shape, MLC_WORK_BITS));
}

/* A real bound as an integer at the scale of v; `limit` beyond int64. */
static int64_t bound(const mlc_value *v, double x, bool up) {
    double scaled = up ? ceil(x / v->scale) : floor(x / v->scale);
    return scaled >= 0x1p62 ? (int64_t)1 << 62 : scaled <= -0x1p62 ? -((int64_t)1 << 62) : (int64_t)scaled;
}

static mlc_value *clamp_to(mlc_quant *q, mlc_value *v, int64_t lo, int64_t hi) {
    double *err = v->err, scale = v->scale;
    bool below = false, above = false;
    for (int64_t i = 0; i < mlc_q_elements(v); i++) {
        if (v->lo[i] < lo)
            below = true;
        if (v->hi[i] > hi)
            above = true;
    }
    if (below)
        v = mlc_q_binary(q, "Max", v, mlc_q_scalar(q, lo));
    if (above && v)
        v = mlc_q_binary(q, "Min", v, mlc_q_scalar(q, hi));
    if (v && (below || above)) {
        v->scale = scale;
        v->err = err;
    }
    return v;
}

void mlc_q_bounded(mlc_quant *q, mlc_value *v, double lo, double hi) {
    const int64_t n = mlc_q_elements(v);
    double *err = MLC_NEW_ARRAY(q->arena, n + 1, double);
    if (!v->err)
        return;
    for (int64_t i = 0; i < n; i++) {
        double real_lo = fmax(lo, mlc_q_real_lo(v, i)), real_hi = fmin(hi, mlc_q_real_hi(v, i));
        err[i] = fmin(v->err[i],
                      fmax((double)v->hi[i] * v->scale - real_lo, real_hi - (double)v->lo[i] * v->scale));
    }
    v->err = err;
}

mlc_value *mlc_q_clamp(mlc_quant *q, mlc_value *v, double lo, double hi) {
    mlc_value *r = v ? clamp_to(q, v, bound(v, lo, false), bound(v, hi, true)) : NULL;
    if (r && r != v)
        mlc_q_bounded(q, r, lo, hi);
    return r;
}

mlc_value *mlc_q_limited(mlc_quant *q, mlc_value *v, mlc_value *limited) {
    if (!limited || limited == v)
        return limited;
    if (q->n_saturations == q->cap_saturations) {
        int cap = q->cap_saturations ? 2 * q->cap_saturations : 16;
        mlc_saturation *grown = MLC_NEW_ARRAY(q->arena, cap, mlc_saturation);
        if (q->n_saturations)
            memcpy(grown, q->saturation, (size_t)q->n_saturations * sizeof *grown);
        q->saturation = grown;
        q->cap_saturations = cap;
    }
    q->saturation[q->n_saturations++] = (mlc_saturation){
        .origin = limited->producer ? limited->producer->origin : NULL, .full = v, .limited = limited};
    return limited;
}

mlc_value *mlc_q_saturate_to(mlc_quant *q, mlc_value *v, int64_t lo, int64_t hi) {
    return mlc_q_limited(q, v, v ? clamp_to(q, v, lo, hi) : NULL);
}

mlc_value *mlc_q_saturate(mlc_quant *q, mlc_value *v, double lo, double hi) {
    return v ? mlc_q_saturate_to(q, v, bound(v, lo, false), bound(v, hi, true)) : NULL;
}
