/* Tables, cells of tables, and halving with ties to even: step functions that no single multiplication gives.
 */
#include "StepTables.h"

#include <string.h>

int mlc_step_class(const mlc_form *f, int64_t i) {
    return f->cls ? f->cls[i] : 0;
}

mlc_value *mlc_step_per_class(mlc_quant *q, const mlc_form *f, const int64_t *of_class) {
    int64_t n = mlc_q_elements(f->x), *all = MLC_NEW_ARRAY(q->arena, n + 1, int64_t);
    for (int64_t i = 0; i < n; i++)
        all[i] = of_class[mlc_step_class(f, i)];
    return mlc_q_per_class(q, all, &f->x->shape);
}

mlc_value *mlc_step_rescale(mlc_quant *q, const mlc_form *f, mlc_value *x, const int64_t *m, const int64_t *a,
                            int shift) {
    mlc_value *in[3] = {x, mlc_step_per_class(q, f, m), mlc_step_per_class(q, f, a)};
    mlc_attr attr = {.name = "shift", .kind = MLC_ATTR_INT, .i = shift};
    return mlc_q_node(q, "Rescale", in, 3, NULL, &attr, 1);
}

enum { MOST_ENTRIES = 1 << 16 };

static mlc_value *table(mlc_quant *q, mlc_value *index, const int64_t *entries, int64_t n, int64_t base) {
    mlc_shape shape = {1, {n}};
    mlc_value *in[2] = {index, mlc_q_constant(q, entries, &shape)};
    mlc_attr attr = {.name = "base", .kind = MLC_ATTR_INT, .i = base};
    return mlc_q_node(q, "Table", in, 2, &index->shape, &attr, 1);
}

mlc_value *mlc_step_table(mlc_quant *q, const mlc_form *f, const mlc_scan *s) {
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
    return table(q, mlc_step_rescale(q, f, f->x, sign, offset, 0), entries, total, 0);
}

/* The coarsest cells, of 2^shift each, with at most one place of steps in any; -1: even cells of one x are
 * too many. */
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
    int64_t *before = MLC_NEW_ARRAY(q->arena, total, int64_t),
            *place = MLC_NEW_ARRAY(q->arena, total, int64_t),
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
    mlc_value *t = mlc_step_rescale(q, f, f->x, sign, start, 0);
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
    mlc_value *start_of = table(q, cell, before, total, 0), *height_of = table(q, cell, height, total, 0);
    return mlc_q_binary(q, "Sub", start_of, mlc_q_binary(q, "Mul", height_of, less));
}

/*
 * Tables need not cover what lies before the first step and behind the last: f and
 * s with x limited to what is between, where that is much less.
 */
static void limit_to_steps(mlc_quant *q, mlc_form *f, mlc_scan *s) {
    int64_t *least = MLC_NEW_ARRAY(q->arena, f->n_cls + 1, int64_t),
            *most = MLC_NEW_ARRAY(q->arena, f->n_cls + 1, int64_t), before = 0, after = 0;
    bool below = false, above = false;
    for (int c = 0; c < f->n_cls; c++) {
        if (!s[c].rising)
            return;
        int64_t n = s[c].steps.n, lo = n ? s[c].steps.below[0] : s[c].lo,
                hi = n ? s[c].steps.at[n - 1] : s[c].lo;
        before += s[c].hi - s[c].lo + 1;
        after += hi - lo + 1;
        below = below || (s[c].sign > 0 ? lo > s[c].lo : hi < s[c].hi);
        above = above || (s[c].sign > 0 ? hi < s[c].hi : lo > s[c].lo);
        least[c] = s[c].sign > 0 ? lo : -hi;
        most[c] = s[c].sign > 0 ? hi : -lo;
    }
    if (before < 2 * after)
        return;
    mlc_value *x = f->x;
    if (below)
        x = mlc_q_binary(q, "Max", x, mlc_step_per_class(q, f, least));
    if (above && x)
        x = mlc_q_binary(q, "Min", x, mlc_step_per_class(q, f, most));
    if (!x)
        return;
    f->x = x;
    for (int c = 0; c < f->n_cls; c++) {
        s[c].lo = s[c].sign > 0 ? least[c] : -most[c];
        s[c].hi = s[c].sign > 0 ? most[c] : -least[c];
    }
}

