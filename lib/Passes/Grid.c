/*
 * Inputs of narrow dot products: integers of a grid of 2^bits levels over the
 * calibrated range, saturated at its ends.
 */
#include "Narrow.h"

#include <float.h>
#include <math.h>
#include <string.h>

/* A range may grow by this factor where that saves limits: it costs a tenth of a bit. */
#define MOST_WIDENED (1 + 1.0 / 16)

/* A range too small to divide by gets some grid: its only number is the offset, or 0. */
static double step_of(double reach, int64_t levels) {
    return reach > DBL_MIN * 0x1p60 ? reach / (double)levels : 1;
}

/* A grid that real 0 is on, so that sums of such numbers need no offset of their own. */
static mlc_grid anchored_grid(mlc_range r, int64_t levels, bool offsets) {
    double lo = r.lo <= r.hi ? fmin(r.lo, 0) : 0, hi = r.lo <= r.hi ? fmax(r.hi, 0) : 0;
    if (!offsets && lo < 0)
        return (mlc_grid){.step = step_of(fmax(-lo, hi), levels / 2), .lo = -(levels / 2), .hi = levels / 2};
    double step = step_of(hi - lo, levels);
    return (mlc_grid){.step = step, .offset = rint(lo / step) * step, .lo = 0, .hi = levels};
}

static mlc_grid grid_of(mlc_range r, int64_t levels) {
    if (!(r.lo <= r.hi))
        r.lo = r.hi = 0;
    return (mlc_grid){.step = step_of(r.hi - r.lo, levels), .offset = r.lo, .lo = 0, .hi = levels};
}

static mlc_range join(mlc_range a, mlc_range b) {
    return (mlc_range){.lo = fmin(a.lo, b.lo), .hi = fmax(a.hi, b.hi)};
}

/* Observed, or else proven. */
static mlc_range range_of(const mlc_quant *q, const mlc_value *v, int64_t i, int bits) {
    const mlc_seen *seen = mlc_q_seen(q, v);
    if (seen && seen[i].all.lo <= seen[i].all.hi)
        return mlc_q_covered(&seen[i], bits);
    return (mlc_range){.lo = mlc_q_real_lo(v, i), .hi = mlc_q_real_hi(v, i)};
}

static const mlc_range nothing = {.lo = INFINITY, .hi = -INFINITY};

static bool convolves(const mlc_node *node) {
    return strcmp(node->op->name, "Conv") == 0;
}

/* Nodes behind which a value still lies on the grid that it was put on. */
bool mlc_q_keeps_grid(const mlc_node *node) {
    static const char *const ops[] = {"Relu",     "Clip",    "MaxPool", "Reshape",   "Flatten",
                                      "Identity", "Squeeze", "Dropout", "Unsqueeze", "Transpose"};
    for (size_t i = 0; i < sizeof ops / sizeof ops[0]; i++)
        if (node->op->domain[0] == '\0' && strcmp(node->op->name, ops[i]) == 0)
            return true;
    return false;
}

static mlc_range common_range(const mlc_quant *q, const mlc_dot *dot) {
    bool planned = dot->class && dot->shared;
    return planned ? dot->class[0].range
                   : mlc_q_covered(&q->seen_all[mlc_q_dot_input(dot->node)->id], dot->bits);
}

/* The grid of all narrow products that read v; false where anything else reads it too. */
bool mlc_q_readers_grid(const mlc_quant *q, const mlc_value *v, mlc_grid *found) {
    bool any = false;
    for (int k = 0; k < q->from->n_outputs; k++)
        if (q->from->outputs[k] == v)
            return false;
    MLC_FOR_NODES (q->from, node) {
        bool reads = false;
        for (int k = 0; k < node->n_in; k++)
            reads = reads || node->in[k] == v;
        if (!reads)
            continue;
        const mlc_dot *dot = mlc_q_dot_of(q, node);
        mlc_grid own;
        if (dot && dot->bits < 32)
            own = anchored_grid(common_range(q, dot), dot->levels, !convolves(node));
        else if (!mlc_q_keeps_grid(node) || !mlc_q_readers_grid(q, node->out[0], &own))
            return false;
        if (any && own.step != found->step)
            return false;
        *found = own;
        any = true;
    }
    return any;
}

