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

/* Lanes that such products are to have, by bits; ternary weights count as 1. */
static const int wanted_lanes[] = {
    [MLC_TERNARY] = 7, [2] = 8, [3] = 7, [4] = 5, [5] = 4, [6] = 4, [7] = 3, [8] = 3};
enum { MOST_LANES = 8, MOST_POOLED = 4, MOST_ROOM = 32, TERNARY_INPUT_BITS = 4 };
/* Inputs and weights together may lose so many bits to reach the wanted lanes. */
#define MOST_SQUEEZED 2.0

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
 * step is lost: the result has at least as many steps as the inputs have levels. */
double mlc_q_span(const mlc_dot *dot, int64_t channel) {
    int bits = dot->bits == MLC_TERNARY ? TERNARY_INPUT_BITS : dot->bits;
    return ldexp(1, dot->room[channel]) * (1 - ldexp(1, -bits)) - 1;
}

double mlc_q_channel_step(const mlc_dot *dot, int64_t channel, const double *w, const double *span,
                          int64_t n) {
    int64_t count;
    if (dot->bits == MLC_TERNARY)
        return ternary_step(w, n, &count);
    double sum = 0;
    for (int64_t k = 0; k < n; k++)
        sum += fabs(w[k]) * span[k];
    return sum / mlc_q_span(dot, channel);
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

static int room_for(int lanes) {
    return 64 / lanes < MOST_ROOM ? 64 / lanes : MOST_ROOM;
}

/* Lanes for sums of so many bits, where `outputs` of them, or any number (0), share their inputs. */
static int lanes_for(double bits, int wanted, int64_t outputs, bool image) {
    int lanes = wanted;
    while (lanes > 1 && bits - MOST_SQUEEZED > room_for(lanes))
        lanes--;
    while (lanes < MOST_LANES && bits <= room_for(lanes + 1))
        lanes++;
    if (!outputs)
        return lanes;
    /* No more words for fewer lanes in each. */
    int64_t words = (outputs + lanes - 1) / lanes;
    if (image && words > 1)
        return lanes; /* a channel alone in a word has immediates, which is better there */
    return (int)((outputs + words - 1) / words);
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

static void plan(mlc_quant *q, mlc_dot *dot) {
    mlc_dot_weights d;
    bool ternary = dot->bits == MLC_TERNARY;
    int bits = ternary ? TERNARY_INPUT_BITS : dot->bits;
    dot->levels = ((int64_t)1 << bits) - 1;
    dot->class = NULL;
    dot->room = NULL;
    if (!q->seen || !mlc_q_dot_weights(dot->node, &d))
        return;
    dot->shared = shares_grid(q, mlc_q_dot_input(dot->node));
    dot->room = MLC_NEW_ARRAY(q->arena, d.channels + 1, int);
    dot->weight = MLC_NEW_ARRAY(q->arena, d.channels + 1, double);
    mlc_dot usual = *dot;
    usual.bits = MLC_TERNARY; /* whose inputs are as they are given */
    mlc_q_share(q, &usual, &d, bits);
    double sum = sum_of_weights(q, dot, &d, usual.class);
    double natural = log2(fmax(sum, 1) * (double)dot->levels);
    int lanes = lanes_for(natural, wanted_lanes[dot->bits], d.groups == 1 ? d.channels : 0, d.image);
    dot->weight = weights_of_channels(q, dot, &d, usual.class);
    /* All alike: loops over outputs know one width. A pool behind a convolution takes
     * the maximum of whole words, which needs a bit more for each lane; where lanes
     * are narrow already, that bit counts for more than the pool does. */
    for (int64_t c = 0; c < d.channels; c++)
        dot->room[c] = room_for(lanes) - (d.image && lanes > 1 && lanes <= MOST_POOLED);
    /* Ternary weights are what they are: the inputs get the rest. */
    while (ternary && bits < MLC_MOST_BITS && sum * (ldexp(1, bits + 1) - 1) < mlc_q_span(dot, 0))
        dot->levels = ((int64_t)1 << ++bits) - 1;
    mlc_q_share(q, dot, &d, bits);
}

void mlc_q_plan(mlc_quant *q, mlc_dot *dots, int n) {
    for (int i = 0; i < n; i++) {
        if (dots[i].bits <= MLC_MOST_BITS)
            plan(q, &dots[i]);
        else
            dots[i].levels = ((int64_t)1 << dots[i].bits) - 1;
    }
    for (int i = 0; i < n; i++)
        mlc_q_equalize(q, &dots[i]);
}
