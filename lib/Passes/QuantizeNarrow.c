/*
 * Builders of quantize.h: dot products with inputs and weights of 16 bits and less.
 *
 * The inputs go onto a grid and saturate at its ends (Grid.c). The weights of each
 * output get a step of their own, the finest that leaves the accumulator inside the
 * room that the plan gives it (Plan.c). Where the result is only read by the next
 * such product, perhaps behind a Relu, the steps are chosen so that a shift leaves it
 * on that product's grid; otherwise a multiplication and a shift bring all outputs
 * to one scale.
 */
#include "Narrow.h"

#include <math.h>

static int64_t channel_of(const mlc_narrow *p, int64_t element) {
    return element / p->by_channel % p->channels;
}

/* So much more than there is room for is taken back by the rounding. */
#define OVERFULL 1.02

/* The step that channel c should have, before there is a grid to meet. */
static double natural_step(const mlc_narrow *p, int64_t c) {
    const double *w = p->w + c * p->taps;
    if (p->dot->room)
        return mlc_q_channel_step(p->dot, c, w, p->span + c * p->taps, p->taps);
    double most = 0;
    for (int64_t k = 0; k < p->taps; k++)
        most = fmax(most, fabs(w[k]));
    return most / (double)(((int64_t)1 << (p->dot->bits - 1)) - 1);
}

/* The step of each output's weights. With a target, by powers of two finer than that. */
static void choose_steps(mlc_quant *q, mlc_narrow *p, const mlc_grid *target) {
    p->step = MLC_NEW_ARRAY(q->arena, p->channels + 1, double);
    double most = 0;
    for (int64_t c = 0; c < p->channels; c++)
        most = fmax(most, p->step[c] = natural_step(p, c));
    for (int64_t c = 0; c < p->channels; c++) {
        /* Outputs that hardly matter need no finer step than the accumulator can hold. */
        double *step = &p->step[c], over = p->dot->bits > MLC_MOST_BITS ? 1 + 1e-9 : OVERFULL;
        *step = fmax(fmax(*step, most * 0x1p-20), 1e-30);
        if (!target)
            continue;
        double octave = log2(*step / target->step);
        octave = p->dot->bits == MLC_TERNARY ? rint(octave) : ceil(octave - log2(over));
        *step = ldexp(target->step, (int)octave);
    }
}

/* A weight as it is used, less what it should be. */
static double weight_error(const mlc_narrow *p, int64_t i) {
    return (double)p->q[i] * p->step[i / p->taps] - p->w[i];
}

/*
 * Weights and bias of every channel. sum (w + e) q = sum w q + sum e (q - centre) +
 * sum e centre. The last sum is known: the bias takes it back, so that rounded weights
 * do not shift the result. p->bias becomes what is right if the inputs were at their
 * centres; where samples show the result itself, the bias makes its mean right.
 */
static bool round_weights(mlc_quant *q, mlc_narrow *p, bool free, int64_t *bias) {
    mlc_moments m;
    p->q = MLC_NEW_ARRAY(q->arena, p->channels * p->taps + 1, int64_t);
    for (int64_t c = 0; c < p->channels; c++) {
        int64_t at = c * p->taps;
        bool known = mlc_q_moments(q, p, c, &m);
        mlc_q_round_weights(q->arena, p->dot, c, p->w + at, p->span + at, p->taps, known ? &m : NULL, free,
                            &p->step[c], p->q + at);
        double wanted = known && m.with ? m.result : 0;
        for (int64_t k = 0; k < p->taps; k++) {
            p->bias[c] -= weight_error(p, at + k) * p->centre[at + k];
            wanted -= known && m.with ? (double)p->q[at + k] * p->step[c] * m.mean[k] : 0;
        }
        double b = rint((known && m.with ? wanted : p->bias[c]) / p->step[c]);
        if (!(fabs(b) < 0x1p60)) {
            mlc_error_at(q->diag, q->node, "bias %g is too large beside the weights", p->bias[c]);
            return false;
        }
        bias[c] = (int64_t)b;
    }
    return true;
}

/* Real magnitude of the result, the largest of all elements. */
static double reach_of(const mlc_value *acc, const mlc_narrow *p) {
    double reach = 0;
    for (int64_t o = 0; o < mlc_q_elements(acc); o++)
        reach =
            fmax(reach, fmax(fabs((double)acc->lo[o]), fabs((double)acc->hi[o])) * p->step[channel_of(p, o)]);
    return reach;
}

