/* What the calibration data shows: ranges of every element of the model, handed on to the integer values. */
#include "Precision.h"
#include "Quant.h"

#include <math.h>
#include <string.h>

static void observe(mlc_seen *seen, double x, int n) {
    if (!isfinite(x))
        return;
    seen->all.lo = fmin(seen->all.lo, x);
    seen->all.hi = fmax(seen->all.hi, x);
    seen->mean += x / n;
}

void mlc_q_observe(mlc_quant *q, const mlc_calibration *data) {
    mlc_graph *g = q->from;
    mlc_seen **seen = MLC_NEW_ARRAY(q->arena, g->n_values + 1, mlc_seen *);
    q->seen_all = MLC_NEW_ARRAY(q->arena, g->n_values + 1, mlc_seen);
    double *lo = MLC_NEW_ARRAY(q->arena, g->n_values + 1, double);
    double *hi = MLC_NEW_ARRAY(q->arena, g->n_values + 1, double);
    for (int i = 0; i < g->n_values; i++) {
        const mlc_value *v = g->values[i];
        int64_t n = v->constant || v->dtype == MLC_STRING ? 0 : mlc_q_elements(v);
        seen[i] = MLC_NEW_ARRAY(q->arena, n + 1, mlc_seen);
        for (int64_t k = 0; k < n; k++)
            seen[i][k].all = (mlc_range){.lo = INFINITY, .hi = -INFINITY};
        lo[i] = INFINITY;
        hi[i] = -INFINITY;
    }
    for (int s = 0; s < data->n_samples; s++) {
        mlc_arena_mark mark = mlc_arena_save(q->arena);
        const mlc_tensor **value = mlc_eval_real(g, data->inputs[s], q->arena);
        for (int i = 0; i < g->n_values; i++) {
            if (!value[i] || g->values[i]->constant || value[i]->dtype == MLC_STRING)
                continue;
            int64_t n = mlc_shape_elements(&value[i]->shape);
            for (int64_t k = 0; k < n; k++)
                observe(&seen[i][k], mlc_tensor_real(value[i], k), data->n_samples);
        }
        mlc_arena_restore(q->arena, mark);
    }
    for (int i = 0; i < g->n_values; i++) {
        const mlc_value *v = g->values[i];
        int64_t n = v->constant || v->dtype == MLC_STRING ? 0 : mlc_q_elements(v);
        for (int64_t k = 0; k < n; k++) {
            seen[i][k].ends = seen[i][k].all;
            lo[i] = fmin(lo[i], seen[i][k].all.lo);
            hi[i] = fmax(hi[i], seen[i][k].all.hi);
        }
        q->seen_all[i].all = q->seen_all[i].ends = (mlc_range){.lo = lo[i], .hi = hi[i]};
    }
    q->seen = seen;
    q->seen_lo = lo;
    q->seen_hi = hi;
}

/*
 * Ends of 8-bit grids. A few samples far out would take resolution from all
 * others: of some candidates, the ends with the least mean square error count.
 */
static const double clips[][2] = {
    {1, 1},   {1, .75},  {1, .5},    {1, .35},   {1, .25},  {1, .18},  {1, .12},   {1, .06},
    {1, .03}, {.5, 1},   {.5, .75},  {.5, .5},   {.5, .35}, {.5, .25}, {.5, .12},  {.5, .06},
    {.25, 1}, {.25, .5}, {.25, .25}, {.25, .12}, {.12, 1},  {.12, .5}, {.12, .25}, {.12, .12},
};
enum { CLIPS = sizeof clips / sizeof clips[0], CLIP_LEVELS = 255 };

/* Squared errors of one element, or of a whole tensor, by candidate. */
typedef struct clip_record {
    mlc_range range;
    double error[CLIPS];
} clip_record;

/* The candidate's share of the way from `pivot` to each end. */
static mlc_range clipped(const clip_record *r, int candidate, double pivot) {
    return (mlc_range){.lo = pivot + (r->range.lo - pivot) * clips[candidate][0],
                       .hi = pivot + (r->range.hi - pivot) * clips[candidate][1]};
}

/* Where clipping leaves the range: 0 if that is inside, else its nearer end. */
static double pivot_of(const clip_record *r) {
    return fmin(fmax(0, r->range.lo), r->range.hi);
}

