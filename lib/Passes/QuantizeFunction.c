/*
 * Builder of quantize.h: continuous real functions. A table with linear
 * interpolation covers the part of the input range where the function bends;
 * beyond it the function continues along straight lines (sigmoid and tanh flat,
 * softplus and GELU with slope 0 and 1), so the table stays small however wide
 * the proven range is:
 *
 *   f(x) ~ table(clamp(x, a, b)) + left*min(x - a, 0) + right*max(x - b, 0)
 */
#include "Quant.h"

#include <math.h>

enum {
    SEGMENTS = 2048,      /* of an interpolated table, at most */
    PROBES = 16,          /* points per segment at which its error is measured */
    DIRECT_ENTRIES = 1024, /* up to so many different inputs the table is exact */
    SCAN = 4096,          /* points of the search for the bend */
    TAIL_GAIN = 4,        /* by which tails must shrink the table's range */
};

/* Deviation from the tails, relative to the function's size, that ends them. */
#define TAIL_TOLERANCE 1e-7

typedef struct curve {
    mlc_real_fn fn;
    const void *user;
    double lo, hi;      /* real input range */
    double a, b;        /* the table's range */
    double left, right; /* slopes beyond it */
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
        if (fabs(s - usual[i]) < 1e-3) return usual[i];
    return NAN;
}

/* How far from `end` (towards `other`) the straight line stays within tolerance. */
static double tail_end(const curve *c, double end, double other, double slope, double tolerance) {
    double at = end, y = value(c, end);
    double far = fabs(other - end), step = far / SCAN, sign = other > end ? 1 : -1;
    double inside = end;
    for (int i = 1; i <= SCAN; i++) {
        double x = end + sign * step * i;
        if (fabs(y + slope * (x - end) - value(c, x)) > tolerance) break;
        inside = x;
    }
    at = inside;
    for (int i = 0; i < 60; i++) { /* refine within the last step */
        double x = at + sign * ldexp(step, -i);
        if ((sign > 0 ? x < other : x > other) && fabs(y + slope * (x - end) - value(c, x)) <= tolerance) at = x;
    }
    return at;
}

static void find_bend(curve *c) {
    double size = 1e-300;
    for (int i = 0; i <= 64; i++) size = fmax(size, fabs(value(c, c->lo + (c->hi - c->lo) * i / 64)));
    double tolerance = TAIL_TOLERANCE * fmin(fmax(size, 1e-6), 1), reach = (c->hi - c->lo) * 1e-6;
    c->a = c->lo;
    c->b = c->hi;
    if (!(reach > 0)) return;
    c->left = end_slope(c, c->lo, reach);
    c->right = end_slope(c, c->hi, -reach);
    if (!isnan(c->left)) c->a = tail_end(c, c->lo, c->hi, c->left, tolerance);
    if (!isnan(c->right)) c->b = tail_end(c, c->hi, c->a, c->right, tolerance);
    /* Tails cost instructions: not for a range that the table covers well anyway. */
    if (c->b - c->a > (c->hi - c->lo) / TAIL_GAIN) {
        c->a = c->lo;
        c->b = c->hi;
    }
    if (c->b < c->a) c->b = c->a;
}

typedef struct table {
    int64_t base, n; /* first input, entries without the interpolation's extra one */
    int shift;
    double scale; /* of the results */
    int64_t *entries;
    double err; /* of the table itself */
} table;

static double table_at(const table *t, int64_t x) {
    int64_t offset = x - t->base, i = offset >> t->shift;
    if (t->shift == 0) return (double)t->entries[i] * t->scale;
    int64_t f = offset & (((int64_t)1 << t->shift) - 1);
    int64_t y = t->entries[i] + (((t->entries[i + 1] - t->entries[i]) * f + ((int64_t)1 << (t->shift - 1))) >> t->shift);
    return (double)y * t->scale;
}

