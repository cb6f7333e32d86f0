#ifndef MLC_OPT_SEARCH_H
#define MLC_OPT_SEARCH_H

#include "mlc/pass.h"
#include "mlc/rng.h"

/* The inputs that --certify tries: random ones, and changes of the worst so far. */
typedef struct opt_search {
    const mlc_graph *model, *integer; /* SHAPED, INTEGER */
    mlc_rng rng;
    bool exact; /* float inputs are of type DOUBLE */
    mlc_tensor *
        *worst;    /* of each output: inputs that are worst for it, one array after the other; NULL: none */
    double *score; /* of each output: how bad these are; 0: none yet */
} opt_search;

void opt_search_begin(opt_search *s, const mlc_graph *model, const mlc_graph *integer, uint64_t seed);

/* Inputs number `n` of a run, one for each graph input. Arena-allocated. */
mlc_tensor **opt_search_next(opt_search *s, mlc_arena *arena, int64_t n);

/* To be told of each: score[k] says how far output k was off. */
void opt_search_note(opt_search *s, mlc_tensor *const *inputs, const double *score);

#endif
