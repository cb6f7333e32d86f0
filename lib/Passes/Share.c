/*
 * The bits of a lane, shared out between the inputs of a dot product and its weights.
 *
 * With inputs cut off to ranges R and rounded to steps D, and an accumulator that has
 * `room` for reach = sum |w| R, the weights of a channel have steps reach / room / D.
 * The mean square error of the result is then
 *
 *     sum w^2 (cut(R) + D^2 / 12)  +  (reach / room)^2 / 12 * sum var(x) / D^2
 *
 * so finer inputs make coarser weights, and inputs cut off make all weights finer.
 * Errors of several channels are added up by what they matter to what reads them.
 */
#include "Narrow.h"

#include <math.h>
#include <string.h>

/* What comes out of a product goes further beyond what was seen than inputs do. */
#define HEADROOM 1.3

/* Weights are rounded such that their errors make up for each other (Rounding.c). */
#define ROUNDED 0.5

typedef struct share {
    int64_t channels, classes;
    int finest; /* bits of the inputs at most: those of images, which are many, fit a byte */
    /* Of each class: what was seen, with each of mlc_seen.ends. */
    mlc_end (*ends)[MLC_MOST_INPUT_BITS + 1];
    double *variance, *active;
    /* Of each class and channel: sums of |w|; of each class: of w^2, relative. */
    double *w, *square;
    double *reach;      /* of each channel */
    const double *norm; /* of each channel: mlc_dot.weight */
    double *levels;     /* of each channel: 2^room, for each chunk */
    int *clip;          /* of each class: which of the ends */
    double least;       /* error that share_levels came to */
} share;

static double range_of(const share *s, int64_t class, int clip) {
    const mlc_range *r = &s->ends[class][clip].range;
    return r->hi > r->lo ? r->hi - r->lo : 0;
}

static void see_classes(const mlc_quant *q, const mlc_dot *dot, const mlc_dot_weights *d, bool common,
                        share *s) {
    const mlc_value *x = mlc_q_dot_input(dot->node);
    int64_t n = mlc_q_elements(x), each = n / d->classes;
    double headroom = dot->shared ? HEADROOM : 1;
    for (int64_t c = 0; c < d->classes; c++)
        for (int b = 0; b <= MLC_MOST_INPUT_BITS; b++)
            s->ends[c][b].range = (mlc_range){.lo = INFINITY, .hi = -INFINITY};
    for (int64_t i = 0; i < n; i++) {
        int64_t c = d->image ? i / each : i % d->classes;
        const mlc_seen *own = &q->seen[x->id][i], *ends = common ? &q->seen_all[x->id] : own;
        s->variance[c] += own->variance / (double)each;
        s->active[c] += own->active / (double)each;
        for (int b = 1; ends->ends && b <= MLC_MOST_INPUT_BITS; b++) {
            mlc_end *end = &s->ends[c][b];
            end->range.lo = fmin(end->range.lo, ends->ends[b].range.lo * headroom);
            end->range.hi = fmax(end->range.hi, ends->ends[b].range.hi * headroom);
            end->cut += ends->ends[b].cut / (double)each;
        }
    }
}

static void set_clip(share *s, int clip) {
    memset(s->reach, 0, (size_t)s->channels * sizeof *s->reach);
    for (int64_t j = 0; j < s->classes; j++) {
        double range = range_of(s, j, clip);
        s->clip[j] = clip;
        for (int64_t c = 0; c < s->channels; c++)
            s->reach[c] += s->w[j * s->channels + c] * range;
    }
}

static void see_weights(const mlc_dot_weights *d, share *s) {
    for (int64_t c = 0; c < d->channels; c++)
        for (int64_t k = 0; k < d->taps; k++)
            s->w[mlc_dot_class(d, c, k) * d->channels + c] += fabs(mlc_dot_weight(d, c, k));
    set_clip(s, MLC_MOST_INPUT_BITS);
    for (int64_t c = 0; c < d->channels; c++) {
        for (int64_t k = 0; k < d->taps; k++) {
            double w = mlc_dot_weight(d, c, k);
            s->square[mlc_dot_class(d, c, k)] += w * w * s->norm[c];
        }
    }
}