/* All outputs to one scale. */
static mlc_value *to_scale(mlc_quant *q, mlc_value *acc, const mlc_narrow *p, double scale) {
    int64_t n = mlc_q_elements(acc), *multiplier = MLC_NEW_ARRAY(q->arena, n + 1, int64_t),
            *addend = MLC_NEW_ARRAY(q->arena, n + 1, int64_t);
    double most = 0;
    for (int64_t c = 0; c < p->channels; c++)
        most = fmax(most, p->step[c] / scale);
    int bits = mlc_q_bits((uint64_t)mlc_q_magnitude(acc)), exponent, room = MLC_ACCUMULATOR_BITS - 1 - bits;
    frexp(most, &exponent);
    int shift = (room < MLC_WEIGHT_BITS ? room : MLC_WEIGHT_BITS) - exponent;
    shift = shift < 0 ? 0 : shift > MLC_ACCUMULATOR_BITS - 2 ? MLC_ACCUMULATOR_BITS - 2 : shift;
    for (int64_t o = 0; o < n; o++) {
        multiplier[o] = (int64_t)rint(ldexp(p->step[channel_of(p, o)] / scale, shift));
        addend[o] = shift ? (int64_t)1 << (shift - 1) : 0;
    }
    mlc_value *r = mlc_q_scaled(q, acc, multiplier, addend, shift, &acc->shape);
    if (!r)
        return NULL;
    r->scale = scale;
    double *err = mlc_q_err_array(q, r);
    for (int64_t o = 0; o < n; o++) {
        double off = fabs(ldexp((double)multiplier[o], -shift) - p->step[channel_of(p, o)] / scale);
        err[o] = acc->err[o] + (fmax(fabs((double)acc->lo[o]), fabs((double)acc->hi[o])) * off + 0.5) * scale;
    }
    return r;
}