mlc_value *mlc_step_any_table(mlc_quant *q, const mlc_form *f, const mlc_scan *s) {
    mlc_form form = *f;
    mlc_scan *scans = MLC_NEW_ARRAY(q->arena, f->n_cls + 1, mlc_scan);
    memcpy(scans, s, (size_t)f->n_cls * sizeof *s);
    limit_to_steps(q, &form, scans);
    int64_t total = 0;
    for (int c = 0; c < f->n_cls; c++)
        total += scans[c].hi - scans[c].lo < MOST_ENTRIES ? scans[c].hi - scans[c].lo + 1 : MOST_ENTRIES;
    enum { PLAIN = 4096 };
    mlc_value *v = total <= PLAIN ? mlc_step_table(q, &form, scans) : NULL;
    if (!v)
        v = as_cells(q, &form, scans);
    return v ? v : mlc_step_table(q, &form, scans);
}

/*
 * Division by 2^shift that rounds ties to even results has steps of two lengths,
 * 2^shift - 1 and 2^shift + 1, in turn. With u = t + offset it is
 *
 *     (u + half - 1 + ((u >> shift & 1) ^ odd)) >> shift.
 */
typedef struct halving {
    int64_t offset;
    int shift, odd;
} halving;

static int64_t halving_at(const halving *h, int64_t t) {
    int64_t u = t + h->offset, half = (int64_t)1 << (h->shift - 1);
    return (u + half - 1 + ((u >> h->shift & 1) ^ h->odd)) >> h->shift;
}

static bool halves(const mlc_scan *s, halving *h) {
    const mlc_steps *steps = &s->steps;
    if (!s->rising || steps->n < 3)
        return false;
    int64_t two = steps->at[2] - steps->at[0]; /* two steps: 2 << shift */
    if (two < 4 || two > (int64_t)1 << 40 || (two & (two - 1)))
        return false;
    h->shift = mlc_q_bits((uint64_t)two) - 2;
    for (h->odd = 0; h->odd < 2; h->odd++) {
        /* Result k begins at u = k*2^shift - half, or one later where that tie goes down. */
        int64_t half = (int64_t)1 << (h->shift - 1), k = steps->k[0];
        h->offset = k * 2 * half - half + (((k - 1) & 1) == h->odd) - steps->at[0];
        bool ok = true;
        for (int64_t i = 0; i < steps->n && ok; i++)
            ok = halving_at(h, steps->at[i]) >= steps->k[i] && halving_at(h, steps->below[i]) < steps->k[i];
        if (ok)
            return true;
    }
    return false;
}

mlc_value *mlc_step_halving(mlc_quant *q, const mlc_form *f, const mlc_scan *s) {
    halving *h = MLC_NEW_ARRAY(q->arena, f->n_cls + 1, halving);
    int64_t *sign = MLC_NEW_ARRAY(q->arena, f->n_cls + 1, int64_t),
            *offset = MLC_NEW_ARRAY(q->arena, f->n_cls + 1, int64_t),
            *low = MLC_NEW_ARRAY(q->arena, f->n_cls + 1, int64_t),
            *high = MLC_NEW_ARRAY(q->arena, f->n_cls + 1, int64_t);
    bool below = false, above = false;
    for (int c = 0; c < f->n_cls; c++) {
        if (!halves(&s[c], &h[c]) || h[c].shift != h[0].shift || h[c].odd != h[0].odd)
            return NULL;
        sign[c] = s[c].sign;
        offset[c] = h[c].offset;
        low[c] = s[c].first;
        high[c] = s[c].last;
        below = below || halving_at(&h[c], s[c].lo) < low[c];
        above = above || halving_at(&h[c], s[c].hi) > high[c];
    }
    int64_t half = (int64_t)1 << (h[0].shift - 1);
    mlc_value *u = mlc_step_rescale(q, f, f->x, sign, offset, 0);
    mlc_value *whole[3] = {u, mlc_q_scalar(q, 1), mlc_q_scalar(q, 0)};
    mlc_attr shift = {.name = "shift", .kind = MLC_ATTR_INT, .i = h[0].shift};
    mlc_value *bit = mlc_q_node(q, "Rescale", whole, 3, NULL, &shift, 1);
    bit = bit ? mlc_q_binary(q, "BitAnd", bit, mlc_q_scalar(q, 1)) : NULL;
    if (bit && h[0].odd)
        bit = mlc_q_binary(q, "Sub", mlc_q_scalar(q, 1), bit);
    u = bit ? mlc_q_binary(q, "Add", u, bit) : NULL;
    mlc_value *in[3] = {u, mlc_q_scalar(q, 1), mlc_q_scalar(q, half - 1)};
    mlc_value *v = mlc_q_node(q, "Rescale", in, 3, NULL, &shift, 1);
    if (v && below)
        v = mlc_q_binary(q, "Max", v, mlc_step_per_class(q, f, low));
    return v && above ? mlc_q_binary(q, "Min", v, mlc_step_per_class(q, f, high)) : v;
}
