/*
 * Step functions of two integers, as of Add and Mul between quantized tensors. All
 * combinations are computed once; whatever form is chosen is checked against them.
 */
#include "StepFit.h"

#include "mlc/form.h"

#include <math.h>
#include <string.h>

enum { MOST_PAIRS = 1 << 17, MOST_ENTRIES = 1 << 16 };

typedef struct plane {
    int64_t x0, y0, nx, ny;
    int64_t *z; /* result of (x0 + i, y0 + j) at i*ny + j */
    int64_t least, most;
} plane;

static void range_of(const mlc_value *v, int64_t *lo, int64_t *hi) {
    *lo = INT64_MAX;
    *hi = INT64_MIN;
    for (int64_t i = 0; i < mlc_q_elements(v); i++) {
        *lo = v->lo[i] < *lo ? v->lo[i] : *lo;
        *hi = v->hi[i] > *hi ? v->hi[i] : *hi;
    }
}

static bool compute(mlc_quant *q, const mlc_form *f, plane *p) {
    int64_t xh, yh;
    range_of(f->x, &p->x0, &xh);
    range_of(f->y, &p->y0, &yh);
    mlc_int128 nx = (mlc_int128)xh - p->x0 + 1, ny = (mlc_int128)yh - p->y0 + 1;
    if (nx > MOST_PAIRS || ny > MOST_PAIRS || nx * ny > MOST_PAIRS)
        return false;
    p->nx = (int64_t)nx;
    p->ny = (int64_t)ny;
    int64_t n = p->nx * p->ny;
    p->z = MLC_NEW_ARRAY(q->arena, n, int64_t);
    mlc_arena_mark mark = mlc_arena_save(q->arena);
    int64_t *x = MLC_NEW_ARRAY(q->arena, n, int64_t), *y = MLC_NEW_ARRAY(q->arena, n, int64_t);
    for (int64_t i = 0; i < n; i++) {
        x[i] = p->x0 + i / p->ny;
        y[i] = p->y0 + i % p->ny;
    }
    memcpy(p->z, mlc_chain_eval(q->arena, f->chain[0], x, y, n)->i, (size_t)n * sizeof *p->z);
    mlc_arena_restore(q->arena, mark);
    p->least = p->most = p->z[0];
    for (int64_t i = 0; i < n; i++) {
        p->least = p->z[i] < p->least ? p->z[i] : p->least;
        p->most = p->z[i] > p->most ? p->z[i] : p->most;
    }
    return true;
}

/* v*multiplier + addend, >> shift. */
static mlc_value *scaled(mlc_quant *q, mlc_value *v, int64_t multiplier, int64_t addend, int shift) {
    if (multiplier == 1 && addend == 0 && shift == 0)
        return v;
    mlc_value *in[3] = {v, mlc_q_scalar(q, multiplier), mlc_q_scalar(q, addend)};
    mlc_attr attr = {.name = "shift", .kind = MLC_ATTR_INT, .i = shift};
    return mlc_q_node(q, "Rescale", in, 3, NULL, &attr, 1);
}

static mlc_value *limited(mlc_quant *q, mlc_value *v, const plane *p) {
    int64_t lo, hi;
    if (!v)
        return NULL;
    range_of(v, &lo, &hi);
    if (lo < p->least)
        v = mlc_q_binary(q, "Max", v, mlc_q_scalar(q, p->least));
    if (v && hi > p->most)
        v = mlc_q_binary(q, "Min", v, mlc_q_scalar(q, p->most));
    return v;
}

static mlc_value *table(mlc_quant *q, mlc_value *index, const int64_t *entries, int64_t n, int64_t base) {
    mlc_shape shape = {1, {n}};
    mlc_value *in[2] = {index, mlc_q_constant(q, entries, &shape)};
    mlc_attr attr = {.name = "base", .kind = MLC_ATTR_INT, .i = base};
    return index ? mlc_q_node(q, "Table", in, 2, &index->shape, &attr, 1) : NULL;
}

/* One integer u(x, y) of which the result is a function. */
typedef struct combined {
    int64_t *u; /* of each pair */
    int64_t lo, hi;
    mlc_value *value; /* its node */
} combined;