static void add_errors(clip_record *r, double x) {
    double pivot = pivot_of(r);
    for (int c = 0; c < CLIPS; c++) {
        mlc_range own = clipped(r, c, pivot);
        double step = (own.hi - own.lo) / CLIP_LEVELS;
        if (!(step > 0))
            continue;
        double y = fmin(fmax(x, own.lo), own.hi), q = own.lo + rint((y - own.lo) / step) * step;
        r->error[c] += (x - q) * (x - q);
    }
}

static mlc_range best(const clip_record *r) {
    int least = 0;
    for (int c = 1; c < CLIPS; c++)
        if (r->error[c] < r->error[least])
            least = c;
    return clipped(r, least, pivot_of(r));
}

/* Enough to place the ends of a grid. */
enum { CLIP_SAMPLES = 1024 };

void mlc_q_choose_ends(mlc_quant *q, const mlc_calibration *data) {
    mlc_graph *g = q->from;
    clip_record **element = MLC_NEW_ARRAY(q->arena, g->n_values + 1, clip_record *);
    clip_record *tensor = MLC_NEW_ARRAY(q->arena, g->n_values + 1, clip_record);
    int n_dots;
    const mlc_dot *dots = mlc_q_dots(g, q->arena, 8, &n_dots);
    for (int d = 0; d < n_dots; d++) {
        const mlc_value *v = mlc_q_dot_input(dots[d].node);
        if (element[v->id])
            continue;
        element[v->id] = MLC_NEW_ARRAY(q->arena, mlc_q_elements(v) + 1, clip_record);
        for (int64_t k = 0; k < mlc_q_elements(v); k++)
            element[v->id][k].range = q->seen[v->id][k].all;
        tensor[v->id].range = q->seen_all[v->id].all;
    }
    int samples = data->n_samples < CLIP_SAMPLES ? data->n_samples : CLIP_SAMPLES;
    for (int s = 0; s < samples; s++) {
        mlc_arena_mark mark = mlc_arena_save(q->arena);
        const mlc_tensor *const *inputs = data->inputs[(int64_t)s * data->n_samples / samples];
        const mlc_tensor **value = mlc_eval_real(g, inputs, q->arena);
        for (int i = 0; i < g->n_values; i++)
            for (int64_t k = 0; element[i] && k < mlc_q_elements(g->values[i]); k++) {
                double x = mlc_tensor_real(value[i], k);
                if (!isfinite(x))
                    continue;
                add_errors(&element[i][k], x);
                add_errors(&tensor[i], x);
            }
        mlc_arena_restore(q->arena, mark);
    }
    for (int i = 0; i < g->n_values; i++) {
        if (!element[i])
            continue;
        for (int64_t k = 0; k < mlc_q_elements(g->values[i]); k++)
            q->seen[i][k].ends = best(&element[i][k]);
        q->seen_all[i].ends = best(&tensor[i]);
    }
}

const mlc_seen *mlc_q_seen(const mlc_quant *q, const mlc_value *v) {
    return v->id < q->n_integer_seen ? q->integer_seen[v->id] : NULL;
}

void mlc_q_set_seen(mlc_quant *q, const mlc_value *v, const mlc_seen *seen) {
    if (v->id >= q->n_integer_seen) {
        int n = 2 * v->id + 64;
        const mlc_seen **grown = MLC_NEW_ARRAY(q->arena, n, const mlc_seen *);
        if (q->n_integer_seen)
            memcpy(grown, q->integer_seen, (size_t)q->n_integer_seen * sizeof *grown);
        q->integer_seen = grown;
        q->n_integer_seen = n;
    }
    q->integer_seen[v->id] = seen;
}

void mlc_q_gather_seen(mlc_quant *q, const mlc_value *out, mlc_value *const *in, int n_in,
                       const int64_t *index) {
    for (int k = 0; k < n_in; k++)
        if (!in[k]->constant && !mlc_q_seen(q, in[k]))
            return;
    int64_t n = mlc_q_elements(out);
    mlc_seen *seen = MLC_NEW_ARRAY(q->arena, n + 1, mlc_seen);
    for (int64_t i = 0; i < n; i++) {
        int64_t at = index[i];
        int k = 0;
        while (k < n_in - 1 && at >= mlc_q_elements(in[k]))
            at -= mlc_q_elements(in[k++]);
        double x = in[k]->constant ? (double)in[k]->constant->i[at] * in[k]->scale : 0;
        seen[i] =
            in[k]->constant ? (mlc_seen){.all = {x, x}, .ends = {x, x}, .mean = x} : mlc_q_seen(q, in[k])[at];
    }
    mlc_q_set_seen(q, out, seen);
}
