/*
 * Builders of quantize.h: dot products with inputs and weights of 8 or 16 bits.
 *
 * The inputs go onto a grid of 2^bits levels over the calibrated range and
 * saturate at its ends; the weights of each output get the finest step that holds
 * the largest of them. Where the result is only read by the next such product,
 * perhaps behind a Relu, the weights' steps are chosen so that a shift leaves it
 * on that product's grid; otherwise a multiplication and a shift bring all outputs
 * to one scale.
 */
#include "Precision.h"
#include "Quant.h"

#include <float.h>
#include <math.h>
#include <string.h>

/* real = q * step + offset, for 0 <= q <= levels, or for |q| <= levels/2 where offsets are not allowed. */
typedef struct grid {
    double step, offset;
    int64_t lo, hi;
} grid;

/* The range that a grid covers: at 16 bits there is room for twice what was seen. */
static mlc_range covered(const mlc_seen *seen, int bits) {
    if (bits == 8 || !(seen->all.lo <= seen->all.hi))
        return seen->ends;
    mlc_range r = seen->all;
    double more = (r.hi - r.lo) / 2;
    return (mlc_range){.lo = r.lo >= 0 ? fmax(0, r.lo - more) : r.lo - more,
                       .hi = r.hi <= 0 ? fmin(0, r.hi + more) : r.hi + more};
}

/* A range too small to divide by gets some grid: its only number is the offset, or 0. */
static double step_of(double reach, int64_t levels) {
    return reach > DBL_MIN * 0x1p60 ? reach / (double)levels : 1;
}

/* A grid that real 0 is on, so that sums of such numbers need no offset of their own. */
static grid anchored_grid(mlc_range r, int bits, bool offsets) {
    int64_t levels = ((int64_t)1 << bits) - 1;
    double lo = r.lo <= r.hi ? fmin(r.lo, 0) : 0, hi = r.lo <= r.hi ? fmax(r.hi, 0) : 0;
    if (!offsets && lo < 0)
        return (grid){.step = step_of(fmax(-lo, hi), levels / 2), .lo = -(levels / 2), .hi = levels / 2};
    double step = step_of(hi - lo, levels);
    return (grid){.step = step, .offset = rint(lo / step) * step, .lo = 0, .hi = levels};
}

static grid grid_of(mlc_range r, int bits) {
    int64_t levels = ((int64_t)1 << bits) - 1;
    if (!(r.lo <= r.hi))
        r.lo = r.hi = 0;
    return (grid){.step = step_of(r.hi - r.lo, levels), .offset = r.lo, .lo = 0, .hi = levels};
}

static mlc_range join(mlc_range a, mlc_range b) {
    return (mlc_range){.lo = fmin(a.lo, b.lo), .hi = fmax(a.hi, b.hi)};
}

/* Observed, or else proven. */
static mlc_range range_of(const mlc_quant *q, const mlc_value *v, int64_t i) {
    const mlc_seen *seen = mlc_q_seen(q, v);
    if (seen && seen[i].all.lo <= seen[i].all.hi)
        return covered(&seen[i], q->dot_bits);
    return (mlc_range){.lo = mlc_q_real_lo(v, i), .hi = mlc_q_real_hi(v, i)};
}

static const mlc_range nothing = {.lo = INFINITY, .hi = -INFINITY};

static bool convolves(const mlc_node *node) {
    return strcmp(node->op->name, "Conv") == 0;
}

/* Nodes behind which a value still lies on the grid that it was put on. */
static bool keeps_grid(const mlc_node *node) {
    static const char *const ops[] = {"Relu",     "Clip",    "MaxPool", "Reshape",   "Flatten",
                                      "Identity", "Squeeze", "Dropout", "Unsqueeze", "Transpose"};
    for (size_t i = 0; i < sizeof ops / sizeof ops[0]; i++)
        if (node->op->domain[0] == '\0' && strcmp(node->op->name, ops[i]) == 0)
            return true;
    return false;
}

/* The grid of all narrow products that read v; false where anything else reads it too. */
static bool readers_grid(const mlc_quant *q, const mlc_value *v, grid *found) {
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
        int bits = mlc_q_bits_of(q, node);
        grid own;
        if (bits < 32)
            own = anchored_grid(covered(&q->seen_all[v->id], bits), bits, !convolves(node));
        else if (!keeps_grid(node) || !readers_grid(q, node->out[0], &own))
            return false;
        if (any && own.step != found->step)
            return false;
        *found = own;
        any = true;
    }
    return any;
}

