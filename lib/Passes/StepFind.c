/* Finds the steps of a chain over the proven interval of a class. */
#include "StepFind.h"

#include <string.h>

enum { SHORT = 4096, LONGEST_TABLE = 1 << 16, MOST_STEPS = 1 << 16 };
#define FARTHEST ((int64_t)1 << 61)

void mlc_step_eval(mlc_quant *q, const mlc_scan *s, const int64_t *t, int64_t n, int64_t *out) {
    enum { BATCH = 4096 };
    for (int64_t done = 0; done < n; done += BATCH) {
        mlc_arena_mark mark = mlc_arena_save(q->arena);
        int64_t count = n - done < BATCH ? n - done : BATCH;
        int64_t *x = MLC_NEW_ARRAY(q->arena, count, int64_t);
        for (int64_t i = 0; i < count; i++)
            x[i] = s->sign * t[done + i];
        memcpy(out + done, mlc_chain_eval(q->arena, s->chain, x, NULL, count)->i,
               (size_t)count * sizeof *out);
        mlc_arena_restore(q->arena, mark);
    }
}

static int64_t value_at(mlc_quant *q, const mlc_scan *s, int64_t t) {
    int64_t y;
    mlc_step_eval(q, s, &t, 1, &y);
    return y;
}

static mlc_steps new_steps(mlc_quant *q, int64_t n) {
    mlc_steps s = {.n = n,
                   .k = MLC_NEW_ARRAY(q->arena, n + 1, int64_t),
                   .below = MLC_NEW_ARRAY(q->arena, n + 1, int64_t),
                   .at = MLC_NEW_ARRAY(q->arena, n + 1, int64_t)};
    return s;
}

/* All values of a short interval; falls anywhere: not rising. */
static void scan_all(mlc_quant *q, mlc_scan *s) {
    int64_t n = s->hi - s->lo + 1, *t = MLC_NEW_ARRAY(q->arena, n, int64_t), at = 0;
    s->all = MLC_NEW_ARRAY(q->arena, n, int64_t);
    for (int64_t i = 0; i < n; i++)
        t[i] = s->lo + i;
    mlc_step_eval(q, s, t, n, s->all);
    s->first = s->all[0];
    s->last = s->all[n - 1];
    s->rising = s->last - s->first <= MOST_STEPS;
    for (int64_t i = 1; i < n; i++)
        s->rising = s->rising && s->all[i - 1] <= s->all[i];
    if (!s->rising)
        return;
    s->steps = new_steps(q, s->last - s->first);
    for (int64_t i = 1; i < n; i++)
        for (int64_t k = s->all[i - 1] + 1; k <= s->all[i]; k++, at++) {
            s->steps.k[at] = k;
            s->steps.at[at] = s->lo + i;
            s->steps.below[at] = s->lo + i - 1;
        }
}

/* One round for all steps whose place is not settled: probes the middle of (below, at). */
static bool bisect(mlc_quant *q, const mlc_scan *s, mlc_steps *steps, const int64_t *guess, int64_t *t,
                   int64_t *y, int64_t *which) {
    int64_t n = 0;
    for (int64_t i = 0; i < steps->n; i++) {
        int64_t below = steps->below[i], at = steps->at[i];
        if ((mlc_int128)at - below <= 1)
            continue;
        int64_t mid = guess ? guess[i] : (int64_t)(((mlc_int128)below + at) / 2);
        if (mid <= below || mid >= at)
            mid = (int64_t)(((mlc_int128)below + at) >> 1);
        which[n] = i;
        t[n++] = mid;
    }
    mlc_step_eval(q, s, t, n, y);
    for (int64_t j = 0; j < n; j++) {
        if (y[j] >= steps->k[which[j]])
            steps->at[which[j]] = t[j];
        else
            steps->below[which[j]] = t[j];
    }
    return n > 0;
}

/* Where the steps would be on a line through the ends of those that are settled, give or take `reach`. */
static void line(const mlc_steps *s, int64_t reach, int64_t *guess) {
    int64_t a = 0, b = s->n - 1;
    double run = (double)s->at[b] - (double)s->at[a], rise = (double)(s->k[b] - s->k[a]);
    for (int64_t i = 0; i < s->n; i++) {
        double x = (double)s->at[a] + run * (rise > 0 ? (double)(s->k[i] - s->k[a]) / rise : 0);
        guess[i] = (int64_t)x + reach;
    }
}

/* A rising chain over a long interval: every step is bracketed by bisection. */
static void scan_steps(mlc_quant *q, mlc_scan *s) {
    int64_t n = s->last - s->first;
    s->rising = true;
    s->steps = new_steps(q, n);
    int64_t *t = MLC_NEW_ARRAY(q->arena, n + 1, int64_t), *y = MLC_NEW_ARRAY(q->arena, n + 1, int64_t),
            *which = MLC_NEW_ARRAY(q->arena, n + 1, int64_t),
            *guess = MLC_NEW_ARRAY(q->arena, n + 1, int64_t);
    for (int64_t i = 0; i < n; i++) {
        s->steps.k[i] = s->first + 1 + i;
        s->steps.below[i] = s->lo;
        s->steps.at[i] = s->hi;
    }
    /* The first and the last step, then a guess on the line between them. */
    for (int64_t i = 0; i < n; i += n > 1 ? n - 1 : 1) {
        mlc_steps one = {1, s->steps.k + i, s->steps.below + i, s->steps.at + i};
        while (bisect(q, s, &one, NULL, t, y, which))
            ;
    }
    static const int reach[] = {-1, 2, -8, 9, -64, 65, -512, 513};
    for (size_t r = 0; r < sizeof reach / sizeof reach[0] && n > 2; r++) {
        line(&s->steps, reach[r], guess);
        bisect(q, s, &s->steps, guess, t, y, which);
    }
    while (bisect(q, s, &s->steps, NULL, t, y, which))
        ;
}

bool mlc_scan_chain(mlc_quant *q, mlc_scan *s) {
    s->sign = 1;
    if (s->lo < -FARTHEST || s->hi > FARTHEST)
        return false;
    if (s->chain->direction < 0) {
        int64_t lo = s->lo;
        s->sign = -1;
        s->lo = -s->hi;
        s->hi = -lo;
    }
    if (s->hi - s->lo < SHORT || (s->chain->direction == 0 && s->hi - s->lo < LONGEST_TABLE)) {
        scan_all(q, s);
        return true;
    }
    if (s->chain->direction == 0)
        return false;
    s->first = value_at(q, s, s->lo);
    s->last = value_at(q, s, s->hi);
    if (s->last < s->first || s->last - s->first > MOST_STEPS)
        return false;
    scan_steps(q, s);
    return true;
}