/* Sum of the squares of the steps, as a polynomial in what the range of class j grows by. */
typedef struct steps {
    double now, slope, square;
} steps;

static steps steps_of(const share *s, int64_t j) {
    steps p = {0};
    for (int64_t c = 0; c < s->channels; c++) {
        double scale = s->norm[c] / (s->levels[c] * s->levels[c]) * ROUNDED;
        double reach = s->reach[c], w = s->w[j * s->channels + c];
        p.now += scale * reach * reach;
        p.slope += 2 * scale * reach * w;
        p.square += scale * w * w;
    }
    return p;
}

static double steps_with(const steps *p, double more) {
    return p->now + more * (p->slope + more * p->square);
}

/* What ends and step of one class add to the error. */
static double loss(const share *s, int64_t j, int clip, double step) {
    return s->square[j] * (s->ends[j][clip].cut + s->active[j] * step * step / 12);
}

/* What weights with steps of 1 for the class would add to the error. */
static double varied(const share *s, int64_t j, double step) {
    return step > 0 ? s->variance[j] / (step * step) / 12 : 0;
}

/* The step of one class with so many levels; 0: of the step that leaves the least error. */
static double step_of(const share *s, int64_t j, int clip, int64_t levels, double weights) {
    double range = range_of(s, j, clip), finest = range / (ldexp(1, s->finest) - 1);
    if (levels)
        return range / (double)levels;
    double own = s->square[j] * s->active[j];
    double step = own > 0 ? sqrt(sqrt(weights * s->variance[j] / own)) : range;
    return fmin(fmax(step, finest), range);
}

/* Ends of class j, given all others. `others`: what these say of the weights. */
static void share_one(share *s, int64_t j, int64_t levels, double others) {
    double least = INFINITY, now = range_of(s, j, s->clip[j]);
    steps all = steps_of(s, j);
    int best = s->clip[j];
    for (int clip = MLC_LEAST_BITS; clip <= MLC_MOST_INPUT_BITS; clip++) {
        double weights = steps_with(&all, range_of(s, j, clip) - now),
               step = step_of(s, j, clip, levels, weights);
        double sum = loss(s, j, clip, step) + weights * (others + varied(s, j, step));
        if (sum < least) {
            least = sum;
            best = clip;
        }
    }
    double more = range_of(s, j, best) - now;
    for (int64_t c = 0; c < s->channels; c++)
        s->reach[c] += s->w[j * s->channels + c] * more;
    s->clip[j] = best;
}

/* Ends for each class, as `levels` of step_of has it. */
static void share_each(share *s, int64_t levels) {
    enum { SWEEPS = 3 };
    for (int sweep = 0; sweep < SWEEPS; sweep++) {
        double weights = steps_of(s, 0).now, all = 0;
        for (int64_t j = 0; j < s->classes; j++)
            all += varied(s, j, step_of(s, j, s->clip[j], levels, weights));
        for (int64_t j = 0; j < s->classes; j++) {
            double own = varied(s, j, step_of(s, j, s->clip[j], levels, weights));
            share_one(s, j, levels, fmax(0, all - own));
        }
    }
}

static double total(const share *s, int64_t levels) {
    double weights = steps_of(s, 0).now, sum = 0;
    for (int64_t j = 0; j < s->classes; j++) {
        double step = step_of(s, j, s->clip[j], levels, weights);
        sum += loss(s, j, s->clip[j], step) + weights * varied(s, j, step);
    }
    return sum;
}

static void take(const share *s, int64_t levels, mlc_class *class) {
    double weights = steps_of(s, 0).now;
    for (int64_t j = 0; j < s->classes; j++) {
        double range = range_of(s, j, s->clip[j]), step = step_of(s, j, s->clip[j], levels, weights);
        class[j].range = s->ends[j][s->clip[j]].range;
        class[j].levels = levels ? levels : range > 0 ? (int64_t)rint(range / step) : 1;
    }
}

