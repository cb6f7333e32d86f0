#ifndef MLC_STEP_FIND_H
#define MLC_STEP_FIND_H

#include "StepFit.h"

#include "mlc/form.h"

/*
 * A chain of integer results over [lo, hi] of t = sign * x. A falling chain is
 * looked at with sign -1, so that it rises in t.
 */
typedef struct mlc_scan {
    const mlc_chain *chain;
    int64_t lo, hi;
    int sign;
    int64_t first, last; /* results at lo and hi */
    bool rising;
    mlc_steps steps; /* if rising: every step from first to last */
    int64_t *all;    /* every result, where the interval is short; else NULL */
} mlc_scan;

/* Fills in all but chain, lo and hi (of x), which become those of t. False: the
 * chain is not monotone over a long interval, or has too many steps. */
bool mlc_scan_chain(mlc_quant *q, mlc_scan *s);

/* Results for n values of t. */
void mlc_step_eval(mlc_quant *q, const mlc_scan *s, const int64_t *t, int64_t n, int64_t *out);

#endif