static double *accumulator_error(mlc_quant *q, const mlc_narrow *p, const int64_t *bias, int64_t n) {
    double *err = MLC_NEW_ARRAY(q->arena, n + 1, double);
    for (int64_t o = 0; o < n; o++) {
        const mlc_taps *t = &p->all[o];
        int64_t c = channel_of(p, o);
        err[o] = fabs((double)bias[c] * p->step[c] - p->bias[c]);
        for (int64_t k = 0; k < t->n; k++) {
            int64_t i = mlc_tap(t, k), at = c * p->taps + k;
            double off = fabs(weight_error(p, at)), centre = p->centre[at];
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

static mlc_value *multiply(mlc_quant *q, mlc_narrow *p) {
    mlc_grid target;
    bool targeted = q->seen && q->node->n_out > 0 && mlc_q_readers_grid(q, q->node->out[0], &target);
    choose_steps(q, p, targeted ? &target : NULL);
    int64_t *bias = MLC_NEW_ARRAY(q->arena, p->channels + 1, int64_t);
    if (!round_weights(q, p, !targeted, bias))
        return NULL;
    mlc_shape b_shape = {.rank = 1, .dim = {p->channels}};
    mlc_value *in[3] = {p->x, mlc_q_constant(q, p->q, &p->w_shape), mlc_q_constant(q, bias, &b_shape)};
    mlc_value *acc = mlc_q_node(q, p->op, in, 3, &p->shape, p->attrs, p->n_attrs);
    if (!acc)
        return NULL;
    acc->err = accumulator_error(q, p, bias, mlc_q_elements(acc));
    if (targeted)
        return to_scale(q, acc, p, target.step);
    bool one = true;
    for (int64_t c = 1; c < p->channels; c++)
        one = one && p->step[c] == p->step[0];
    if (one) {
        acc->scale = p->step[0];
        return mlc_q_settle(q, acc);
    }
    int exponent;
    frexp(fmax(reach_of(acc, p), 1e-30), &exponent);
    return to_scale(q, acc, p, ldexp(1, exponent - MLC_WORK_BITS));
}

/* Gemm's and Conv's third input, which may become a node of its own. */
static bool own_addend(const mlc_node *node) {
    return node->n_in > 2 && node->in[2];
}

mlc_value *mlc_q_linear_narrow(mlc_quant *q, mlc_value *x, int64_t M, int64_t K, int64_t N, const double *w,
                               const double *bias, const mlc_shape *shape) {
    const mlc_dot *dot = mlc_q_dot_of(q, q->node);
    int64_t *class = MLC_NEW_ARRAY(q->arena, M * K + 1, int64_t);
    for (int64_t i = 0; i < M * K; i++)
        class[i] = i % K;
    mlc_operand in;
    if (!mlc_q_put_on_grid(q, x, class, K, dot, true, &in))
        return NULL;
    mlc_narrow p = {.op = "Linear",
                    .dot = dot,
                    .x = in.x,
                    .w_shape = {.rank = 2, .dim = {N, K}},
                    .shape = *shape,
                    .channels = N,
                    .taps = K,
                    .rows = M,
                    .by_channel = 1,
                    .by_row = N,
                    .w = MLC_NEW_ARRAY(q->arena, N * K + 1, double),
                    .centre = MLC_NEW_ARRAY(q->arena, N * K + 1, double),
                    .span = MLC_NEW_ARRAY(q->arena, N * K + 1, double),
                    .bias = MLC_NEW_ARRAY(q->arena, N + 1, double),
                    .all = MLC_NEW_ARRAY(q->arena, M * N + 1, mlc_taps)};
    for (int64_t n = 0; n < N; n++) {
        p.bias[n] = bias ? bias[n] : 0;
        for (int64_t k = 0; k < K; k++) {
            p.w[n * K + k] = w[n * K + k] * in.grids[k].step;
            p.centre[n * K + k] = in.centres[k];
            p.span[n * K + k] = in.spans[k];
            p.bias[n] += w[n * K + k] * in.grids[k].offset;
        }
    }
    for (int64_t m = 0; m < M; m++)
        for (int64_t n = 0; n < N; n++)
            p.all[m * N + n] = (mlc_taps){.w = p.w + n * K, .n = K, .x0 = m * K};
    p.whole = !own_addend(q->node) || bias;
    return multiply(q, &p);
}

mlc_value *mlc_q_conv_narrow(mlc_quant *q, mlc_value *x, const mlc_tensor *w, const double *bias,
                             const mlc_conv_geometry *c, const mlc_shape *shape) {
    int64_t n = mlc_q_elements(x), pixels = n / c->channels_in, out = c->out[0] * c->out[1] * c->out[2];
    int64_t depth = c->channels_in / c->group, kernel = c->kernel[0] * c->kernel[1] * c->kernel[2];
    const mlc_dot *dot = mlc_q_dot_of(q, q->node);
    int64_t *class = MLC_NEW_ARRAY(q->arena, n + 1, int64_t);
    for (int64_t i = 0; i < n; i++)
        class[i] = i / pixels;
    mlc_operand in;
    if (!mlc_q_put_on_grid(q, x, class, c->channels_in, dot, false, &in))
        return NULL;
    mlc_narrow p = {.op = "Conv",
                    .dot = dot,
                    .x = in.x,
                    .w_shape = w->shape,
                    .shape = *shape,
                    .channels = c->channels_out,
                    .taps = depth * kernel,
                    .rows = out,
                    .by_channel = out,
                    .by_row = 1,
                    .n_attrs = MLC_CONV_ATTRS};
    p.w = MLC_NEW_ARRAY(q->arena, p.channels * p.taps + 1, double);
    p.centre = MLC_NEW_ARRAY(q->arena, p.channels * p.taps + 1, double);
    p.span = MLC_NEW_ARRAY(q->arena, p.channels * p.taps + 1, double);
    p.bias = MLC_NEW_ARRAY(q->arena, p.channels + 1, double);
    for (int64_t o = 0; o < p.channels; o++) {
        int64_t first = o / (c->channels_out / c->group) * depth;
        p.bias[o] = bias ? bias[o] : 0;
        for (int64_t k = 0; k < p.taps; k++) {
            p.w[o * p.taps + k] = w->f[o * p.taps + k] * in.grids[first + k / kernel].step;
            p.centre[o * p.taps + k] = in.centres[first + k / kernel];
            p.span[o * p.taps + k] = in.spans[first + k / kernel];
        }
    }
    p.all = mlc_q_conv_taps(q, c, p.w);
    p.attrs = mlc_q_conv_attrs(q, c);
    p.whole = !own_addend(q->node) || bias;
    return multiply(q, &p);
}
