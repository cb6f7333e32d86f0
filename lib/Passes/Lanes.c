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
 * large the integers become decides. Long sums may be cut into chunks: the lanes then
 * need only hold the sum of one (Ops/IntPacking.h).
 */
#include "../Ops/IntPacking.h"
#include "Narrow.h"

#include <math.h>

enum { LEAST_BY_ERROR = 4, MOST_POOLED = 4, MOST_ROOM = 32, LEAST_CHUNK = 4, LEAST_CHUNK_BITS = 2 };
/* Where a product is as bad as plain rounding without any lanes, they may add this part of that error. */
#define LEAST_LEFT 0.1
/* With 8 bits; what plain rounding to fewer makes of a model is less and less of a standard. */
#define SHARE_OF_8 0.75
#define SHARE_FALLS 0.6
/* Of two options of nearly the same cost, the more precise one is taken. */
#define HARDLY_MORE 1.08

/* Lanes that other products are to have, by bits; ternary weights count as 1. */
static const int wanted_lanes[] = {
    [MLC_TERNARY] = 7, [2] = 8, [3] = 7, [4] = 5, [5] = 4, [6] = 4, [7] = 3, [8] = 3};
/* Inputs and weights together may lose so many bits to reach the wanted lanes. */
#define MOST_SQUEEZED 2.0

static int room_for(int lanes) {
    return 64 / lanes < MOST_ROOM ? 64 / lanes : MOST_ROOM;
}

static void set(mlc_lanes *p, int lanes, int chunks) {
    p->dot->chunks = chunks;
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
    return spread(p, lanes);
}

static bool goes_by_error(const mlc_lanes *p) {
    return p->dot->room && p->dot->bits >= LEAST_BY_ERROR && p->d.groups == 1 && !p->d.image;
}

static void add_option(mlc_lanes *p, int lanes, int chunks) {
    double flushes = chunks > 1 ? chunks * MLC_INT_FLUSH_COST : 0;
    p->option[p->n_options++] =
        (mlc_lane_option){.lanes = lanes,
                          .chunks = chunks,
                          .levels = ldexp(chunks, room_for(lanes)),
                          .cost = (double)(p->rows * words_of(p, lanes)) * ((double)p->d.taps + flushes)};
}

/* Without those that cost no less than another which leaves the sum as much room. */
static void drop_useless(mlc_lanes *p) {
    int kept = 0;
    for (int i = 0; i < p->n_options; i++) {
        const mlc_lane_option *o = &p->option[i];
        bool useless = false;
        for (int k = 0; k < p->n_options && !useless; k++) {
            const mlc_lane_option *other = &p->option[k];
            bool equal = other->cost == o->cost && other->levels == o->levels;
            useless = other->cost <= o->cost && other->levels >= o->levels && (!equal || k > i);
        }
        if (!useless)
            p->option[kept++] = *o;
    }
    p->n_options = kept;
}

/* Fills in the options, the first of which is the most precise. Returns what error may be added to that for
 * all products together: relative, as those of the options, to that of plain rounding. */
static double estimate(mlc_quant *q, mlc_lanes *p) {
    static const int chunks[] = {2, 3, 4, 6, 8, 12, MLC_MOST_CHUNKS};
    for (int lanes = 1; lanes <= MLC_MOST_LANES; lanes++)
        add_option(p, lanes, 1);
    for (int lanes = 4; lanes <= MLC_MOST_LANES; lanes += 2)
        for (size_t i = 0; i < sizeof chunks / sizeof chunks[0]; i++)
            if (chunks[i] <= p->d.taps / LEAST_CHUNK && chunks[i] << LEAST_CHUNK_BITS <= 1 << p->dot->bits)
                add_option(p, lanes, chunks[i]);
    drop_useless(p);
    double plain = mlc_q_plain_error(q, p->dot, &p->d), first = 0;
    for (int i = 0; i < p->n_options; i++) {
        mlc_lane_option *o = &p->option[i];
        set(p, o->lanes, o->chunks);
        double error = mlc_q_share(q, p->dot, &p->d, p->dot->bits);
        first = i == 0 ? error : first;
        o->error = plain > 0 ? fmax(0, error - first) / plain : 0;
    }
    double left = plain > 0 ? fmax(LEAST_LEFT, 1 - first / plain) : 0;
    return left * SHARE_OF_8 * pow(SHARE_FALLS, MLC_MOST_BITS - p->dot->bits);
}

/* The change that saves most for the error that it adds, of all that `budget` allows. */
static bool next_step(mlc_lanes *all, int n, double *budget) {
    mlc_lanes *best = NULL;
    double most = 0, spent = 0;
    int to = 0;
    for (int i = 0; i < n; i++) {
        mlc_lanes *p = &all[i];
        const mlc_lane_option *now = &p->option[p->chosen];
        for (int k = 0; k < p->n_options; k++) {
            double error = fmax(0, p->option[k].error - now->error), saved = now->cost - p->option[k].cost;
            if (saved <= 0 || error > *budget || (best && saved * spent <= most * error))
                continue;
            best = p;
            most = saved;
            spent = error;
            to = k;
        }
    }
    if (!best)
        return false;
    *budget -= spent;
    best->chosen = to;
    return true;
}

/* The most precise of the options that hardly cost more. */
static void refine(mlc_lanes *p) {
    double most = p->option[p->chosen].cost * HARDLY_MORE;
    for (int k = 0; k < p->n_options; k++)
        if (p->option[k].cost <= most && p->option[k].error < p->option[p->chosen].error)
            p->chosen = k;
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
        if (!goes_by_error(p)) {
            set(p, by_size(p), 1);
            continue;
        }
        refine(p);
        const mlc_lane_option *o = &p->option[p->chosen];
        set(p, o->chunks > 1 ? o->lanes : spread(p, o->lanes), o->chunks);
    }
}