bool mlc_q_only_on_grids(const mlc_quant *q, const mlc_value *v) {
    if (!q->seen || mlc_graph_is_output(q->from, v))
        return false;
    bool any = false;
    MLC_FOR_NODES (q->from, node)
        for (int k = 0; k < node->n_in; k++) {
            if (node->in[k] != v)
                continue;
            const mlc_dot *dot = mlc_q_dot_of(q, node);
            bool on_grid = dot ? dot->bits <= MLC_MOST_INPUT_BITS && mlc_q_dot_input(node) == v
                               : mlc_q_keeps_grid(node) && mlc_q_only_on_grids(q, node->out[0]);
            if (!on_grid)
                return false;
            any = true;
        }
    return any;
}

static bool all_fit(const mlc_value *x, int64_t lo, int64_t hi) {
    for (int64_t i = 0; i < mlc_q_elements(x); i++)
        if (x->lo[i] < lo || x->hi[i] > hi)
            return false;
    return true;
}

mlc_value *mlc_q_scaled(mlc_quant *q, mlc_value *x, const int64_t *multiplier, const int64_t *addend,
                        int shift, const mlc_shape *shape) {
    mlc_value *in[3] = {x, mlc_q_constant(q, multiplier, shape), mlc_q_constant(q, addend, shape)};
    mlc_attr attr = {.name = "shift", .kind = MLC_ATTR_INT, .i = shift};
    return mlc_q_node(q, "Rescale", in, 3, NULL, &attr, 1);
}

/* x is on the grid already: what remains is to saturate, and to move the grid's lower end to 0. */
static mlc_value *onto_same(mlc_quant *q, mlc_value *x, const mlc_grid *g) {
    int64_t zero = (int64_t)rint(g->offset / g->step);
    x = mlc_q_saturate_to(q, x, g->lo + zero, g->hi + zero);
    if (!x || zero == 0)
        return x;
    mlc_shape scalar = {0};
    int64_t one = 1, addend = -zero;
    mlc_value *r = mlc_q_scaled(q, x, &one, &addend, 0, &scalar);
    if (!r)
        return NULL;
    r->scale = x->scale;
    r->err = x->err;
    return r;
}

/* max(lo, min(hi, x)) with the ends of each element's grid. */
static mlc_value *limited(mlc_quant *q, mlc_value *x, const int64_t *class, int64_t n_classes,
                          const mlc_grid *g) {
    int64_t n = mlc_q_elements(x), *lo = MLC_NEW_ARRAY(q->arena, n + 1, int64_t),
            *hi = MLC_NEW_ARRAY(q->arena, n + 1, int64_t);
    bool same = true, inside = true;
    for (int64_t c = 1; c < n_classes; c++)
        same = same && g[c].lo == g[0].lo && g[c].hi == g[0].hi;
    for (int64_t i = 0; i < n; i++)
        inside = inside && x->lo[i] >= g[class[i]].lo && x->hi[i] <= g[class[i]].hi;
    if (inside)
        return x;
    if (same && n_classes > 0)
        return mlc_q_saturate_to(q, x, g[0].lo, g[0].hi);
    for (int64_t i = 0; i < n; i++) {
        lo[i] = g[class[i]].lo;
        hi[i] = g[class[i]].hi;
    }
    mlc_value *r = mlc_q_binary(q, "Max", x, mlc_q_constant(q, lo, &x->shape));
    r = r ? mlc_q_binary(q, "Min", r, mlc_q_constant(q, hi, &x->shape)) : NULL;
    if (!r)
        return NULL;
    r->scale = x->scale;
    r->err = x->err;
    return mlc_q_limited(q, x, r);
}

/* Where integers are so small a part of a step, the addend is a whole number of them: it can be added in
 * front of the product, which takes fewer instructions. */
