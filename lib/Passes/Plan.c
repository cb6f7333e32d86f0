/*
 * How narrow dot products spend their bits. The precision that was asked for says
 * how many outputs share a word; each accumulator then has so many bits of room,
 *
 *     levels of the input * sum |weight| < 2^room,
 *
 * and it is for the data to say how many of them the inputs get: what a grid of the
 * inputs takes away is known, and so is the step of weights that use up the rest.
 */
#include "Narrow.h"

#include <math.h>

enum { TERNARY_INPUT_BITS = 4 };

/* The threshold below which weights become 0, and the step of the others, by least squares. */
static double ternary_step(const double *w, int64_t n, int64_t *count) {
    /* With the m largest kept, the best step is their mean and takes away sum^2 / m. */
    double most = 0, step = 0, best = 0;
    *count = 0;
    for (int64_t k = 0; k < n; k++)
        most = fmax(most, fabs(w[k]));
    enum { THRESHOLDS = 64 };
    for (int t = 0; t < THRESHOLDS; t++) {
        double sum = 0;
        int64_t m = 0;
        for (int64_t k = 0; k < n; k++)
            if (w[k] != 0 && fabs(w[k]) >= most * t / THRESHOLDS) {
                sum += fabs(w[k]);
                m++;
            }
        if (m && sum * sum / (double)m > best) {
            best = sum * sum / (double)m;
            step = sum / (double)m;
            *count = m;
        }
    }
    return step;
}

/* A lane begins at a multiple of the step of the result (`align`), so up to such a
 * step is lost: the result has at least as many steps as the inputs have levels. With
 * chunks, the first one has room for all of that step. */
double mlc_q_span(const mlc_dot *dot, int64_t channel) {
    int bits = dot->bits == MLC_TERNARY ? TERNARY_INPUT_BITS : dot->bits;
    return ldexp(1, dot->room[channel]) * (1 - dot->chunks * ldexp(1, -bits)) - 1;
}

double mlc_q_channel_step(const mlc_dot *dot, int64_t channel, const double *w, const double *span,
                          int64_t n) {
    int64_t count;
    if (dot->bits == MLC_TERNARY)
        return ternary_step(w, n, &count);
    double sum[MLC_MOST_CHUNKS] = {0}, most = 0;
    for (int64_t k = 0; k < n; k++) {
        double *part = &sum[mlc_dot_chunk(dot, n, k)];
        *part += fabs(w[k]) * span[k];
        most = fmax(most, *part);
    }
    return most / mlc_q_span(dot, channel);
}

/* Classes share one grid where the input comes from another narrow product. */
static bool shares_grid(const mlc_quant *q, const mlc_value *v) {
    while (v->producer && mlc_q_keeps_grid(v->producer))
        v = v->producer->in[0];
    const mlc_dot *dot = v->producer ? mlc_q_dot_of(q, v->producer) : NULL;
    return dot && dot->bits < 32;
}

/* sum |weight| of weights of so many bits, the mean of all channels. */
static double sum_of_weights(const mlc_quant *q, const mlc_dot *dot, const mlc_dot_weights *d,
                             const mlc_class *class) {
    double *w = MLC_NEW_ARRAY(q->arena, d->taps + 1, double), total = 0;
    double limit = dot->bits <= 2 ? 1 : ldexp(1, dot->bits - 1) - 1;
    for (int64_t c = 0; c < d->channels; c++) {
        double sum = 0, most = 0;
        int64_t count;
        for (int64_t k = 0; k < d->taps; k++) {
            const mlc_range *r = &class[mlc_dot_class(d, c, k)].range;
            w[k] = r->hi > r->lo ? mlc_dot_weight(d, c, k) * (r->hi - r->lo) : 0;
            sum += fabs(w[k]);
            most = fmax(most, fabs(w[k]));
        }
        ternary_step(w, d->taps, &count);
        if (most > 0)
            total += (dot->bits == MLC_TERNARY ? (double)count : sum / most * limit) / (double)d->channels;
    }
    return total;
}

/* How much a channel's error matters: by the weights that it meets next, or else relative to its range. */
static double *weights_of_channels(const mlc_quant *q, const mlc_dot *dot, const mlc_dot_weights *d,
                                   const mlc_class *class) {
    double *all = MLC_NEW_ARRAY(q->arena, d->channels + 1, double);
    const mlc_node *next = mlc_q_reader(q, dot->node);
    mlc_dot_weights to = {0};
    if (next && !mlc_q_dot_weights(next, &to))
        next = NULL;
    for (int64_t c = 0; c < d->channels; c++) {
        double reach = 0;
        for (int64_t k = 0; k < d->taps; k++) {
            const mlc_range *r = &class[mlc_dot_class(d, c, k)].range;
            reach += r->hi > r->lo ? fabs(mlc_dot_weight(d, c, k)) * (r->hi - r->lo) : 0;
        }
        for (int64_t n = 0; next && n < to.channels; n++)
            all[c] += mlc_dot_weight(&to, n, c) * mlc_dot_weight(&to, n, c);
        if (!next)
            all[c] = reach > 0 ? 1 / (reach * reach) : 0;
    }
    return all;
}

static void prepare(mlc_quant *q, mlc_dot *dot, mlc_lanes *lanes) {
    bool ternary = dot->bits == MLC_TERNARY;
    int bits = ternary ? TERNARY_INPUT_BITS : dot->bits;
    *lanes = (mlc_lanes){.dot = dot};
    dot->levels = ((int64_t)1 << bits) - 1;
    dot->class = NULL;
    dot->room = NULL;
    dot->chunks = 1;
    if (dot->bits > MLC_MOST_BITS || !q->seen || !mlc_q_dot_weights(dot->node, &lanes->d))
        return;
    mlc_dot_weights *d = &lanes->d;
    dot->shared = shares_grid(q, mlc_q_dot_input(dot->node));
    dot->room = MLC_NEW_ARRAY(q->arena, d->channels + 1, int);
    dot->weight = MLC_NEW_ARRAY(q->arena, d->channels + 1, double);
    mlc_dot usual = *dot;
    usual.bits = MLC_TERNARY; /* whose inputs are as they are given */
    mlc_q_share(q, &usual, d, bits);
    dot->weight = weights_of_channels(q, dot, d, usual.class);
    lanes->sum = sum_of_weights(q, dot, d, usual.class);
    lanes->rows = mlc_q_elements(dot->node->out[0]) / d->channels;
}

static void finish(mlc_quant *q, mlc_lanes *lanes) {
    mlc_dot *dot = lanes->dot;
    int bits = dot->bits == MLC_TERNARY ? TERNARY_INPUT_BITS : dot->bits;
    if (!dot->room)
        return;
    /* Ternary weights are what they are: the inputs get the rest. */
    while (dot->bits == MLC_TERNARY && bits < MLC_MOST_BITS &&
           lanes->sum * (ldexp(1, bits + 1) - 1) < mlc_q_span(dot, 0))
        dot->levels = ((int64_t)1 << ++bits) - 1;
    mlc_q_share(q, dot, &lanes->d, bits);
}

void mlc_q_plan(mlc_quant *q, mlc_dot *dots, int n) {
    mlc_lanes *lanes = MLC_NEW_ARRAY(q->arena, n + 1, mlc_lanes);
    for (int i = 0; i < n; i++)
        prepare(q, &dots[i], &lanes[i]);
    mlc_q_choose_lanes(q, lanes, n);
    for (int i = 0; i < n; i++)
        finish(q, &lanes[i]);
    for (int i = 0; i < n; i++)
        mlc_q_equalize(q, dots, n, i);
}
