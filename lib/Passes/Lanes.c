/*
 * How many outputs of a narrow dot product share a word. More of them make fewer
 * multiplications and leave each accumulator less room, which costs precision.
 *
 * N bits stand for the precision of plain rounding to signed numbers of N bits
 * (mlc_q_plain_error): of the error that this would make, a share may be spent on
 * lanes, by all products together, as if the error of each reached the outputs alike.
 * It goes where it saves most multiplications. Such estimates take errors as
 * independent, which those of a convolution's weights are not, being the same
 * all over the image; and they say little where hardly any bits are left. There, how
 * large the integers become decides.
 */
#include "Narrow.h"

#include <math.h>

enum { LEAST_BY_ERROR = 4, MOST_POOLED = 4, MOST_ROOM = 32 };
/* Where a product is as bad as plain rounding without any lanes, they may add this part of that error. */
#define LEAST_LEFT 0.1
/* With 8 bits; what plain rounding to fewer makes of a model is less and less of a standard. */
#define SHARE_OF_8 0.75
#define SHARE_FALLS M_SQRT1_2

/* Lanes that other products are to have, by bits; ternary weights count as 1. */
static const int wanted_lanes[] = {
    [MLC_TERNARY] = 7, [2] = 8, [3] = 7, [4] = 5, [5] = 4, [6] = 4, [7] = 3, [8] = 3};
/* Inputs and weights together may lose so many bits to reach the wanted lanes. */
#define MOST_SQUEEZED 2.0

static int room_for(int lanes) {
    return 64 / lanes < MOST_ROOM ? 64 / lanes : MOST_ROOM;
}

static void set_lanes(mlc_lanes *p, int lanes) {
    p->lanes = lanes;
    /* All alike: loops over outputs know one width. A pool behind a convolution takes
     * the maximum of whole words, which needs a bit more for each lane; where lanes
     * are narrow already, that bit counts for more than the pool does. */
    for (int64_t c = 0; c < p->d.channels; c++)
        p->dot->room[c] = room_for(lanes) - (p->d.image && lanes > 1 && lanes <= MOST_POOLED);
}

static int64_t words_of(const mlc_lanes *p, int lanes) {
    return (p->d.channels + lanes - 1) / lanes;
}

/* No more words for fewer lanes in each. */
static int spread(const mlc_lanes *p, int lanes) {
    int64_t words = words_of(p, lanes);
    if (p->d.groups != 1 || (p->d.image && words > 1))
        return lanes; /* a channel of an image alone in a word has immediates, which is better there */
    return (int)((p->d.channels + words - 1) / words);
}

static int by_size(const mlc_lanes *p) {
    double bits = log2(fmax(p->sum, 1) * (double)p->dot->levels);
    int lanes = wanted_lanes[p->dot->bits];
    while (lanes > 1 && bits - MOST_SQUEEZED > room_for(lanes))
        lanes--;
    while (lanes < MLC_MOST_LANES && bits <= room_for(lanes + 1))
        lanes++;
    return lanes;
}

static bool goes_by_error(const mlc_lanes *p) {
    return p->dot->room && p->dot->bits >= LEAST_BY_ERROR && p->d.groups == 1 && !p->d.image;
}

/* Errors with each number of lanes, beyond that with one, and as the result what may be added to that:
 * relative to the error of plain rounding. */
static double estimate(mlc_quant *q, mlc_lanes *p) {
    double plain = mlc_q_plain_error(q, p->dot, &p->d), first = 0;
    for (int lanes = 1; lanes <= MLC_MOST_LANES; lanes++) {
        set_lanes(p, lanes);
        double error = mlc_q_share(q, p->dot, &p->d, p->dot->bits);
        if (lanes == 1)
            first = error;
        p->error[lanes] = plain > 0 ? fmax(0, error - first) / plain : 0;
    }
    p->lanes = 1;
    double left = plain > 0 ? fmax(LEAST_LEFT, 1 - first / plain) : 0;
    return left * SHARE_OF_8 * pow(SHARE_FALLS, MLC_MOST_BITS - p->dot->bits);
}

/* The step to more lanes that saves most for the error that it adds, of all that `budget` allows. */
static bool next_step(mlc_lanes *all, int n, double *budget) {
    mlc_lanes *best = NULL;
    double most = 0, spent = 0;
    int to = 0;
    for (int i = 0; i < n; i++) {
        mlc_lanes *p = &all[i];
        if (!goes_by_error(p))
            continue;
        for (int lanes = p->lanes + 1; lanes <= MLC_MOST_LANES; lanes++) {
            double error = fmax(0, p->error[lanes] - p->error[p->lanes]);
            double saved = p->multiplications * (double)(words_of(p, p->lanes) - words_of(p, lanes));
            if (saved > 0 && error <= *budget && (!best || saved * spent > most * error)) {
                best = p;
                most = saved;
                spent = error;
                to = lanes;
            }
        }
    }
    if (!best)
        return false;
    *budget -= spent;
    best->lanes = to;
    return true;
}

void mlc_q_choose_lanes(mlc_quant *q, mlc_lanes *all, int n) {
    double budget = 0;
    for (int i = 0; i < n; i++)
        if (goes_by_error(&all[i]))
            budget += estimate(q, &all[i]);
    while (next_step(all, n, &budget))
        continue;
    for (int i = 0; i < n; i++) {
        mlc_lanes *p = &all[i];
        if (!p->dot->room)
            continue;
        if (!goes_by_error(p))
            p->lanes = by_size(p);
        set_lanes(p, spread(p, p->lanes));
    }
}
