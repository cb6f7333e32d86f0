/*
 * Weights of few bits. Rounding each to the nearest step is not what changes the
 * outputs least: inputs go together, and one weight's error can make up for that of
 * another. With the moments of the inputs, integer weights are sought that minimize
 *
 *     E(y - step * sum q x)^2 + RIDGE * sum E x^2 * (step * q - w)^2
 *
 * over the samples, by changing one weight after the other as long as that helps. y
 * is what the model has: so errors of what stands in front are made up for as well.
 * The second term keeps the weights near what they are where samples say little.
 */
#include "Narrow.h"

#include <math.h>
#include <stdlib.h>

#define RIDGE 0.1
/* An input that hardly varies on the samples counts as if it had this share of the mean variance. */
#define LEAST_SHARE 0.01
/* A weight stays so many steps near to what it is: samples do not show everything. */
#define NEAR 1
enum { MOST_SWEEPS = 30, TERNARY_FITS = 4 };

typedef struct problem {
    int64_t n, limit;
    const double *w, *span;
    const mlc_dot *dot;
    double room[MLC_MOST_CHUNKS]; /* that is left to each chunk */
    double step;
    double *square; /* [n,n]: the quadratic form; NULL: nothing but its diagonal */
    double *own;    /* [n]: the diagonal */
    double *target; /* [n] */
    double *slope;  /* [n]: step * square * q - target */
    int64_t *q;
} problem;

/* Of the sum to be minimized, when q[k] changes by d. */
static double change(const problem *p, int64_t k, double d) {
    return p->step * d * (p->step * d * p->own[k] + 2 * p->slope[k]);
}

static double *room_of(problem *p, int64_t k) {
    return &p->room[mlc_dot_chunk(p->dot, p->n, k)];
}

static void move(problem *p, int64_t k, int64_t d) {
    p->q[k] += d;
    *room_of(p, k) -= p->span[k] * (double)(llabs(p->q[k]) - llabs(p->q[k] - d));
    if (!p->square)
        p->slope[k] += p->step * (double)d * p->own[k];
    for (int64_t j = 0; p->square && j < p->n; j++)
        p->slope[j] += p->step * (double)d * p->square[k * p->n + j];
}

static void start(problem *p, const double *w, double room) {
    for (int c = 0; c < MLC_MOST_CHUNKS; c++)
        p->room[c] = room;
    for (int64_t k = 0; k < p->n; k++) {
        p->q[k] = 0;
        p->slope[k] = -p->target[k];
    }
    for (int64_t k = 0; k < p->n; k++) {
        double nearest = rint(w[k] / p->step), limit = (double)p->limit;
        int64_t d = (int64_t)fmax(-limit, fmin(limit, nearest));
        if (d)
            move(p, k, d);
    }
}

/* Towards 0 where that costs least, until the sum of a chunk has room. */
static void make_room(problem *p, int chunk) {
    while (p->room[chunk] < 0) {
        int64_t best = -1;
        double least = INFINITY;
        for (int64_t k = 0; k < p->n; k++) {
            if (p->q[k] == 0 || p->span[k] == 0 || mlc_dot_chunk(p->dot, p->n, k) != chunk)
                continue;
            double cost = change(p, k, p->q[k] > 0 ? -1 : 1) / p->span[k];
            if (best < 0 || cost < least) {
                least = cost;
                best = k;
            }
        }
        if (best < 0)
            return;
        move(p, best, p->q[best] > 0 ? -1 : 1);
    }
}

/* Real weight k in steps, rounded, moved by at most NEAR from there. */
static double within(const problem *p, int64_t k, double q) {
    double exact = p->w[k] / p->step, limit = (double)p->limit;
    return fmax(-limit, fmin(limit, fmax(ceil(exact - NEAR), fmin(floor(exact + NEAR), q))));
}

static bool sweep(problem *p) {
    bool moved = false;
    for (int64_t k = 0; k < p->n; k++) {
        if (!(p->own[k] > 0))
            continue;
        double q = (double)p->q[k], d = within(p, k, q + rint(-p->slope[k] / (p->step * p->own[k]))) - q;
        if (d == 0 || p->span[k] * (fabs(q + d) - fabs(q)) > *room_of(p, k) || !(change(p, k, d) < 0))
            continue;
        move(p, k, (int64_t)d);
        moved = true;
    }
    return moved;
}

static void make_form(problem *p, const double *w, const mlc_moments *m) {
    int64_t n = p->n;
    double mean = 0;
    for (int64_t k = 0; m && k < n; k++)
        mean += m->covariance[k * n + k] / (double)n;
    for (int64_t i = 0; m && i < n; i++)
        for (int64_t j = 0; j < n; j++) {
            p->square[i * n + j] = m->covariance[i * n + j];
            p->target[i] += m->with ? 0 : m->covariance[i * n + j] * w[j];
        }
    for (int64_t k = 0; k < n; k++) {
        double near = m ? RIDGE * (m->covariance[k * n + k] + LEAST_SHARE * mean) : p->span[k] * p->span[k];
        p->own[k] = near + (m ? m->covariance[k * n + k] : 0);
        p->target[k] += near * w[k] + (m && m->with ? m->with[k] : 0);
        if (m)
            p->square[k * n + k] = p->own[k];
    }
}

/* The best step for the weights as they are; 0: none. */
static double best_step(const problem *p) {
    double a = 0, b = 0;
    for (int64_t i = 0; i < p->n; i++) {
        a += p->target[i] * (double)p->q[i];
        for (int64_t j = 0; j < p->n; j++)
            b += p->square[i * p->n + j] * (double)p->q[i] * (double)p->q[j];
    }
    return b > 0 && a > 0 ? a / b : 0;
}

void mlc_q_round_weights(mlc_arena *arena, const mlc_dot *dot, int64_t c, const double *w, const double *span,
                         int64_t n, const mlc_moments *m, bool free, double *step, int64_t *q) {
    mlc_arena_mark mark = mlc_arena_save(arena);
    problem p = {.n = n,
                 .dot = dot,
                 .limit = dot->bits == MLC_TERNARY ? 1 : (int64_t)1 << 31,
                 .w = w,
                 .span = span,
                 .step = *step,
                 .square = m ? MLC_NEW_ARRAY(arena, n * n + 1, double) : NULL,
                 .own = MLC_NEW_ARRAY(arena, n + 1, double),
                 .target = MLC_NEW_ARRAY(arena, n + 1, double),
                 .slope = MLC_NEW_ARRAY(arena, n + 1, double),
                 .q = q};
    double room = dot->room ? mlc_q_span(dot, c) : INFINITY;
    make_form(&p, w, m);
    start(&p, w, room);
    for (int chunk = 0; chunk < dot->chunks; chunk++)
        make_room(&p, chunk);
    int fits = free && dot->bits == MLC_TERNARY ? TERNARY_FITS : 1;
    for (int fit = 0; fit < fits && m; fit++) {
        for (int s = 0; s < MOST_SWEEPS && sweep(&p); s++)
            continue;
        double better = free ? best_step(&p) : 0;
        if (!(better > 0))
            break;
        for (int64_t k = 0; k < n; k++)
            p.slope[k] = (p.slope[k] + p.target[k]) * (better / p.step) - p.target[k];
        p.step = better;
    }
    *step = p.step;
    mlc_arena_restore(arena, mark);
}