/* Entries at the segment ends; the error is measured between them. */
static bool fill(mlc_quant *q, const curve *c, double x_scale, int64_t first, int64_t last, table *t) {
    int64_t span = last - first;
    t->base = first;
    t->shift = 0;
    if (span >= DIRECT_ENTRIES)
        while ((span >> t->shift) >= SEGMENTS) t->shift++;
    t->n = (span >> t->shift) + 1;
    double max = 0;
    for (int64_t i = 0; i <= t->n; i++) {
        double y = value(c, (double)(first + (i << t->shift)) * x_scale);
        if (!isfinite(y))
            return mlc_error_at(q->diag, q->node, "the function is not finite at %g, inside the proven input range",
                                (double)(first + (i << t->shift)) * x_scale);
        max = fmax(max, fabs(y));
    }
    int exponent = 0;
    if (max > 0) frexp(max, &exponent);
    enum { ENTRY_BITS = 30 };
    t->scale = ldexp(1, exponent - ENTRY_BITS);
    t->entries = MLC_NEW_ARRAY(q->arena, t->n + 1, int64_t);
    for (int64_t i = 0; i <= t->n; i++)
        t->entries[i] = (int64_t)rint(value(c, (double)(first + (i << t->shift)) * x_scale) / t->scale);
    t->err = t->scale; /* rounding of entries and of the interpolation */
    double worst = 0;
    for (int64_t i = 0; i < t->n && t->shift; i++)
        for (int p = 0; p < PROBES; p++) {
            int64_t x = first + (i << t->shift) + (((int64_t)1 << t->shift) * p) / PROBES;
            if (x > last) break;
            worst = fmax(worst, fabs(table_at(t, x) - value(c, (double)x * x_scale)));
        }
    /* Between two probes a parabola through them exceeds the larger by under 1 %;
     * the margin covers cusps of functions that are smooth in pieces. */
    t->err += 1.5 * worst;
    return true;
}

static mlc_value *table_node(mlc_quant *q, mlc_value *x, const table *t) {
    mlc_shape shape = {.rank = 1, .dim = {t->shift ? t->n + 1 : t->n}};
    mlc_value *in[2] = {x, mlc_q_constant(q, t->entries, &shape)};
    mlc_attr attrs[3] = {
        {.name = "base", .kind = MLC_ATTR_INT, .i = t->base},
        {.name = "shift", .kind = MLC_ATTR_INT, .i = t->shift},
        {.name = "interpolate", .kind = MLC_ATTR_INT, .i = t->shift > 0},
    };
    mlc_value *r = mlc_q_node(q, "Table", in, 2, &x->shape, attrs, 3);
    if (r) r->scale = t->scale;
    return r;
}

/* slope * min(x - a, 0) or slope * max(x - b, 0). */
static mlc_value *tail(mlc_quant *q, mlc_value *v, mlc_value *clamped, double slope) {
    mlc_value *beyond = mlc_q_binary(q, "Sub", v, clamped);
    if (!beyond) return NULL;
    beyond->scale = v->scale;
    mlc_shape scalar = {0};
    return slope == 1 ? beyond : mlc_q_mul_real(q, beyond, &slope, &scalar);
}

mlc_value *mlc_q_function(mlc_quant *q, mlc_value *v, mlc_real_fn fn, const void *user, double lipschitz) {
    v = mlc_q_narrow(q, v, MLC_WORK_BITS);
    if (!v) return NULL;
    int64_t lo = INT64_MAX, hi = INT64_MIN;
    for (int64_t i = 0; i < mlc_q_elements(v); i++) {
        if (v->lo[i] < lo) lo = v->lo[i];
        if (v->hi[i] > hi) hi = v->hi[i];
    }
    if (lo > hi) return v; /* no elements */
    curve c = {.fn = fn, .user = user, .lo = (double)lo * v->scale, .hi = (double)hi * v->scale};
    find_bend(&c);
    int64_t first = (int64_t)floor(c.a / v->scale), last = (int64_t)ceil(c.b / v->scale);
    if (first < lo) first = lo;
    if (last > hi) last = hi;
    if (last - first < DIRECT_ENTRIES) { /* widening costs nothing */
        first = first - DIRECT_ENTRIES / 4 < lo ? lo : first - DIRECT_ENTRIES / 4;
        last = last + DIRECT_ENTRIES / 4 > hi ? hi : last + DIRECT_ENTRIES / 4;
    }
    table t;
    if (!fill(q, &c, v->scale, first, last, &t)) return NULL;

    mlc_value *low = v, *inner = v, *r;
    if (first > lo) low = inner = mlc_q_binary(q, "Max", v, mlc_q_scalar(q, first));
    if (low) low->scale = v->scale;
    if (last < hi && inner) inner = mlc_q_binary(q, "Min", inner, mlc_q_scalar(q, last));
    if (!inner) return NULL;
    inner->scale = v->scale;
    r = table_node(q, inner, &t);
    if (r && first > lo && c.left != 0) r = mlc_q_add(q, r, tail(q, v, low, c.left));
    if (r && last < hi && c.right != 0) r = mlc_q_add(q, r, tail(q, low, inner, c.right));
    if (!r) return NULL;
    double *err = mlc_q_err_array(q, r);
    double tails = 4 * TAIL_TOLERANCE * fmax(1, mlc_q_max_abs(r));
    for (int64_t i = 0; i < mlc_q_elements(r); i++)
        err[i] += t.err + (first > lo || last < hi ? tails : 0) + lipschitz * mlc_q_err(v, i);
    return r;
}
