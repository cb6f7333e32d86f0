/* Builder of form.h: step functions from integers to integers, proven equal to the chains they come from. */
#include "StepFind.h"

#include <math.h>
#include <string.h>

static int class_of(const mlc_form *f, int64_t i) {
    return f->cls ? f->cls[i] : 0;
}

/* One number for each element, given one for each class. */
static mlc_value *per_class(mlc_quant *q, const mlc_form *f, const int64_t *of_class) {
    int64_t n = mlc_q_elements(f->x), *all = MLC_NEW_ARRAY(q->arena, n + 1, int64_t);
    for (int64_t i = 0; i < n; i++)
        all[i] = of_class[class_of(f, i)];
    return mlc_q_per_class(q, all, &f->x->shape);
}

static mlc_scan *scan_classes(mlc_quant *q, const mlc_form *f) {
    mlc_scan *s = MLC_NEW_ARRAY(q->arena, f->n_cls + 1, mlc_scan);
    for (int c = 0; c < f->n_cls; c++)
        s[c] = (mlc_scan){.chain = f->chain[c], .lo = INT64_MAX, .hi = INT64_MIN};
    for (int64_t i = 0; i < mlc_q_elements(f->x); i++) {
        mlc_scan *own = &s[class_of(f, i)];
        own->lo = f->x->lo[i] < own->lo ? f->x->lo[i] : own->lo;
        own->hi = f->x->hi[i] > own->hi ? f->x->hi[i] : own->hi;
    }
    for (int c = 0; c < f->n_cls; c++)
        if (!mlc_scan_chain(q, &s[c]))
            return NULL;
    return s;
}

static bool is_identity(const mlc_scan *s) {
    if (!s->rising || s->sign != 1 || s->first != s->lo || s->last != s->hi)
        return false;
    for (int64_t i = 0; i < s->steps.n; i++)
        if (s->steps.at[i] != s->steps.k[i])
            return false;
    return true;
}

/* One fit for all classes, or one for each with a common shift. */
static bool fit_classes(mlc_quant *q, const mlc_scan *s, int n, mlc_fit *fit) {
    int64_t magnitude = 0;
    int shift = 0;
    bool alike = true;
    mlc_steps *steps = MLC_NEW_ARRAY(q->arena, n + 1, mlc_steps);
    for (int c = 0; c < n; c++) {
        if (!s[c].rising)
            return false;
        int64_t lo = -s[c].lo, most = s[c].hi > lo ? s[c].hi : lo;
        magnitude = most > magnitude ? most : magnitude;
        alike = alike && s[c].sign == s[0].sign;
        steps[c] = s[c].steps;
    }
    mlc_fit all;
    if (alike && mlc_step_fit(q->arena, steps, n, magnitude, &all)) {
        for (int c = 0; c < n; c++)
            fit[c] = all;
        return true;
    }
    for (int c = 0; c < n; c++) {
        fit[c] = (mlc_fit){0, s[c].first, 0}; /* without steps: constant */
        if (s[c].steps.n && !mlc_step_fit(q->arena, &steps[c], 1, magnitude, &fit[c]))
            return false;
        shift = fit[c].shift > shift ? fit[c].shift : shift;
    }
    for (int c = 0; c < n; c++) { /* more bits of a fit are the same function */
        int more = shift - fit[c].shift;
        mlc_int128 m = (mlc_int128)fit[c].multiplier << more, a = (mlc_int128)fit[c].addend << more;
        if (m * magnitude + (a < 0 ? -a : a) >= (mlc_int128)1 << MLC_ACCUMULATOR_BITS)
            return false;
        fit[c] = (mlc_fit){(int64_t)m, (int64_t)a, shift};
    }
    return true;
}

/*
 * max(v, bound) or min(v, bound), where some class leaves its results without it.
 * One bound serves all classes if it does not touch the results of any.
 */