/* An input on its grids: integers, and what they mean, one grid for each class of elements. */
typedef struct operand {
    mlc_value *x;
    grid *grids;
    double *centres; /* of each class: where its integers usually are */
} operand;

static bool all_fit(const mlc_value *x, int64_t lo, int64_t hi) {
    for (int64_t i = 0; i < mlc_q_elements(x); i++)
        if (x->lo[i] < lo || x->hi[i] > hi)
            return false;
    return true;
}

static mlc_value *scaled(mlc_quant *q, mlc_value *x, const int64_t *multiplier, const int64_t *addend,
                         int shift, const mlc_shape *shape) {
    mlc_value *in[3] = {x, mlc_q_constant(q, multiplier, shape), mlc_q_constant(q, addend, shape)};
    mlc_attr attr = {.name = "shift", .kind = MLC_ATTR_INT, .i = shift};
    return mlc_q_node(q, "Rescale", in, 3, NULL, &attr, 1);
}

/* x is on the grid already: what remains is to saturate, and to move the grid's lower end to 0. */
static mlc_value *onto_same(mlc_quant *q, mlc_value *x, const grid *g) {
    int64_t zero = (int64_t)rint(g->offset / g->step);
    x = mlc_q_saturate_to(q, x, g->lo + zero, g->hi + zero);
    if (!x || zero == 0)
        return x;
    mlc_shape scalar = {0};
    int64_t one = 1, addend = -zero;
    mlc_value *r = scaled(q, x, &one, &addend, 0, &scalar);
    if (!r)
        return NULL;
    r->scale = x->scale;
    r->err = x->err;
    return r;
}

/* (x * multiplier + addend) >> shift for each class of elements, as precise as 62 bits allow. */
static mlc_value *onto_own(mlc_quant *q, mlc_value *x, const int64_t *class, int64_t n_classes,
                           const grid *g) {
    int64_t n = mlc_q_elements(x), *multiplier = MLC_NEW_ARRAY(q->arena, n + 1, int64_t),
            *addend = MLC_NEW_ARRAY(q->arena, n + 1, int64_t);
    double most = 0, reach = 0; /* largest ratio; largest |x * ratio - offset/step| */
    for (int64_t i = 0; i < n; i++) {
        const grid *own = &g[class[i]];
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
        const grid *own = &g[class[i]];
        multiplier[i] = (int64_t)rint(ldexp(x->scale / own->step, shift));
        addend[i] = (int64_t)rint(ldexp(0.5 - own->offset / own->step, shift));
    }
    mlc_value *r = scaled(q, x, multiplier, addend, shift, &x->shape);
    if (!r)
        return NULL;
    r->scale = 1;
    double *err = mlc_q_err_array(q, r);
    for (int64_t i = 0; i < n; i++) {
        const grid *own = &g[class[i]];
        double magnitude = fmax(fabs((double)x->lo[i]), fabs((double)x->hi[i]));
        double off = fabs(ldexp((double)multiplier[i], -shift) - x->scale / own->step);
        err[i] = mlc_q_err(x, i) / own->step + magnitude * off + 0.5 + ldexp(1, -shift);
    }
    int64_t lo = INT64_MAX, hi = 0;
    for (int64_t c = 0; c < n_classes; c++) {
        lo = g[c].lo < lo ? g[c].lo : lo;
        hi = g[c].hi > hi ? g[c].hi : hi;
    }
    return mlc_q_saturate_to(q, r, lo, hi);
}

/* The mean of what was seen, else the middle of the proven interval. */
static double *centres_of(mlc_quant *q, const mlc_value *real, const mlc_value *x, const int64_t *class,
                          int64_t n_classes, const grid *grids) {
    double *centre = MLC_NEW_ARRAY(q->arena, n_classes + 1, double);
    int64_t *count = MLC_NEW_ARRAY(q->arena, n_classes + 1, int64_t), n = mlc_q_elements(x);
    const mlc_seen *seen = mlc_q_seen(q, real);
    for (int64_t i = 0; i < n; i++)
        count[class[i]]++;
    for (int64_t i = 0; i < n; i++) {
        const grid *g = &grids[class[i]];
        double own = ((double)x->lo[i] + (double)x->hi[i]) / 2;
        if (seen && seen[i].all.lo <= seen[i].all.hi)
            own = fmin(fmax((seen[i].mean - g->offset) / g->step, (double)x->lo[i]), (double)x->hi[i]);
        centre[class[i]] += own / (double)count[class[i]];
    }
    return centre;
}