static bool is_fine(const mlc_value *x, const mlc_grid *g) {
    return x->scale < g->step * 0x1p-8;
}

/* (x * multiplier + addend) >> shift for each class of elements, as precise as 62 bits allow. */
static mlc_value *onto_own(mlc_quant *q, mlc_value *x, const int64_t *class, int64_t n_classes,
                           const mlc_grid *g) {
    int64_t n = mlc_q_elements(x), *multiplier = MLC_NEW_ARRAY(q->arena, n + 1, int64_t),
            *addend = MLC_NEW_ARRAY(q->arena, n + 1, int64_t);
    double most = 0, reach = 0; /* largest ratio; largest |x * ratio - offset/step| */
    for (int64_t i = 0; i < n; i++) {
        const mlc_grid *own = &g[class[i]];
        double ratio = x->scale / own->step;
        double magnitude = fmax(fabs((double)x->lo[i]), fabs((double)x->hi[i]));
        most = fmax(most, ratio);
        reach = fmax(reach, magnitude * ratio + fabs(own->offset / own->step));
    }
    int shift = 0;
    while (shift < MLC_ACCUMULATOR_BITS && ldexp(most, shift + 1) < ldexp(1, MLC_WEIGHT_BITS) &&
           ldexp(reach + 1, shift + 1) < ldexp(1, MLC_ACCUMULATOR_BITS))
        shift++;
    for (int64_t i = 0; i < n; i++) {
        const mlc_grid *own = &g[class[i]];
        multiplier[i] = (int64_t)rint(ldexp(x->scale / own->step, shift));
        addend[i] = (int64_t)rint(ldexp(0.5 - own->offset / own->step, shift));
        if (is_fine(x, own) && multiplier[i] > 0)
            addend[i] = (int64_t)rint((double)addend[i] / (double)multiplier[i]) * multiplier[i];
    }
    mlc_value *r = mlc_q_scaled(q, x, multiplier, addend, shift, &x->shape);
    if (!r)
        return NULL;
    r->scale = 1;
    double *err = mlc_q_err_array(q, r);
    for (int64_t i = 0; i < n; i++) {
        const mlc_grid *own = &g[class[i]];
        double magnitude = fmax(fabs((double)x->lo[i]), fabs((double)x->hi[i]));
        double off = fabs(ldexp((double)multiplier[i], -shift) - x->scale / own->step);
        err[i] = mlc_q_err(x, i) / own->step + magnitude * off + 0.5 + ldexp(1, -shift) +
                 (is_fine(x, own) ? x->scale / own->step : 0);
    }
    return limited(q, r, class, n_classes, g);
}

/* The mean of what was seen, else the middle of the proven interval. */
static double *centres_of(mlc_quant *q, const mlc_value *real, const mlc_value *x, const int64_t *class,
                          int64_t n_classes, const mlc_grid *grids) {
    double *centre = MLC_NEW_ARRAY(q->arena, n_classes + 1, double);
    int64_t *count = MLC_NEW_ARRAY(q->arena, n_classes + 1, int64_t), n = mlc_q_elements(x);
    const mlc_seen *seen = mlc_q_seen(q, real);
    for (int64_t i = 0; i < n; i++)
        count[class[i]]++;
    for (int64_t i = 0; i < n; i++) {
        const mlc_grid *g = &grids[class[i]];
        double own = ((double)x->lo[i] + (double)x->hi[i]) / 2;
        if (seen && seen[i].all.lo <= seen[i].all.hi)
            own = fmin(fmax((seen[i].mean - g->offset) / g->step, (double)x->lo[i]), (double)x->hi[i]);
        centre[class[i]] += own / (double)count[class[i]];
    }
    return centre;
}