static mlc_value *limit(mlc_quant *q, const mlc_form *f, const mlc_scan *s, const mlc_fit *fit, mlc_value *v,
                        bool low) {
    int64_t *bound = MLC_NEW_ARRAY(q->arena, f->n_cls + 1, int64_t), common = low ? INT64_MIN : INT64_MAX;
    bool needed = false, one = true;
    for (int c = 0; c < f->n_cls; c++) {
        bound[c] = low ? s[c].first : s[c].last;
        int64_t raw = mlc_fit_at(&fit[c], low ? s[c].lo : s[c].hi);
        if (low ? raw >= bound[c] : raw <= bound[c])
            continue;
        needed = true;
        common = low ? (bound[c] > common ? bound[c] : common) : (bound[c] < common ? bound[c] : common);
    }
    if (!needed || !v)
        return v;
    for (int c = 0; c < f->n_cls; c++) {
        int64_t raw = mlc_fit_at(&fit[c], low ? s[c].lo : s[c].hi);
        bool out = low ? raw < bound[c] : raw > bound[c];
        one = one && (out ? bound[c] == common : low ? bound[c] >= common : bound[c] <= common);
    }
    return mlc_q_binary(q, low ? "Max" : "Min", v, one ? mlc_q_scalar(q, common) : per_class(q, f, bound));
}

static mlc_value *rescale(mlc_quant *q, const mlc_form *f, mlc_value *x, const int64_t *m, const int64_t *a, int shift) {
    mlc_value *in[3] = {x, per_class(q, f, m), per_class(q, f, a)};
    mlc_attr attr = {.name = "shift", .kind = MLC_ATTR_INT, .i = shift};
    return mlc_q_node(q, "Rescale", in, 3, NULL, &attr, 1);
}

static mlc_value *as_fit(mlc_quant *q, const mlc_form *f, const mlc_scan *s) {
    mlc_fit *fit = MLC_NEW_ARRAY(q->arena, f->n_cls + 1, mlc_fit);
    if (!fit_classes(q, s, f->n_cls, fit))
        return NULL;
    int64_t *m = MLC_NEW_ARRAY(q->arena, f->n_cls + 1, int64_t), *a = MLC_NEW_ARRAY(q->arena, f->n_cls + 1, int64_t);
    for (int c = 0; c < f->n_cls; c++) {
        m[c] = s[c].sign * fit[c].multiplier;
        a[c] = fit[c].addend;
    }
    mlc_value *v = rescale(q, f, f->x, m, a, fit[0].shift);
    return limit(q, f, s, fit, limit(q, f, s, fit, v, true), false);
}

enum { MOST_ENTRIES = 1 << 16 };

static mlc_value *table(mlc_quant *q, mlc_value *index, const int64_t *entries, int64_t n, int64_t base) {
    mlc_shape shape = {1, {n}};
    mlc_value *in[2] = {index, mlc_q_constant(q, entries, &shape)};
    mlc_attr attr = {.name = "base", .kind = MLC_ATTR_INT, .i = base};
    return mlc_q_node(q, "Table", in, 2, &index->shape, &attr, 1);
}

/* Every result of every class, one class behind the other. */
static mlc_value *as_table(mlc_quant *q, const mlc_form *f, const mlc_scan *s) {
    int64_t total = 0, *sign = MLC_NEW_ARRAY(q->arena, f->n_cls + 1, int64_t),
            *offset = MLC_NEW_ARRAY(q->arena, f->n_cls + 1, int64_t);
    for (int c = 0; c < f->n_cls; c++) {
        sign[c] = s[c].sign;
        offset[c] = total - s[c].lo;
        total += s[c].hi - s[c].lo + 1;
        if (s[c].hi - s[c].lo >= MOST_ENTRIES || total > MOST_ENTRIES)
            return NULL;
    }
    int64_t *entries = MLC_NEW_ARRAY(q->arena, total, int64_t), at = 0;
    for (int c = 0; c < f->n_cls; c++) {
        int64_t n = s[c].hi - s[c].lo + 1, *t = MLC_NEW_ARRAY(q->arena, n, int64_t);
        for (int64_t i = 0; i < n; i++)
            t[i] = s[c].lo + i;
        mlc_step_eval(q, &s[c], t, n, entries + at);
        at += n;
    }
    if (f->n_cls == 1 && s[0].sign == 1)
        return table(q, f->x, entries, total, s[0].lo);
    return table(q, rescale(q, f, f->x, sign, offset, 0), entries, total, 0);
}

