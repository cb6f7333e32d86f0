#ifndef MLC_CODEGEN_DENSE_H
#define MLC_CODEGEN_DENSE_H

#include "Ops/IntLower.h"
#include "Pattern.h"

/*
 * How a dense layer is computed in loops. Its accumulators hold several outputs in
 * lanes (Ops/IntLower.h). More inputs make wider lanes, so long sums are cut into
 * chunks where that gains a lane: the lanes of each chunk are added up in memory.
 * Where rounds are free (Loop.h), chunks are rounds of a loop, hence of the same size. Of
 * C chunks each has K / C inputs in a row, or every C-th, which may make them less wide;
 * inputs without weights are added where they do not come out even.
 */

/* The form of Requantize that is described in Ops/IntClamp.h, for groups of MLC_INT_CLAMPED outputs. */
typedef struct mlc_dense_limits {
    int64_t most; /* 0: there is a table */
    int bits;     /* of it */
    int *shift;   /* by output, the same in each group of MLC_INT_CLAMPED */
    bool *halved; /* by output: shifted once more */
    bool any_halved;
    int64_t *zero; /* by output: the lane's number that becomes 0 */
} mlc_dense_limits;

/* Bounds of a number. */
typedef struct mlc_dense_range {
    int64_t lo, hi;
} mlc_dense_range;

typedef struct mlc_dense {
    const mlc_node *node;         /* Linear */
    const mlc_node *requantize;   /* what follows it; NULL: none */
    int shift;                    /* its shift, where it is the same for all outputs */
    int shift_column;             /* the column of the pattern that holds it where it differs; else -1 */
    const int64_t *w, *bias;      /* [N,K] and [N]; scaled to a common shift, where that is no wider */
    const mlc_dense_range *range; /* [K]: bounds of the inputs over all rows */
    mlc_pattern *pattern;
    mlc_place x;                   /* of the inputs */
    int64_t rows, outputs, inputs; /* M, N, K */
    bool counted;                  /* loops are (Loop.h) */
    int64_t row;          /* elements from one row of inputs to the next: inputs less what is added */
    int64_t apart;        /* input k + 1 of a chunk is so many elements behind input k */
    int64_t chunk_step;   /* chunk i + 1 begins so many elements behind chunk i; 0: where that one ends */
    int lanes, width;     /* bits */
    const int64_t *slack; /* by output: what a lane needs beyond its sum; NULL: nothing */
    mlc_dense_limits limits;
    int64_t n_chunks, *chunk; /* chunk i is inputs [chunk[i], chunk[i + 1]) */
    int64_t *low;             /* [chunk][output]: a lane holds a chunk's sum less this; one lane: 0 */
    bool direct;              /* with a Requantize: bits of the lane index the table from all_low on */
    int64_t all_low;          /* what to add to the lanes of all chunks for the sum; with a Requantize, for
                                 the sum less the table's beginning */
    int low_column;           /* the column of the pattern that holds it where it differs; else -1 */
} mlc_dense;

/* What each group of limited outputs needs. */
typedef enum mlc_dense_limit {
    MLC_DENSE_SHIFT,
    MLC_DENSE_MASK, /* of what the shift leaves of lanes that are not cut into chunks */
    MLC_DENSE_KEPT, /* masks of the lanes that are left then, and of what another shift leaves of others */
    MLC_DENSE_HALVED,
    MLC_DENSE_START,
    MLC_DENSE_LIMIT,
    MLC_DENSE_LIMITS
} mlc_dense_limit;

/* Blocks of equal shape: `count` of them from output `first` on. The words of a block are
 * [chunk][start, then the inputs of the chunk][sum], and behind them, for outputs that are
 * limited in groups, [group][mlc_dense_limit]. */
typedef struct mlc_dense_run {
    int64_t first, count;
    int outputs, sums, groups; /* of each block */
    LLVMValueRef words;
    int64_t stride; /* words of one block */
} mlc_dense_run;

/* The node behind `linear` in the chain that computes node's value in place, where it
 * is a Requantize that can be part of the loop; else `linear`. */
const mlc_node *mlc_dense_bottom(const mlc_lower *l, const mlc_node *node, const mlc_node *linear);
/* Whether a Requantize behind a rolled Linear can be limited in groups. */
bool mlc_dense_clamps(const mlc_node *requantize, const mlc_node *linear);
/* p->bottom is mlc_dense_bottom. */
mlc_dense mlc_dense_plan(mlc_lower *l, mlc_pattern *p, const mlc_node *linear);
mlc_dense_run mlc_dense_run_of(const mlc_dense *d, int64_t first, int64_t count, int outputs);
/* Sets r->words, with room for so many blocks behind them. */
void mlc_dense_emit_words(mlc_lower *l, const mlc_dense *d, mlc_dense_run *r, int64_t behind);

#endif
