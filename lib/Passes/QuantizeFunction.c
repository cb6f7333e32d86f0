/*
 * Builder of quantize.h: continuous real functions. A table (Table.h) covers the
 * part of the input range where the function bends; beyond it the function
 * continues along straight lines (sigmoid and tanh flat, softplus and GELU with
 * slope 0 and 1), so the table stays small however wide the proven range is:
 *
 *   f(x) ~ table(clamp(x, a, b)) + left*min(x - a, 0) + right*max(x - b, 0)
 */
#include "Table.h"

#include <math.h>

enum {
    WIDENING = 256, /* integers that the table covers beyond the bend */
    SCAN = 4096,    /* points of the search for the bend */
    TAIL_GAIN = 4,  /* by which tails must shrink the table's range */
};

/* Deviation from the tails, relative to the function's size, that ends them. */
#define TAIL_TOLERANCE 1e-7

typedef struct curve {
    mlc_real_fn fn;
    const void *user;
    double lo, hi;      /* real input range */
    double a, b;        /* the table's range */
    double left, right; /* slopes beyond it */
    double tolerance;   /* of the straight lines */
} curve;

static double value(const curve *c, double x) {
    return c->fn(x, c->user);
}

/* The slope that the function has beyond the end of the range, of those that
 * activations have; NAN when it is none of them. */
static double end_slope(const curve *c, double x, double inward) {
    double s = (value(c, x + inward) - value(c, x)) / inward;
    static const double usual[] = {0, 1, -1};
    for (int i = 0; i < 3; i++)
        if (fabs(s - usual[i]) < 1e-3)
            return usual[i];
    return NAN;
}

/* How far from `end` (towards `other`) the straight line stays within tolerance. */
static double tail_end(const curve *c, double end, double other, double slope, double tolerance) {
    double at = end, y = value(c, end);
    double far = fabs(other - end), step = far / SCAN, sign = other > end ? 1 : -1;
    double inside = end;
    for (int i = 1; i <= SCAN; i++) {
        double x = end + sign * step * i;
        if (fabs(y + slope * (x - end) - value(c, x)) > tolerance)
            break;
        inside = x;
    }
    at = inside;
    for (int i = 0; i < 60; i++) { /* refine within the last step */
        double x = at + sign * ldexp(step, -i);
        if ((sign > 0 ? x < other : x > other) && fabs(y + slope * (x - end) - value(c, x)) <= tolerance)
            at = x;
    }
    return at;
}

static void find_bend(curve *c) {
    double size = 1e-300;
    for (int i = 0; i <= 64; i++)
        size = fmax(size, fabs(value(c, c->lo + (c->hi - c->lo) * i / 64)));
    double tolerance = c->tolerance = TAIL_TOLERANCE * fmin(fmax(size, 1e-6), 1);
    double reach = (c->hi - c->lo) * 1e-6;
    c->a = c->lo;
    c->b = c->hi;
    if (!(reach > 0))
        return;
    c->left = end_slope(c, c->lo, reach);
    c->right = end_slope(c, c->hi, -reach);
    if (!isnan(c->left))
        c->a = tail_end(c, c->lo, c->hi, c->left, tolerance);
    if (!isnan(c->right))
        c->b = tail_end(c, c->hi, c->a, c->right, tolerance);
    /* Tails cost instructions: not for a range that the table covers well anyway. */
    if (c->b - c->a > (c->hi - c->lo) / TAIL_GAIN) {
        c->a = c->lo;
        c->b = c->hi;
    }
    if (c->b < c->a)
        c->b = c->a;
    /* Nor one that is short beside what bends. */
    if (c->a - c->lo < (c->b - c->a) / TAIL_GAIN)
        c->a = c->lo;
    if (c->hi - c->b < (c->b - c->a) / TAIL_GAIN)
        c->b = c->hi;
}

/* slope * min(x - a, 0) or slope * max(x - b, 0). */
static mlc_value *tail(mlc_quant *q, mlc_value *v, mlc_value *clamped, double slope) {
    mlc_value *beyond = mlc_q_binary(q, "Sub", v, clamped);
    if (!beyond)
        return NULL;
    beyond->scale = v->scale;
    mlc_shape scalar = {0};
    return slope == 1 ? beyond : mlc_q_mul_real(q, beyond, &slope, &scalar);
}

/* Smallest and largest integer of v; false where v has no elements. */
static bool range_of(const mlc_value *v, int64_t *lo, int64_t *hi) {
    *lo = INT64_MAX;
    *hi = INT64_MIN;
    for (int64_t i = 0; i < mlc_q_elements(v); i++) {
        if (v->lo[i] < *lo)
            *lo = v->lo[i];
        if (v->hi[i] > *hi)
            *hi = v->hi[i];
    }
    return *lo <= *hi;
}