/* The coarsest cells, of 2^shift each, with at most one place of steps in any; -1: even cells of one x are too many. */
static int cell_shift(const mlc_scan *s) {
    int64_t gap = s->hi - s->lo + 1;
    for (int64_t i = 1; i < s->steps.n; i++) {
        int64_t d = s->steps.at[i] - s->steps.at[i - 1];
        if (d > 0 && d < gap)
            gap = d;
    }
    return mlc_q_bits((uint64_t)gap) - 1;
}

/*
 * In each cell of 2^shift numbers there is one place at most where the result
 * changes: result before it, place, and height of the change from three tables.
 */
static mlc_value *as_cells(mlc_quant *q, const mlc_form *f, const mlc_scan *s) {
    int shift = 62;
    for (int c = 0; c < f->n_cls; c++) {
        if (!s[c].rising)
            return NULL;
        int own = cell_shift(&s[c]);
        shift = own < shift ? own : shift;
    }
    int64_t total = 0, *sign = MLC_NEW_ARRAY(q->arena, f->n_cls + 1, int64_t),
            *start = MLC_NEW_ARRAY(q->arena, f->n_cls + 1, int64_t);
    for (int c = 0; c < f->n_cls; c++) {
        int64_t cells = ((s[c].hi - s[c].lo) >> shift) + 1;
        if (cells > MOST_ENTRIES || total + cells > MOST_ENTRIES || s[c].lo < -((int64_t)1 << 60))
            return NULL;
        sign[c] = s[c].sign;
        start[c] = total * ((int64_t)1 << shift) - s[c].lo;
        total += cells;
    }
    int64_t *before = MLC_NEW_ARRAY(q->arena, total, int64_t), *place = MLC_NEW_ARRAY(q->arena, total, int64_t),
            *height = MLC_NEW_ARRAY(q->arena, total, int64_t), at = 0;
    bool single = true;
    for (int c = 0; c < f->n_cls; c++) {
        int64_t k = s[c].first, j = 0;
        for (int64_t lo = s[c].lo; lo <= s[c].hi; lo += (int64_t)1 << shift, at++) {
            int64_t end = lo + ((int64_t)1 << shift);
            for (; j < s[c].steps.n && s[c].steps.at[j] <= lo; j++)
                k = s[c].steps.k[j];
            before[at] = k;
            place[at] = end + start[c];
            for (; j < s[c].steps.n && s[c].steps.at[j] < end; j++) {
                place[at] = s[c].steps.at[j] + start[c];
                k = s[c].steps.k[j];
            }
            height[at] = k - before[at];
            single = single && height[at] <= 1;
        }
    }
    for (int64_t i = 0; i < total && single; i++)
        before[i]++; /* and 1 less before the place */
    mlc_value *t = rescale(q, f, f->x, sign, start, 0);
    mlc_value *in[3] = {t, mlc_q_scalar(q, 1), mlc_q_scalar(q, 0)};
    mlc_attr attr = {.name = "shift", .kind = MLC_ATTR_INT, .i = shift};
    mlc_value *cell = mlc_q_node(q, "Rescale", in, 3, NULL, &attr, 1);
    if (!cell)
        return NULL;
    mlc_value *less = mlc_q_binary(q, "Less", t, table(q, cell, place, total, 0));
    if (single)
        return mlc_q_binary(q, "Sub", table(q, cell, before, total, 0), less);
    for (int64_t i = 0; i < total; i++)
        before[i] += height[i];
    return mlc_q_binary(q, "Sub", table(q, cell, before, total, 0),
                        mlc_q_binary(q, "Mul", table(q, cell, height, total, 0), less));
}