static bool choose_grids(mlc_quant *q, mlc_value *x, const int64_t *class, int64_t n_classes, bool offsets,
                         operand *out) {
    int bits = q->dot_bits;
    int64_t n = mlc_q_elements(x);
    mlc_range all = nothing, *each = MLC_NEW_ARRAY(q->arena, n_classes + 1, mlc_range);
    for (int64_t c = 0; c < n_classes; c++)
        each[c] = nothing;
    for (int64_t i = 0; i < n; i++) {
        mlc_range r = range_of(q, x, i);
        all = join(all, r);
        each[class[i]] = join(each[class[i]], r);
    }
    out->grids = MLC_NEW_ARRAY(q->arena, n_classes + 1, grid);
    if (q->seen)
        all = covered(&q->seen_all[mlc_q_dot_input(q->node)->id], bits);
    grid common = anchored_grid(all, bits, offsets);
    int64_t half = (int64_t)1 << (bits - 1);
    bool fits = all_fit(x, 0, 2 * half - 1) || all_fit(x, -half, half - 1), same = x->scale == common.step;
    if (fits || same) {
        if (fits)
            common = (grid){.step = x->scale};
        for (int64_t c = 0; c < n_classes; c++)
            out->grids[c] = common;
        out->x = fits ? x : onto_same(q, x, &common);
        return out->x != NULL;
    }
    for (int64_t c = 0; c < n_classes; c++) {
        mlc_range r = each[c];
        if (!offsets && common.lo < 0) /* one sign for all */
            r.lo = fmin(r.lo, -fmax(r.hi, DBL_MIN));
        out->grids[c] = offsets ? grid_of(r, bits) : anchored_grid(r, bits, false);
        /* Integers that fit need no coarser step. */
        double lo = floor(r.lo / x->scale), hi = ceil(r.hi / x->scale);
        if (offsets && hi - lo < (double)(2 * half))
            out->grids[c] = (grid){.step = x->scale, .offset = lo * x->scale, .lo = 0, .hi = 2 * half - 1};
    }
    out->x = onto_own(q, x, class, n_classes, out->grids);
    return out->x != NULL;
}

static bool put_on_grid(mlc_quant *q, mlc_value *x, const int64_t *class, int64_t n_classes, bool offsets,
                        operand *out) {
    if (!choose_grids(q, x, class, n_classes, offsets, out))
        return false;
    out->centres = centres_of(q, x, out->x, class, n_classes, out->grids);
    return true;
}

/* A product of `x` on its grids with weights in units of these. */
typedef struct product {
    const char *op;
    mlc_value *x;
    mlc_shape w_shape, shape;
    int64_t channels, taps; /* outputs with weights of their own; weights of each */
    double *w, *bias;       /* [channels,taps], [channels] */
    double *centre;         /* [channels,taps]: of the input that the weight is for */
    mlc_taps *all;          /* of each element of the result */
    const int64_t *channel; /* of each element of the result */
    const mlc_attr *attrs;
    int n_attrs;
} product;

static double largest_weight(const product *p, int64_t c) {
    double most = 0;
    for (int64_t k = 0; k < p->taps; k++)
        most = fmax(most, fabs(p->w[c * p->taps + k]));
    return most;
}

/* The step of each output's weights. With a target, a power of two finer than it. */
static double *weight_steps(mlc_quant *q, const product *p, const grid *target) {
    double *step = MLC_NEW_ARRAY(q->arena, p->channels + 1, double);
    double limit = (double)(((int64_t)1 << (q->dot_bits - 1)) - 1), most = 0;
    for (int64_t c = 0; c < p->channels; c++)
        most = fmax(most, largest_weight(p, c));
    for (int64_t c = 0; c < p->channels; c++) {
        double own = largest_weight(p, c);
        /* Outputs that hardly matter need no finer step than the accumulator can hold. */
        own = fmax(fmax(own, most * 0x1p-20), 1e-30);
        step[c] = own / limit;
        if (!target)
            continue;
        int exponent;
        double mantissa = frexp(step[c] / target->step, &exponent);
        /* What was made a power of two may have been rounded. */
        step[c] = ldexp(target->step, mantissa < 0.5 * (1 + 1e-9) ? exponent - 1 : exponent);
    }
    return step;
}

/* Real magnitude of the result, the largest of all elements. */
static double reach_of(const mlc_value *acc, const product *p, const double *step) {
    double reach = 0;
    for (int64_t o = 0; o < mlc_q_elements(acc); o++)
        reach = fmax(reach, fmax(fabs((double)acc->lo[o]), fabs((double)acc->hi[o])) * step[p->channel[o]]);
    return reach;
}