/* The steps of z as a function that rises with u; false: it is none. */
static bool steps_of(mlc_quant *q, const plane *p, const combined *c, mlc_steps *s) {
    int64_t n = p->most - p->least, pairs = p->nx * p->ny;
    if (n > MOST_ENTRIES)
        return false;
    int64_t *lowest = MLC_NEW_ARRAY(q->arena, n + 1, int64_t),
            *highest = MLC_NEW_ARRAY(q->arena, n + 1, int64_t);
    for (int64_t k = 0; k <= n; k++) {
        lowest[k] = INT64_MAX;
        highest[k] = INT64_MIN;
    }
    for (int64_t i = 0; i < pairs; i++) {
        int64_t k = p->z[i] - p->least;
        lowest[k] = c->u[i] < lowest[k] ? c->u[i] : lowest[k];
        highest[k] = c->u[i] > highest[k] ? c->u[i] : highest[k];
    }
    *s = (mlc_steps){.n = n,
                     .k = MLC_NEW_ARRAY(q->arena, n + 1, int64_t),
                     .below = MLC_NEW_ARRAY(q->arena, n + 1, int64_t),
                     .at = MLC_NEW_ARRAY(q->arena, n + 1, int64_t)};
    for (int64_t k = n, at = INT64_MAX; k > 0; k--) {
        at = lowest[k] < at ? lowest[k] : at;
        s->k[k - 1] = p->least + k;
        s->at[k - 1] = at;
    }
    for (int64_t k = 1, below = INT64_MIN; k <= n; k++) {
        below = highest[k - 1] > below ? highest[k - 1] : below;
        s->below[k - 1] = below;
        if (below >= s->at[k - 1])
            return false;
    }
    return true;
}

static mlc_value *by_one(mlc_quant *q, const plane *p, const combined *c) {
    mlc_steps s;
    mlc_fit fit;
    int64_t magnitude = -c->lo > c->hi ? -c->lo : c->hi;
    if (!c->value || !steps_of(q, p, c, &s))
        return NULL;
    if (s.n && mlc_step_fit(q->arena, &s, 1, magnitude, &fit))
        return limited(q, scaled(q, c->value, fit.multiplier, fit.addend, fit.shift), p);
    int64_t n = c->hi - c->lo + 1;
    if (n > MOST_ENTRIES || n > p->nx * p->ny)
        return NULL;
    int64_t *entries = MLC_NEW_ARRAY(q->arena, n, int64_t);
    for (int64_t i = 0; i < n; i++)
        entries[i] = p->least;
    for (int64_t i = 0; i < p->nx * p->ny; i++)
        entries[c->u[i] - c->lo] = p->z[i];
    return table(q, c->value, entries, n, c->lo);
}

static void extremes(combined *c, int64_t n) {
    c->lo = c->hi = c->u[0];
    for (int64_t i = 0; i < n; i++) {
        c->lo = c->u[i] < c->lo ? c->u[i] : c->lo;
        c->hi = c->u[i] > c->hi ? c->u[i] : c->hi;
    }
}

/* +-(x - zero_x)*(y - zero_y) */
static mlc_value *product(mlc_quant *q, const mlc_form *f, const plane *p, const mlc_pair *pair) {
    int64_t n = p->nx * p->ny, sign = pair->slope_x < 0 ? -1 : 1;
    combined c = {.u = MLC_NEW_ARRAY(q->arena, n, int64_t)};
    for (int64_t i = 0; i < n; i++)
        c.u[i] = sign * (p->x0 + i / p->ny - pair->zero_x) * (p->y0 + i % p->ny - pair->zero_y);
    extremes(&c, n);
    mlc_value *x = scaled(q, f->x, sign, -sign * pair->zero_x, 0);
    c.value = mlc_q_binary(q, "Mul", x, scaled(q, f->y, 1, -pair->zero_y, 0));
    return by_one(q, p, &c);
}

/* Where slope_x : slope_y = a : b in small integers, a*x + b*y says it all. */
static mlc_value *small_ratio(mlc_quant *q, const mlc_form *f, const plane *p, const mlc_pair *pair) {
    enum { SMALL = 8 };
    double ratio = pair->slope_x / pair->slope_y;
    for (int64_t b = 1; b <= SMALL; b++) {
        double a = fabs(ratio) * (double)b;
        if (a > SMALL || a < 0.5 || fabs(a - rint(a)) > 1e-6 * a)
            continue;
        int64_t n = p->nx * p->ny, mx = (int64_t)rint(a) * (pair->slope_x < 0 ? -1 : 1),
                my = b * (pair->slope_y < 0 ? -1 : 1);
        combined c = {.u = MLC_NEW_ARRAY(q->arena, n, int64_t)};
        for (int64_t i = 0; i < n; i++)
            c.u[i] = mx * (p->x0 + i / p->ny) + my * (p->y0 + i % p->ny);
        extremes(&c, n);
        mlc_value *x = scaled(q, f->x, mx, 0, 0);
        c.value = mlc_q_binary(q, "Add", x, scaled(q, f->y, my, 0, 0));
        return by_one(q, p, &c);
    }
    return NULL;
}