/* So many levels for all; `common`: and the same ends. */
static void share_levels(share *s, bool common, mlc_dot *dot) {
    static const int64_t candidates[] = {3, 5, 7, 11, 15, 22, 31, 45, 63, 90, 127, 181, 255};
    s->least = INFINITY;
    for (size_t i = 0; i < sizeof candidates / sizeof candidates[0]; i++)
        for (int clip = common ? MLC_LEAST_BITS : MLC_MOST_BITS;
             clip <= (common ? MLC_MOST_INPUT_BITS : MLC_MOST_BITS); clip++) {
            set_clip(s, clip);
            if (!common)
                share_each(s, candidates[i]);
            double sum = total(s, candidates[i]);
            if (sum < s->least) {
                s->least = sum;
                dot->levels = candidates[i];
                take(s, dot->levels, dot->class);
            }
        }
}

/* What was seen of the inputs of `dot`, and its weights; nothing is cut off yet. */
static share see(const mlc_quant *q, const mlc_dot *dot, const mlc_dot_weights *d, bool common) {
    mlc_arena *a = q->arena;
    share s = {.channels = d->channels,
               .classes = d->classes,
               .ends = mlc_arena_array(a, (size_t)d->classes + 1, sizeof *s.ends),
               .variance = MLC_NEW_ARRAY(a, d->classes + 1, double),
               .active = MLC_NEW_ARRAY(a, d->classes + 1, double),
               .w = MLC_NEW_ARRAY(a, d->channels * d->classes + 1, double),
               .square = MLC_NEW_ARRAY(a, d->classes + 1, double),
               .finest = d->image ? MLC_MOST_BITS : MLC_MOST_INPUT_BITS,
               .reach = MLC_NEW_ARRAY(a, d->channels + 1, double),
               .norm = dot->weight,
               .levels = MLC_NEW_ARRAY(a, d->channels + 1, double),
               .clip = MLC_NEW_ARRAY(a, d->classes + 1, int)};
    for (int64_t c = 0; c < d->channels; c++)
        s.levels[c] = ldexp(dot->chunks, dot->room[c]);
    see_classes(q, dot, d, common, &s);
    see_weights(d, &s);
    return s;
}

static bool has_common_ends(const mlc_quant *q, const mlc_dot *dot) {
    return dot->shared && !mlc_q_is_equalized(q, dot->node);
}

double mlc_q_share(const mlc_quant *q, mlc_dot *dot, const mlc_dot_weights *d, int clip) {
    bool common = has_common_ends(q, dot);
    share s = see(q, dot, d, common);
    dot->class = MLC_NEW_ARRAY(q->arena, d->classes + 1, mlc_class);
    set_clip(&s, dot->bits == MLC_TERNARY ? clip : MLC_MOST_BITS);
    if (dot->bits == MLC_TERNARY) {
        take(&s, dot->levels, dot->class);
        return 0;
    }
    if (dot->shared) {
        share_levels(&s, common, dot);
        return s.least;
    }
    share_each(&s, 0);
    take(&s, 0, dot->class);
    return total(&s, 0);
}

double mlc_q_plain_error(const mlc_quant *q, const mlc_dot *dot, const mlc_dot_weights *d) {
    share s = see(q, dot, d, has_common_ends(q, dot));
    double half = ldexp(1, dot->bits - 1) - 1, largest = 0, sum = 0, scaled = 0, norm = 0;
    for (int64_t c = 0; c < d->channels; c++) {
        norm += s.norm[c];
        for (int64_t k = 0; k < d->taps; k++) {
            double range = range_of(&s, mlc_dot_class(d, c, k), MLC_MOST_INPUT_BITS);
            largest = fmax(largest, fabs(mlc_dot_weight(d, c, k)) * range);
        }
    }
    for (int64_t j = 0; j < s.classes; j++) {
        double range = range_of(&s, j, MLC_MOST_INPUT_BITS);
        bool wasted = dot->shared && !(s.ends[j][MLC_MOST_INPUT_BITS].range.lo < 0);
        sum += loss(&s, j, MLC_MOST_INPUT_BITS, range / (wasted ? half : 2 * half));
        scaled += range > 0 ? s.variance[j] / (range * range) : 0;
    }
    double step = largest / half;
    return sum + norm * step * step / 12 * scaled * (double)d->kernel / (double)d->groups;
}
