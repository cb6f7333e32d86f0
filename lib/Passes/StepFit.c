/*
 * Fits (x*m + a) >> s to a step function. At step k this asks
 *
 *     m*at + a >= k << s      and      m*below + a < k << s,
 *
 * a line above some points (at, k) and under others (below, k): only the corners of
 * their convex hulls matter. For a given m the possible addends are an interval
 * whose width is a concave function of m, so that the widest is found by ternary
 * search. Everything is computed exactly in 128 bits.
 */
#include "StepFit.h"

#include <stdlib.h>

typedef struct point {
    int64_t x, k;
} point;

typedef struct hull {
    point *p;
    int64_t n;
} hull;

static int by_x(const void *a, const void *b) {
    const point *p = a, *r = b;
    if (p->x != r->x)
        return p->x < r->x ? -1 : 1;
    return p->k < r->k ? -1 : p->k > r->k;
}

/* Twice the signed area of a, b, c. */
static mlc_int128 turn(point a, point b, point c) {
    return ((mlc_int128)b.x - a.x) * (c.k - a.k) - (mlc_int128)(b.k - a.k) * ((mlc_int128)c.x - a.x);
}

/* The upper (side 1) or lower (side -1) hull of n points, in place. */
static hull hull_of(point *p, int64_t n, int side) {
    qsort(p, (size_t)n, sizeof *p, by_x);
    int64_t m = 0;
    for (int64_t i = 0; i < n; i++) {
        if (m && p[m - 1].x == p[i].x) { /* of one x the outer one */
            if (side < 0)
                continue;
            m--;
        }
        point next = p[i];
        while (m > 1 && turn(p[m - 2], p[m - 1], next) * side >= 0)
            m--;
        p[m++] = next;
    }
    return (hull){p, m};
}

typedef struct problem {
    hull above, under; /* points the line must be above or on, and below */
    int shift;
} problem;

/* The addends that fit multiplier m: [lo, hi], empty when lo > hi; and the points that say so. */
typedef struct addends {
    mlc_int128 lo, hi;
    int64_t above, under;
} addends;

static addends addends_of(const problem *p, int64_t m) {
    const mlc_int128 unit = (mlc_int128)1 << p->shift;
    addends r = {.above = -1, .under = -1};
    for (int64_t i = 0; i < p->above.n; i++) {
        mlc_int128 a = p->above.p[i].k * unit - (mlc_int128)m * p->above.p[i].x;
        if (r.above < 0 || a > r.lo) {
            r.lo = a;
            r.above = i;
        }
    }
    for (int64_t i = 0; i < p->under.n; i++) {
        mlc_int128 a = p->under.p[i].k * unit - (mlc_int128)m * p->under.p[i].x - 1;
        if (r.under < 0 || a < r.hi) {
            r.hi = a;
            r.under = i;
        }
    }
    return r;
}

static mlc_int128 width(const problem *p, int64_t m) {
    addends a = addends_of(p, m);
    return a.hi - a.lo;
}

/* A multiplier in [lo, hi] that leaves an addend, or if there is none the one that comes closest. */
static int64_t search(const problem *p, int64_t lo, int64_t hi) {
    while (hi - lo > 3) {
        int64_t a = lo + (hi - lo) / 3, b = hi - (hi - lo) / 3;
        mlc_int128 at_a = width(p, a), at_b = width(p, b);
        if (at_a >= 0 || at_b >= 0)
            return at_a >= at_b ? a : b;
        if (at_a < at_b)
            lo = a + 1;
        else
            hi = b - 1;
    }
    int64_t best = lo;
    for (int64_t m = lo + 1; m <= hi; m++)
        if (width(p, m) > width(p, best))
            best = m;
    return best;
}

/* The slopes that the first and last steps leave: [lo, hi] at this shift. */
static void slopes(const problem *p, int64_t most, int64_t *lo, int64_t *hi) {
    *lo = 1;
    *hi = most;
    for (int64_t i = 0; i < 2; i++) {
        point a = p->above.p[i ? p->above.n - 1 : 0], u = p->under.p[i ? 0 : p->under.n - 1];
        mlc_int128 rise = (u.k - a.k) * ((mlc_int128)1 << p->shift), run = (mlc_int128)u.x - a.x;
        if (run == 0)
            continue;
        mlc_int128 q = rise / run;
        if (run > 0 && q < *hi) /* m*run < rise */
            *hi = q < 0 ? 0 : (int64_t)q;
        if (run < 0 && q > *lo) /* m > rise/run, both negative */
            *lo = q > most ? most : (int64_t)q;
    }
}

