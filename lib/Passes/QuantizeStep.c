/* Builder of form.h: step functions from integers to integers, proven equal to the chains they come from. */
#include "StepTables.h"

#include <math.h>
#include <string.h>

static mlc_scan *scan_classes(mlc_quant *q, const mlc_form *f) {
    mlc_scan *s = MLC_NEW_ARRAY(q->arena, f->n_cls + 1, mlc_scan);
    for (int c = 0; c < f->n_cls; c++)
        s[c] = (mlc_scan){.chain = f->chain[c], .lo = INT64_MAX, .hi = INT64_MIN};
    for (int64_t i = 0; i < mlc_q_elements(f->x); i++) {
        mlc_scan *own = &s[mlc_step_class(f, i)];
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

/* A copy of the steps that may be changed. */
static mlc_steps copy_steps(mlc_quant *q, const mlc_steps *s) {
    mlc_steps r = {.n = s->n,
                   .k = s->k,
                   .below = MLC_NEW_ARRAY(q->arena, s->n + 1, int64_t),
                   .at = MLC_NEW_ARRAY(q->arena, s->n + 1, int64_t)};
    if (s->n) {
        memcpy(r.below, s->below, (size_t)s->n * sizeof *r.below);
        memcpy(r.at, s->at, (size_t)s->n * sizeof *r.at);
    }
    return r;
}

enum { MOST_EXCEPTIONS = 3 };

static bool fit_all(mlc_quant *q, const mlc_scan *s, mlc_steps *steps, int n, int64_t magnitude,
                    int exceptions, mlc_fit *fit) {
    for (int c = 0; c < n; c++) {
        if (s[c].sign != s[0].sign)
            return false;
        steps[c] = copy_steps(q, &s[c].steps);
    }
    mlc_fit all;
    if (!mlc_step_fit_except(q->arena, steps, n, magnitude, exceptions, &all))
        return false;
    for (int c = 0; c < n; c++)
        fit[c] = all;
    return true;
}

/* One fit for each class, with a common shift. */
static bool fit_each(mlc_quant *q, const mlc_scan *s, mlc_steps *steps, int n, int64_t magnitude,
                     int exceptions, mlc_fit *fit) {
    int shift = 0;
    for (int c = 0; c < n; c++) {
        steps[c] = copy_steps(q, &s[c].steps);
        fit[c] = (mlc_fit){0, s[c].first, 0}; /* without steps: constant */
        if (s[c].steps.n && !mlc_step_fit_except(q->arena, &steps[c], 1, magnitude, exceptions, &fit[c]))
            return false;
        shift = fit[c].shift > shift ? fit[c].shift : shift;
    }
    for (int c = 0; c < n; c++) { /* more bits of a fit are the same function */
        mlc_int128 more = (mlc_int128)1 << (shift - fit[c].shift);
        mlc_int128 m = fit[c].multiplier * more, a = fit[c].addend * more;
        if (m * magnitude + (a < 0 ? -a : a) >= (mlc_int128)1 << MLC_ACCUMULATOR_BITS)
            return false;
        fit[c] = (mlc_fit){(int64_t)m, (int64_t)a, shift};
    }
    return true;
}

/* The fits of all classes, and the steps that they satisfy. */
static bool fit_classes(mlc_quant *q, const mlc_scan *s, int n, mlc_steps *steps, mlc_fit *fit) {
    int64_t magnitude = 0;
    for (int c = 0; c < n; c++) {
        if (!s[c].rising)
            return false;
        int64_t lo = -s[c].lo, most = s[c].hi > lo ? s[c].hi : lo;
        magnitude = most > magnitude ? most : magnitude;
    }
    return fit_all(q, s, steps, n, magnitude, 0, fit) || fit_each(q, s, steps, n, magnitude, 0, fit) ||
           fit_all(q, s, steps, n, magnitude, MOST_EXCEPTIONS, fit) ||
           fit_each(q, s, steps, n, magnitude, MOST_EXCEPTIONS, fit);
}

/* Places of t where a fit is wrong: by 1 in `under`, by -1 in `over`; INT64_MIN: none. */
typedef struct exceptions {
    int64_t (*under)[MOST_EXCEPTIONS], (*over)[MOST_EXCEPTIONS]; /* by class */
    int n_under, n_over;                                         /* the most of any class */
} exceptions;

static bool note(mlc_quant *q, const mlc_scan *s, const mlc_fit *fit, int64_t t, int c, int *n_under,
                 int *n_over, exceptions *e) {
    int64_t want, raw = mlc_fit_at(fit, t);
    mlc_step_eval(q, s, &t, 1, &want);
    int64_t limited = raw < s->first ? s->first : raw > s->last ? s->last : raw;
    if (t < s->lo || t > s->hi || limited == want)
        return true;
    int *n = want == raw + 1 ? n_under : want == raw - 1 ? n_over : NULL;
    int64_t *list = want == raw + 1 ? e->under[c] : e->over[c];
    for (int i = 0; n && i < *n; i++)
        if (list[i] == t)
            return true;
    if (!n || *n == MOST_EXCEPTIONS)
        return false;
    list[(*n)++] = t;
    return true;
}

/* Where steps were moved, the fit may be wrong. */
static bool find_exceptions(mlc_quant *q, const mlc_scan *s, int n, const mlc_steps *steps,
                            const mlc_fit *fit, exceptions *e) {
    *e = (exceptions){.under = mlc_arena_array(q->arena, (size_t)n + 1, sizeof *e->under),
                      .over = mlc_arena_array(q->arena, (size_t)n + 1, sizeof *e->over)};
    for (int c = 0; c < n; c++) {
        int n_under = 0, n_over = 0;
        for (int i = 0; i < MOST_EXCEPTIONS; i++)
            e->under[c][i] = e->over[c][i] = INT64_MIN;
        for (int64_t j = 0; j < steps[c].n; j++) {
            for (int64_t t = s[c].steps.at[j]; t < steps[c].at[j]; t++)
                if (!note(q, &s[c], &fit[c], t, c, &n_under, &n_over, e))
                    return false;
            for (int64_t t = s[c].steps.below[j]; t > steps[c].below[j]; t--)
                if (!note(q, &s[c], &fit[c], t, c, &n_under, &n_over, e))
                    return false;
        }
        e->n_under = n_under > e->n_under ? n_under : e->n_under;
        e->n_over = n_over > e->n_over ? n_over : e->n_over;
    }
    return true;
}

/* v + 1 or v - 1 in the i-th place of each class. */
static mlc_value *correct(mlc_quant *q, const mlc_form *f, const mlc_scan *s, mlc_value *v,
                          int64_t (*places)[MOST_EXCEPTIONS], int i, const char *op) {
    int64_t *x = MLC_NEW_ARRAY(q->arena, f->n_cls + 1, int64_t);
    for (int c = 0; c < f->n_cls; c++) {
        int64_t t = places[c][i];
        x[c] = t != INT64_MIN ? s[c].sign * t : s[c].sign > 0 ? s[c].lo - 1 : 1 - s[c].lo; /* no x is there */
    }
    return v ? mlc_q_binary(q, op, v, mlc_q_binary(q, "Equal", f->x, mlc_step_per_class(q, f, x))) : NULL;
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
    return mlc_q_binary(q, low ? "Max" : "Min", v,
                        one ? mlc_q_scalar(q, common) : mlc_step_per_class(q, f, bound));
}

static mlc_value *as_fit(mlc_quant *q, const mlc_form *f, const mlc_scan *s) {
    mlc_fit *fit = MLC_NEW_ARRAY(q->arena, f->n_cls + 1, mlc_fit);
    mlc_steps *steps = MLC_NEW_ARRAY(q->arena, f->n_cls + 1, mlc_steps);
    exceptions e;
    if (!fit_classes(q, s, f->n_cls, steps, fit) || !find_exceptions(q, s, f->n_cls, steps, fit, &e))
        return NULL;
    int64_t *m = MLC_NEW_ARRAY(q->arena, f->n_cls + 1, int64_t),
            *a = MLC_NEW_ARRAY(q->arena, f->n_cls + 1, int64_t);
    for (int c = 0; c < f->n_cls; c++) {
        m[c] = s[c].sign * fit[c].multiplier;
        a[c] = fit[c].addend;
    }
    mlc_value *v = mlc_step_rescale(q, f, f->x, m, a, fit[0].shift);
    for (int i = 0; i < e.n_under; i++)
        v = correct(q, f, s, v, e.under, i, "Add");
    for (int i = 0; i < e.n_over; i++)
        v = correct(q, f, s, v, e.over, i, "Sub");
    return limit(q, f, s, fit, limit(q, f, s, fit, v, true), false);
}

static mlc_value *as_constant(mlc_quant *q, const mlc_form *f, const mlc_scan *s) {
    int64_t n = mlc_q_elements(f->x), *x = MLC_NEW_ARRAY(q->arena, n + 1, int64_t);
    for (int c = 0; c < f->n_cls; c++)
        if (!s[c].rising || s[c].first != s[c].last)
            return NULL;
    for (int64_t i = 0; i < n; i++)
        x[i] = s[mlc_step_class(f, i)].first;
    return mlc_q_constant(q, x, &f->x->shape);
}

/* The most steps of a rising function in any reach of `distance` integers. */
static double steps_within(const mlc_scan *s, double distance) {
    if (!(distance < (double)(s->hi - s->lo)))
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
        most[mlc_step_class(f, i)] = fmax(most[mlc_step_class(f, i)], f->x->err[i] / f->x->scale);
    for (int c = 0; c < f->n_cls; c++)
        if (most[c] > 0)
            most[c] = s[c].rising ? steps_within(&s[c], most[c]) : INFINITY;
    err = MLC_NEW_ARRAY(q->arena, mlc_q_elements(v) + 1, double);
    for (int64_t i = 0; i < mlc_q_elements(v); i++)
        err[i] = fmin(most[mlc_step_class(f, i)], (double)v->hi[i] - (double)v->lo[i]);
    v->err = err;
}

/* A table of few entries costs less than a multiplication that needs limits. */
static bool small(const mlc_form *f, const mlc_scan *s) {
    enum { FEW = 256 };
    return f->n_cls == 1 && s[0].hi - s[0].lo < FEW;
}

static mlc_value *build(mlc_quant *q, const mlc_form *f, const mlc_scan *s);

/* Of the elements of classes [from, to), as a vector; `place`, by element of f: where they are in it. */
static mlc_value *build_part(mlc_quant *q, const mlc_form *f, const mlc_scan *s, int from, int to,
                             int64_t first, int64_t *place) {
    int64_t n = 0, *index = MLC_NEW_ARRAY(q->arena, mlc_q_elements(f->x), int64_t);
    int *cls = MLC_NEW_ARRAY(q->arena, mlc_q_elements(f->x), int);
    for (int64_t i = 0; i < mlc_q_elements(f->x); i++) {
        int c = mlc_step_class(f, i);
        if (c < from || c >= to)
            continue;
        place[i] = first + n;
        cls[n] = c - from;
        index[n++] = i;
    }
    mlc_form part = {.n_cls = to - from, .cls = cls, .chain = f->chain + from};
    mlc_shape shape = {1, {n}};
    part.x = mlc_q_gather(q, (mlc_value *[]){f->x}, 1, index, 0, &shape);
    return part.x ? build(q, &part, s + from) : NULL;
}

/* No form serves all classes: one for each half of them. */
static mlc_value *divided(mlc_quant *q, const mlc_form *f, const mlc_scan *s) {
    const int middle = f->n_cls / 2;
    int64_t *place = MLC_NEW_ARRAY(q->arena, mlc_q_elements(f->x), int64_t);
    mlc_value *half[2] = {build_part(q, f, s, 0, middle, 0, place), NULL};
    if (half[0])
        half[1] = build_part(q, f, s, middle, f->n_cls, mlc_q_elements(half[0]), place);
    mlc_value *in[3] = {half[0], half[1], mlc_q_constant(q, place, &f->x->shape)};
    return mlc_q_node(q, "Gather", in, 3, &f->x->shape, NULL, 0);
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
    if (!v && small(f, s) && s[0].rising &&
        mlc_step_fit(q->arena, &s[0].steps, 1, s[0].hi > -s[0].lo ? s[0].hi : -s[0].lo, &fit))
        plain = mlc_fit_at(&fit, s[0].lo) >= s[0].first && mlc_fit_at(&fit, s[0].hi) <= s[0].last;
    if (!v && small(f, s) && !plain)
        v = mlc_step_table(q, f, s);
    if (!v)
        v = as_fit(q, f, s);
    if (!v)
        v = mlc_step_halving(q, f, s);
    if (!v)
        v = mlc_step_any_table(q, f, s);
    if (!v)
        v = f->n_cls > 1 ? divided(q, f, s) : mlc_step_search(q, f, s);
    return v;
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