/* The grids that the plan has, or else such as hold the elements of each class. */
static mlc_class *classes_of(mlc_quant *q, const mlc_value *x, const int64_t *class, int64_t n_classes,
                             const mlc_dot *dot) {
    mlc_class *all = MLC_NEW_ARRAY(q->arena, n_classes + 1, mlc_class);
    bool planned = dot->class && !dot->shared;
    for (int64_t c = 0; c < n_classes; c++)
        all[c] = planned ? dot->class[c] : (mlc_class){.range = nothing, .levels = dot->levels};
    for (int64_t i = 0; i < mlc_q_elements(x) && !planned; i++)
        all[class[i]].range = join(all[class[i]].range, range_of(q, x, i, dot->bits));
    return all;
}

/* Ranges somewhat wider than what was seen, where nothing can be outside then: limits
 * take more than half of the instructions that put an element on its grid. */
static void widen(mlc_quant *q, const mlc_value *x, const int64_t *class, int64_t n_classes,
                  mlc_class *each) {
    mlc_range *all = MLC_NEW_ARRAY(q->arena, n_classes + 1, mlc_range);
    for (int64_t c = 0; c < n_classes; c++)
        all[c] = each[c].range;
    for (int64_t i = 0; i < mlc_q_elements(x); i++)
        all[class[i]] =
            join(all[class[i]], (mlc_range){.lo = mlc_q_real_lo(x, i), .hi = mlc_q_real_hi(x, i)});
    for (int64_t c = 0; c < n_classes; c++)
        if (all[c].hi - all[c].lo <= (each[c].range.hi - each[c].range.lo) * MOST_WIDENED)
            each[c].range = all[c];
}

static bool choose_grids(mlc_quant *q, mlc_value *x, const int64_t *class, int64_t n_classes,
                         const mlc_dot *dot, bool offsets, mlc_operand *out) {
    int64_t levels = dot->levels, half = (levels + 1) / 2;
    mlc_range all = nothing;
    mlc_class *each = classes_of(q, x, class, n_classes, dot);
    for (int64_t c = 0; c < n_classes; c++)
        all = join(all, each[c].range);
    if (q->seen)
        all = common_range(q, dot);
    widen(q, x, class, n_classes, each);
    out->grids = MLC_NEW_ARRAY(q->arena, n_classes + 1, mlc_grid);
    mlc_grid common = anchored_grid(all, levels, offsets);
    bool fits = all_fit(x, 0, levels) || all_fit(x, -half, half - 1), same = x->scale == common.step;
    if (fits || same) {
        if (fits)
            common = (mlc_grid){.step = x->scale};
        for (int64_t c = 0; c < n_classes; c++)
            out->grids[c] = common;
        out->x = fits ? x : onto_same(q, x, &common);
        return out->x != NULL;
    }
    for (int64_t c = 0; c < n_classes; c++) {
        mlc_range r = each[c].range;
        if (!offsets && common.lo < 0) /* one sign for all */
            r.lo = fmin(r.lo, -fmax(r.hi, DBL_MIN));
        out->grids[c] = offsets ? grid_of(r, each[c].levels) : anchored_grid(r, each[c].levels, false);
        /* Integers that fit need no coarser step. */
        double lo = floor(r.lo / x->scale), hi = ceil(r.hi / x->scale);
        if (offsets && hi - lo <= (double)each[c].levels)
            out->grids[c] = (mlc_grid){
                .step = x->scale, .offset = lo * x->scale, .lo = 0, .hi = (int64_t)fmax(hi - lo, 1)};
    }
    out->x = onto_own(q, x, class, n_classes, out->grids);
    return out->x != NULL;
}

bool mlc_q_put_on_grid(mlc_quant *q, mlc_value *x, const int64_t *class, int64_t n_classes,
                       const mlc_dot *dot, bool offsets, mlc_operand *out) {
    if (!choose_grids(q, x, class, n_classes, dot, offsets, out))
        return false;
    out->centres = centres_of(q, x, out->x, class, n_classes, out->grids);
    out->spans = MLC_NEW_ARRAY(q->arena, n_classes + 1, double);
    for (int64_t i = 0; i < mlc_q_elements(out->x); i++)
        out->spans[class[i]] = fmax(out->spans[class[i]], (double)out->x->hi[i] - (double)out->x->lo[i]);
    return true;
}