static mlc_value *as_constant(mlc_quant *q, const mlc_form *f, const mlc_scan *s) {
    int64_t n = mlc_q_elements(f->x), *x = MLC_NEW_ARRAY(q->arena, n + 1, int64_t);
    for (int c = 0; c < f->n_cls; c++)
        if (!s[c].rising || s[c].first != s[c].last)
            return NULL;
    for (int64_t i = 0; i < n; i++)
        x[i] = s[class_of(f, i)].first;
    return mlc_q_constant(q, x, &f->x->shape);
}

/* The most steps in any reach of `distance` integers. */
static double steps_within(const mlc_scan *s, double distance) {
    if (!s->rising || !(distance < (double)(s->hi - s->lo)))
        return (double)s->last - (double)s->first;
    int64_t reach = (int64_t)ceil(distance), most = 0, from = 0;
    for (int64_t i = 0; i < s->steps.n; i++) {
        while (s->steps.at[i] - s->steps.at[from] >= reach + 1)
            from++;
        most = i - from + 1 > most ? i - from + 1 : most;
    }
    return (double)most;
}

static void carry_error(mlc_quant *q, const mlc_form *f, const mlc_scan *s, mlc_value *v) {
    if (!f->x->err || v->constant)
        return;
    double *most = MLC_NEW_ARRAY(q->arena, f->n_cls + 1, double), *err = NULL;
    for (int64_t i = 0; i < mlc_q_elements(f->x); i++)
        most[class_of(f, i)] = fmax(most[class_of(f, i)], f->x->err[i] / f->x->scale);
    for (int c = 0; c < f->n_cls; c++)
        if (most[c] > 0)
            most[c] = steps_within(&s[c], most[c]);
    err = MLC_NEW_ARRAY(q->arena, mlc_q_elements(v) + 1, double);
    for (int64_t i = 0; i < mlc_q_elements(v); i++)
        err[i] = most[class_of(f, i)];
    v->err = err;
}

/* A table of few entries costs less than a multiplication that needs limits. */
static bool small(const mlc_form *f, const mlc_scan *s) {
    enum { FEW = 256 };
    return f->n_cls == 1 && s[0].hi - s[0].lo < FEW;
}

static mlc_value *build(mlc_quant *q, const mlc_form *f, const mlc_scan *s) {
    mlc_value *v = as_constant(q, f, s);
    bool same = true;
    for (int c = 0; c < f->n_cls; c++)
        same = same && is_identity(&s[c]);
    if (!v && same)
        return f->x;
    mlc_fit fit;
    bool plain = false;
    if (!v && small(f, s) && s[0].rising && fit_classes(q, s, 1, &fit))
        plain = mlc_fit_at(&fit, s[0].lo) >= s[0].first && mlc_fit_at(&fit, s[0].hi) <= s[0].last;
    if (!v && small(f, s) && !plain)
        v = as_table(q, f, s);
    if (!v)
        v = as_fit(q, f, s);
    if (!v)
        v = as_table(q, f, s);
    return v ? v : as_cells(q, f, s);
}

mlc_value *mlc_q_step(mlc_quant *q, const mlc_form *f) {
    if (mlc_q_elements(f->x) == 0)
        return NULL;
    if (f->y)
        return mlc_q_step_pair(q, f);
    mlc_scan *s = scan_classes(q, f);
    mlc_value *v = s ? build(q, f, s) : NULL;
    if (v && v == f->x && (v->scale != 1 || v->zero != 0)) {
        v = mlc_q_reshape(q, v, &v->shape); /* the same integers with scale 1 */
        v->scale = 1;
    }
    if (v && v != f->x)
        carry_error(q, f, s, v);
    return v;
}
