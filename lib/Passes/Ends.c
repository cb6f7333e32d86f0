/*
 * Where the grids of dot products' inputs end. A few samples far out would take
 * resolution from all others, the more so the fewer bits there are: of some
 * candidates for each end, those count that leave the least mean square error.
 */
#include "Precision.h"
#include "Quant.h"

#include <math.h>

/* Shares of the way from the pivot to what was seen. */
static const double shares[] = {1,   .92, .84, .77, .7,  .64, .58, .52, .46, .4,
                                .35, .3,  .25, .21, .17, .13, .1,  .07, .05, .03};
enum { SHARES = sizeof shares / sizeof shares[0] };

/* Of one element, or of a whole tensor. */
typedef struct record {
    mlc_range range;
    double pivot; /* where clipping leaves the range: 0 if that is inside, else its nearer end */
    double lo[SHARES], hi[SHARES]; /* squared errors of what lies beyond each candidate */
    double n, active;
} record;

static record record_of(mlc_range range) {
    return (record){.range = range, .pivot = fmin(fmax(0, range.lo), range.hi)};
}

static double end_at(const record *r, double end, int share) {
    return r->pivot + (end - r->pivot) * shares[share];
}

static void add(record *r, double x) {
    r->n++;
    r->active += x != 0;
    for (int s = 0; s < SHARES; s++) {
        double off = x < r->pivot ? end_at(r, r->range.lo, s) - x : x - end_at(r, r->range.hi, s);
        if (off > 0)
            *(x < r->pivot ? &r->lo[s] : &r->hi[s]) += off * off;
    }
}

static mlc_end best(const record *r, int bits) {
    mlc_end least = {.range = r->range};
    double levels = (double)((1 << bits) - 1), n = fmax(r->n, 1), smallest = INFINITY;
    for (int i = 0; i < SHARES; i++)
        for (int j = 0; j < SHARES; j++) {
            mlc_range own = {.lo = end_at(r, r->range.lo, i), .hi = end_at(r, r->range.hi, j)};
            double step = (own.hi - own.lo) / levels, cut = (r->lo[i] + r->hi[j]) / n,
                   noise = cut + step * step / 12 * r->active / n;
            if (noise < smallest) {
                smallest = noise;
                least = (mlc_end){.range = own, .cut = cut};
            }
        }
    return least;
}

static const mlc_end *ends_of(mlc_arena *arena, const record *r) {
    mlc_end *ends = MLC_NEW_ARRAY(arena, MLC_MOST_INPUT_BITS + 1, mlc_end);
    for (int bits = 1; bits <= MLC_MOST_INPUT_BITS; bits++)
        ends[bits] = best(r, bits);
    return ends;
}

/* Enough to place the ends of a grid. */
enum { SAMPLES = 1024 };

static void record_samples(const mlc_quant *q, const mlc_calibration *data, record **element,
                           record *tensor) {
    const mlc_graph *g = q->from;
    int samples = data->n_samples < SAMPLES ? data->n_samples : SAMPLES;
    for (int s = 0; s < samples; s++) {
        mlc_arena_mark mark = mlc_arena_save(q->arena);
        const mlc_tensor *const *inputs = data->inputs[(int64_t)s * data->n_samples / samples];
        const mlc_tensor **value = mlc_eval_real(g, inputs, q->arena);
        for (int i = 0; i < g->n_values; i++)
            for (int64_t k = 0; element[i] && k < mlc_q_elements(g->values[i]); k++) {
                double x = mlc_tensor_real(value[i], k);
                if (!isfinite(x))
                    continue;
                add(&element[i][k], x);
                add(&tensor[i], x);
            }
        mlc_arena_restore(q->arena, mark);
    }
}

void mlc_q_choose_ends(mlc_quant *q, const mlc_calibration *data) {
    mlc_graph *g = q->from;
    record **element = MLC_NEW_ARRAY(q->arena, g->n_values + 1, record *);
    record *tensor = MLC_NEW_ARRAY(q->arena, g->n_values + 1, record);
    int n_dots;
    const mlc_dot *dots = mlc_q_dots(g, q->arena, MLC_MOST_BITS, &n_dots);
    for (int d = 0; d < n_dots; d++) {
        const mlc_value *v = mlc_q_dot_input(dots[d].node);
        if (element[v->id])
            continue;
        element[v->id] = MLC_NEW_ARRAY(q->arena, mlc_q_elements(v) + 1, record);
        for (int64_t k = 0; k < mlc_q_elements(v); k++)
            element[v->id][k] = record_of(q->seen[v->id][k].all);
        tensor[v->id] = record_of(q->seen_all[v->id].all);
    }
    record_samples(q, data, element, tensor);
    for (int i = 0; i < g->n_values; i++) {
        if (!element[i])
            continue;
        for (int64_t k = 0; k < mlc_q_elements(g->values[i]); k++)
            q->seen[i][k].ends = ends_of(q->arena, &element[i][k]);
        q->seen_all[i].ends = ends_of(q->arena, &tensor[i]);
    }
}

mlc_range mlc_q_covered(const mlc_seen *seen, int bits) {
    if (!(seen->all.lo <= seen->all.hi))
        return seen->all;
    if (bits <= MLC_MOST_INPUT_BITS)
        return seen->ends ? seen->ends[bits].range : seen->all;
    mlc_range r = seen->all;
    double more = (r.hi - r.lo) / 2; /* at 16 bits there is room for twice what was seen */
    return (mlc_range){.lo = r.lo >= 0 ? fmax(0, r.lo - more) : r.lo - more,
                       .hi = r.hi <= 0 ? fmin(0, r.hi + more) : r.hi + more};
}