/* (mx*x + my*y + a) >> shift for all pairs; saturated results only bound it from one side. */
static bool fit_plane(const plane *p, int64_t mx, int64_t my, int shift, int64_t *a) {
    int64_t lo = -((int64_t)1 << 61), hi = (int64_t)1 << 61, one = (int64_t)1 << shift;
    for (int64_t i = 0; i < p->nx; i++)
        for (int64_t j = 0; j < p->ny && lo <= hi; j++) {
            int64_t z = p->z[i * p->ny + j], u = mx * (p->x0 + i) + my * (p->y0 + j);
            if (z > p->least && z * one - u > lo)
                lo = z * one - u;
            if (z < p->most && (z + 1) * one - u - 1 < hi)
                hi = (z + 1) * one - u - 1;
        }
    *a = lo + (hi - lo) / 2;
    return lo <= hi;
}

static mlc_value *sum(mlc_quant *q, const mlc_form *f, const plane *p, const mlc_pair *pair) {
    double reach = fmax(fabs((double)p->x0), fabs((double)(p->x0 + p->nx))) * fabs(pair->slope_x) +
                   fmax(fabs((double)p->y0), fabs((double)(p->y0 + p->ny))) * fabs(pair->slope_y) +
                   fmax(fabs((double)p->least), fabs((double)p->most)) + 1;
    for (int shift = 4; shift < 60 && ldexp(reach, shift) < 0x1p60; shift++) {
        int64_t mx = (int64_t)rint(ldexp(pair->slope_x, shift)),
                my = (int64_t)rint(ldexp(pair->slope_y, shift)), a;
        if (!fit_plane(p, mx, my, shift, &a))
            continue;
        mlc_value *x = scaled(q, f->x, mx, a, 0);
        mlc_value *u = mlc_q_binary(q, "Add", x, scaled(q, f->y, my, 0, 0));
        return u ? limited(q, scaled(q, u, 1, 0, shift), p) : NULL;
    }
    return NULL;
}

static mlc_value *whole_table(mlc_quant *q, const mlc_form *f, const plane *p) {
    if (p->nx * p->ny > MOST_ENTRIES)
        return NULL;
    mlc_value *index = mlc_q_binary(q, "Add", scaled(q, f->x, p->ny, -p->x0 * p->ny - p->y0, 0), f->y);
    return table(q, index, p->z, p->nx * p->ny, 0);
}

/* What the pair inside a chain means in units of the chain's results. */
static mlc_pair pair_of(const mlc_chain *c) {
    double unit = 1;
    for (; c && c->kind != MLC_CHAIN_PAIR; c = c->prev) {
        const char *op = c->node ? c->node->op->name : "";
        if (c->kind == MLC_CHAIN_QUANTIZE)
            unit /= c->scale;
        else if (c->kind == MLC_CHAIN_GRID)
            unit *= c->scale;
        else if (strcmp(op, "Relu") != 0 && strcmp(op, "Clip") != 0)
            return (mlc_pair){.kind = MLC_PAIR_OTHER};
    }
    mlc_pair pair = c ? c->pair : (mlc_pair){.kind = MLC_PAIR_OTHER};
    pair.slope_x *= unit;
    pair.slope_y *= unit;
    return pair;
}

mlc_value *mlc_q_step_pair(mlc_quant *q, const mlc_form *f) {
    plane p;
    if (f->n_cls != 1 || f->x->err || f->y->err || !compute(q, f, &p))
        return NULL;
    mlc_pair pair = pair_of(f->chain[0]);
    mlc_value *v = NULL;
    if (pair.kind == MLC_PAIR_PRODUCT)
        v = product(q, f, &p, &pair);
    if (pair.kind == MLC_PAIR_SUM && pair.slope_x != 0 && pair.slope_y != 0) {
        v = small_ratio(q, f, &p, &pair);
        if (!v)
            v = sum(q, f, &p, &pair);
    }
    return v ? v : whole_table(q, f, &p);
}