static problem problem_of(mlc_arena *arena, const mlc_steps *f, int n) {
    int64_t total = 0, count = 0;
    for (int i = 0; i < n; i++)
        total += f[i].n;
    point *above = MLC_NEW_ARRAY(arena, total + 1, point), *under = MLC_NEW_ARRAY(arena, total + 1, point);
    for (int i = 0; i < n; i++)
        for (int64_t j = 0; j < f[i].n; j++, count++) {
            above[count] = (point){f[i].at[j], f[i].k[j]};
            under[count] = (point){f[i].below[j], f[i].k[j]};
        }
    return (problem){hull_of(above, total, 1), hull_of(under, total, -1), 0};
}

static const mlc_int128 limit = (mlc_int128)1 << MLC_ACCUMULATOR_BITS;

/* The smallest shift that has a fit. *closest is the multiplier that came closest at the largest shift, -1:
 * none. */
static bool solve(problem *p, int64_t magnitude, mlc_fit *fit, int64_t *closest) {
    int tried = 0;
    *closest = -1;
    if (p->above.n == 0)
        return false;
    for (p->shift = 0; p->shift < MLC_ACCUMULATOR_BITS; p->shift++) {
        int64_t lo, hi;
        slopes(p, (int64_t)((limit - 1) / (magnitude > 0 ? magnitude : 1)), &lo, &hi);
        if (lo > hi)
            continue;
        int64_t m = search(p, lo, hi);
        addends r = addends_of(p, m);
        mlc_int128 a = r.lo + (r.hi - r.lo) / 2;
        if ((a < 0 ? -a : a) + (mlc_int128)m * magnitude >= limit)
            break;
        if (r.lo <= r.hi) {
            *fit = (mlc_fit){m, (int64_t)a, p->shift};
            return true;
        }
        *closest = m;
        tried = p->shift;
    }
    p->shift = tried;
    return false;
}

bool mlc_step_fit(mlc_arena *arena, const mlc_steps *f, int n, int64_t magnitude, mlc_fit *fit) {
    mlc_arena_mark mark = mlc_arena_save(arena);
    problem p = problem_of(arena, f, n);
    int64_t closest;
    bool ok = solve(&p, magnitude, fit, &closest);
    mlc_arena_restore(arena, mark);
    return ok;
}

/* Moves the step of point `where` out of the way, by one x. */
static void relax(mlc_steps *f, int n, point where, bool above) {
    for (int i = 0; i < n; i++)
        for (int64_t j = 0; j < f[i].n; j++) {
            if (f[i].k[j] != where.k)
                continue;
            if (above && f[i].at[j] == where.x)
                f[i].at[j]++;
            if (!above && f[i].below[j] == where.x)
                f[i].below[j]--;
        }
}

bool mlc_step_fit_except(mlc_arena *arena, mlc_steps *f, int n, int64_t magnitude, int most, mlc_fit *fit) {
    for (int i = 0; i <= most; i++) {
        mlc_arena_mark mark = mlc_arena_save(arena);
        problem p = problem_of(arena, f, n);
        int64_t m;
        bool ok = solve(&p, magnitude, fit, &m);
        if (ok || m < 0 || i == most) {
            mlc_arena_restore(arena, mark);
            return ok;
        }
        /* Of the two points in each other's way, the one whose neighbours leave more room gives way. */
        const mlc_int128 unit = (mlc_int128)1 << p.shift;
        addends r = addends_of(&p, m);
        point above = p.above.p[r.above], under = p.under.p[r.under];
        int64_t room_above = INT64_MAX, room_under = INT64_MAX;
        for (int c = 0; c < n; c++)
            for (int64_t j = 0; j < f[c].n; j++) {
                mlc_int128 a = f[c].k[j] * unit - (mlc_int128)m * f[c].at[j],
                           u = f[c].k[j] * unit - (mlc_int128)m * f[c].below[j] - 1;
                if ((f[c].at[j] != above.x || f[c].k[j] != above.k) && r.hi - a < room_above)
                    room_above = r.hi - a < INT64_MIN ? INT64_MIN : (int64_t)(r.hi - a);
                if ((f[c].below[j] != under.x || f[c].k[j] != under.k) && u - r.lo < room_under)
                    room_under = u - r.lo < INT64_MIN ? INT64_MIN : (int64_t)(u - r.lo);
            }
        mlc_arena_restore(arena, mark);
        relax(f, n, room_above >= room_under ? above : under, room_above >= room_under);
    }
    return false;
}

int64_t mlc_fit_at(const mlc_fit *fit, int64_t x) {
    return (int64_t)(((mlc_int128)x * fit->multiplier + fit->addend) >> fit->shift);
}