/* All outputs to one scale. */
static mlc_value *to_scale(mlc_quant *q, mlc_value *acc, const product *p, const double *step, double scale) {
    int64_t n = mlc_q_elements(acc), *multiplier = MLC_NEW_ARRAY(q->arena, n + 1, int64_t),
            *addend = MLC_NEW_ARRAY(q->arena, n + 1, int64_t);
    double most = 0;
    for (int64_t c = 0; c < p->channels; c++)
        most = fmax(most, step[c] / scale);
    int bits = mlc_q_bits((uint64_t)mlc_q_magnitude(acc)), exponent, room = MLC_ACCUMULATOR_BITS - 1 - bits;
    frexp(most, &exponent);
    int shift = (room < MLC_WEIGHT_BITS ? room : MLC_WEIGHT_BITS) - exponent;
    shift = shift < 0 ? 0 : shift > MLC_ACCUMULATOR_BITS - 2 ? MLC_ACCUMULATOR_BITS - 2 : shift;
    for (int64_t o = 0; o < n; o++) {
        multiplier[o] = (int64_t)rint(ldexp(step[p->channel[o]] / scale, shift));
        addend[o] = shift ? (int64_t)1 << (shift - 1) : 0;
    }
    mlc_value *r = scaled(q, acc, multiplier, addend, shift, &acc->shape);
    if (!r)
        return NULL;
    r->scale = scale;
    double *err = mlc_q_err_array(q, r);
    for (int64_t o = 0; o < n; o++) {
        double off = fabs(ldexp((double)multiplier[o], -shift) - step[p->channel[o]] / scale);
        err[o] = acc->err[o] + (fmax(fabs((double)acc->lo[o]), fabs((double)acc->hi[o])) * off + 0.5) * scale;
    }
    return r;
}

/* A weight as it is used, less what it should be. */
static double weight_error(const product *p, const double *step, int64_t i) {
    double s = step[i / p->taps];
    return rint(p->w[i] / s) * s - p->w[i];
}

/*
 * sum (w + e) q = sum w q + sum e (q - centre) + sum e centre. The last sum is known:
 * the bias takes it back, so that rounded weights do not shift the result.
 */
static void correct_bias(const product *p, const double *step) {
    for (int64_t i = 0; i < p->channels * p->taps; i++)
        p->bias[i / p->taps] -= weight_error(p, step, i) * p->centre[i];
}

static double *accumulator_error(mlc_quant *q, const product *p, const double *step, const int64_t *bias,
                                 int64_t n) {
    double *err = MLC_NEW_ARRAY(q->arena, n + 1, double);
    for (int64_t o = 0; o < n; o++) {
        const mlc_taps *t = &p->all[o];
        int64_t c = p->channel[o];
        err[o] = fabs((double)bias[c] * step[c] - p->bias[c]);
        for (int64_t k = 0; k < t->n; k++) {
            int64_t i = mlc_tap(t, k), at = c * p->taps + k;
            double off = fabs(weight_error(p, step, at)), centre = p->centre[at];
            if (i < 0) { /* padding: 0 */
                err[o] += off * fabs(centre);
                continue;
            }
            double reach = fmax(fabs((double)p->x->lo[i] - centre), fabs((double)p->x->hi[i] - centre));
            err[o] += off * reach + fabs(p->w[at]) * mlc_q_err(p->x, i) / p->x->scale;
        }
    }
    return err;
}

static mlc_value *multiply(mlc_quant *q, const product *p) {
    grid target;
    bool targeted = q->seen && q->node->n_out > 0 && readers_grid(q, q->node->out[0], &target);
    double *step = weight_steps(q, p, targeted ? &target : NULL);
    int64_t n_w = p->channels * p->taps, *w = MLC_NEW_ARRAY(q->arena, n_w + 1, int64_t),
            *bias = MLC_NEW_ARRAY(q->arena, p->channels + 1, int64_t);
    for (int64_t i = 0; i < n_w; i++)
        w[i] = (int64_t)rint(p->w[i] / step[i / p->taps]);
    correct_bias(p, step);
    for (int64_t c = 0; c < p->channels; c++) {
        double b = rint(p->bias[c] / step[c]);
        if (!(fabs(b) < 0x1p60)) {
            mlc_error_at(q->diag, q->node, "bias %g is too large beside the weights", p->bias[c]);
            return NULL;
        }
        bias[c] = (int64_t)b;
    }
    mlc_shape b_shape = {.rank = 1, .dim = {p->channels}};
    mlc_value *in[3] = {p->x, mlc_q_constant(q, w, &p->w_shape), mlc_q_constant(q, bias, &b_shape)};
    mlc_value *acc = mlc_q_node(q, p->op, in, 3, &p->shape, p->attrs, p->n_attrs);
    if (!acc)
        return NULL;
    acc->err = accumulator_error(q, p, step, bias, mlc_q_elements(acc));
    if (targeted)
        return to_scale(q, acc, p, step, target.step);
    bool one = true;
    for (int64_t c = 1; c < p->channels; c++)
        one = one && step[c] == step[0];
    if (one) {
        acc->scale = step[0];
        return mlc_q_settle(q, acc);
    }
    int exponent;
    frexp(fmax(reach_of(acc, p, step), 1e-30), &exponent);
    return to_scale(q, acc, p, step, ldexp(1, exponent - MLC_WORK_BITS));
}