/* max(v, first) or min(v, last), with the scale and error of v. */
static mlc_value *limited(mlc_quant *q, mlc_value *v, const char *op, int64_t limit) {
    mlc_value *r = v ? mlc_q_binary(q, op, v, mlc_q_scalar(q, limit)) : NULL;
    if (!r)
        return NULL;
    r->scale = v->scale;
    r->err = v->err;
    return r;
}

/* Sets the error of r = f(v), where v's error counts `lipschitz` times. */
static mlc_value *with_error(mlc_quant *q, mlc_value *r, const mlc_value *v, double own, double lipschitz) {
    if (!r)
        return NULL;
    double *err = MLC_NEW_ARRAY(q->arena, mlc_q_elements(r), double);
    for (int64_t i = 0; i < mlc_q_elements(r); i++)
        err[i] = mlc_q_err(r, i) + own + (mlc_q_err(v, i) > 0 ? lipschitz * mlc_q_err(v, i) : 0);
    r->err = err;
    return r;
}

/* f by one table over the whole range of v. */
static mlc_value *one_table(mlc_quant *q, mlc_value *v, const mlc_table *t, double lipschitz) {
    return with_error(q, mlc_table_apply(q, v, t), v, t->err, lipschitz);
}

/* f(max(v,c)) + f(min(v,c)) - f(c), with tables that are dense at c: where one table
 * cannot follow a bend inside a wide range. NULL without a report where that is no gain. */
static mlc_value *two_tables(mlc_quant *q, mlc_value *v, const curve *c, const mlc_table *whole,
                             double lipschitz) {
    int64_t middle = whole->worst;
    if (whole->spacing == MLC_UNIFORM && middle < 0 && middle >> whole->shift == -1)
        middle = 0; /* most bends are there, and few cells begin there */
    if (middle <= whole->first || middle >= whole->last)
        return NULL;
    mlc_table below, above;
    if (!mlc_table_build(q, c->fn, c->user, v->scale, whole->first, middle, &below) ||
        !mlc_table_build(q, c->fn, c->user, v->scale, middle, whole->last, &above) ||
        below.err + above.err > whole->err / 2)
        return NULL;
    mlc_value *low = mlc_table_apply(q, limited(q, v, "Min", middle), &below);
    mlc_value *high = mlc_table_apply(q, limited(q, v, "Max", middle), &above);
    double minus = -c->fn((double)middle * v->scale, c->user);
    mlc_shape scalar = {0};
    mlc_value *r = low && high ? mlc_q_add_real(q, mlc_q_add(q, low, high), &minus, &scalar) : NULL;
    return with_error(q, r, v, below.err + above.err, lipschitz);
}

mlc_value *mlc_q_function(mlc_quant *q, mlc_value *v, mlc_real_fn fn, const void *user, double lipschitz) {
    int64_t lo, hi;
    v = mlc_q_narrow(q, v, MLC_ACCUMULATOR_BITS - 1);
    if (!v || !range_of(v, &lo, &hi))
        return v;
    curve c = {.fn = fn, .user = user, .lo = (double)lo * v->scale, .hi = (double)hi * v->scale};
    find_bend(&c);
    int64_t first = (int64_t)floor(c.a / v->scale), last = (int64_t)ceil(c.b / v->scale);
    if (first < lo)
        first = lo;
    if (last > hi)
        last = hi;
    if (last - first < WIDENING) { /* costs nothing */
        first = first - WIDENING < lo ? lo : first - WIDENING;
        last = last + WIDENING > hi ? hi : last + WIDENING;
    }
    bool left = first > lo, right = last < hi;
    mlc_value *low = left ? limited(q, v, "Max", first) : v;
    mlc_value *bent = right ? limited(q, low, "Min", last) : low;
    mlc_value *inner = mlc_q_narrow(q, bent, MLC_TABLE_BITS);
    mlc_table t;
    if (!inner || !range_of(inner, &lo, &hi) || !mlc_table_build(q, fn, user, inner->scale, lo, hi, &t))
        return NULL;
    int errors = q->diag->errors;
    mlc_value *r = mlc_table_good(&t) ? NULL : two_tables(q, inner, &c, &t, lipschitz);
    if (!r && q->diag->errors == errors)
        r = one_table(q, inner, &t, lipschitz);
    if (r && left && c.left != 0)
        r = mlc_q_add(q, r, tail(q, v, low, c.left));
    if (r && right && c.right != 0)
        r = mlc_q_add(q, r, tail(q, low, bent, c.right));
    if (!r || (!left && !right))
        return r;
    return with_error(q, r, v, 4 * c.tolerance, 0);
}

mlc_value *mlc_q_bounded_function(mlc_quant *q, mlc_value *v, mlc_real_fn fn, const void *user,
                                  double lipschitz, double lo, double hi) {
    mlc_value *r = mlc_q_function(q, v, fn, user, lipschitz);
    if (r)
        mlc_q_bounded(q, r, lo, hi);
    return r;
}
