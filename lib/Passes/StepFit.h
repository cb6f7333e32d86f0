#ifndef MLC_STEP_FIT_H
#define MLC_STEP_FIT_H

#include "Quant.h"

/*
 * A rising step function, as what is known of each step: it is below `k` at
 * `below` and has reached `k` at `at`. Where every x counts, at = below + 1.
 */
typedef struct mlc_steps {
    int64_t n;
    int64_t *k, *below, *at; /* k rises */
} mlc_steps;

/* (x * multiplier + addend) >> shift */
typedef struct mlc_fit {
    int64_t multiplier, addend;
    int shift;
} mlc_fit;

/*
 * The smallest shift with which some multiplier and addend are on the right side
 * of every step of all `n` functions, for |x| up to `magnitude` without leaving 62
 * bits. False: there is none.
 */
bool mlc_step_fit(mlc_arena *arena, const mlc_steps *f, int n, int64_t magnitude, mlc_fit *fit);

/* The same where at most `most` places may be wrong by some steps: `f` is changed to
 * what the fit satisfies, its steps being one x later or its beginnings earlier. */
bool mlc_step_fit_except(mlc_arena *arena, mlc_steps *f, int n, int64_t magnitude, int most, mlc_fit *fit);

int64_t mlc_fit_at(const mlc_fit *fit, int64_t x);

#endif