mlc_value *mlc_q_linear_narrow(mlc_quant *q, mlc_value *x, int64_t M, int64_t K, int64_t N, const double *w,
                               const double *bias, const mlc_shape *shape) {
    int64_t *class = MLC_NEW_ARRAY(q->arena, M * K + 1, int64_t),
            *channel = MLC_NEW_ARRAY(q->arena, M * N + 1, int64_t);
    for (int64_t i = 0; i < M * K; i++)
        class[i] = i % K;
    operand in;
    if (!put_on_grid(q, x, class, K, true, &in))
        return NULL;
    product p = {.op = "Linear",
                 .x = in.x,
                 .w_shape = {.rank = 2, .dim = {N, K}},
                 .shape = *shape,
                 .channels = N,
                 .taps = K,
                 .channel = channel,
                 .w = MLC_NEW_ARRAY(q->arena, N * K + 1, double),
                 .centre = MLC_NEW_ARRAY(q->arena, N * K + 1, double),
                 .bias = MLC_NEW_ARRAY(q->arena, N + 1, double),
                 .all = MLC_NEW_ARRAY(q->arena, M * N + 1, mlc_taps)};
    for (int64_t n = 0; n < N; n++) {
        p.bias[n] = bias ? bias[n] : 0;
        for (int64_t k = 0; k < K; k++) {
            p.w[n * K + k] = w[n * K + k] * in.grids[k].step;
            p.centre[n * K + k] = in.centres[k];
            p.bias[n] += w[n * K + k] * in.grids[k].offset;
        }
    }
    for (int64_t m = 0; m < M; m++)
        for (int64_t n = 0; n < N; n++) {
            p.all[m * N + n] = (mlc_taps){.w = p.w + n * K, .n = K, .x0 = m * K};
            channel[m * N + n] = n;
        }
    return multiply(q, &p);
}

mlc_value *mlc_q_conv_narrow(mlc_quant *q, mlc_value *x, const mlc_tensor *w, const double *bias,
                             const mlc_conv_geometry *c, const mlc_shape *shape) {
    int64_t n = mlc_q_elements(x), pixels = n / c->channels_in, out = c->out[0] * c->out[1] * c->out[2];
    int64_t depth = c->channels_in / c->group, kernel = c->kernel[0] * c->kernel[1] * c->kernel[2];
    int64_t *class = MLC_NEW_ARRAY(q->arena, n + 1, int64_t),
            *channel = MLC_NEW_ARRAY(q->arena, c->channels_out * out + 1, int64_t);
    for (int64_t i = 0; i < n; i++)
        class[i] = i / pixels;
    operand in;
    if (!put_on_grid(q, x, class, c->channels_in, false, &in))
        return NULL;
    product p = {.op = "Conv",
                 .x = in.x,
                 .w_shape = w->shape,
                 .shape = *shape,
                 .channels = c->channels_out,
                 .taps = depth * kernel,
                 .channel = channel,
                 .n_attrs = 4};
    p.w = MLC_NEW_ARRAY(q->arena, p.channels * p.taps + 1, double);
    p.centre = MLC_NEW_ARRAY(q->arena, p.channels * p.taps + 1, double);
    p.bias = MLC_NEW_ARRAY(q->arena, p.channels + 1, double);
    for (int64_t o = 0; o < p.channels; o++) {
        int64_t first = o / (c->channels_out / c->group) * depth;
        p.bias[o] = bias ? bias[o] : 0;
        for (int64_t k = 0; k < p.taps; k++) {
            p.w[o * p.taps + k] = w->f[o * p.taps + k] * in.grids[first + k / kernel].step;
            p.centre[o * p.taps + k] = in.centres[first + k / kernel];
        }
    }
    for (int64_t i = 0; i < p.channels * out; i++)
        channel[i] = i / out;
    p.all = mlc_q_conv_taps(q, c, p.w);
    p.attrs = mlc_q_conv_attrs(q, c);
    return multiply(q, &p);
}
