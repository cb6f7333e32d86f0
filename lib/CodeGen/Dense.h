#ifndef MLC_CODEGEN_DENSE_H
#define MLC_CODEGEN_DENSE_H

#include "Ops/IntLower.h"
#include "Pattern.h"

/*
 * How a dense layer is computed in loops. Its accumulators hold several outputs in
 * lanes (Ops/IntLower.h). More inputs make wider lanes, so long sums are cut into
 * chunks where that gains a lane: the lanes of each chunk are added up in memory.
 */
typedef struct mlc_dense {
    const mlc_node *node;       /* Linear */
    const mlc_node *requantize; /* what follows it; NULL: none */
    int shift;                  /* its shift, where it is the same for all outputs */
    int shift_column;           /* the column of the pattern that holds it where it differs; else -1 */
    const int64_t *w, *bias;    /* [N,K] and [N]; scaled to a common shift, where that is no wider */
    mlc_pattern *pattern;
    mlc_place x;                   /* of the inputs */
    int64_t rows, outputs, inputs; /* M, N, K */
    int lanes, width;              /* bits */
    int64_t n_chunks, *chunk;      /* chunk i is inputs [chunk[i], chunk[i + 1]) */
    int64_t *low;                  /* [chunk][output]: a lane holds a chunk's sum less this; one lane: 0 */
    bool direct;                   /* with a Requantize: bits of the lane index the table from all_low on */
    int64_t all_low; /* what to add to the lanes of all chunks for the sum; with a Requantize, for
                        the sum less the table's beginning */
    int low_column;  /* the column of the pattern that holds it where it differs; else -1 */
} mlc_dense;

/* Blocks of equal shape: `count` of them from output `first` on. Their words are
 * [block][chunk][start, then the inputs of the chunk][sum]. */
typedef struct mlc_dense_run {
    int64_t first, count;
    int outputs, sums; /* of each block */
    LLVMValueRef words;
    int64_t stride; /* words of one block */
} mlc_dense_run;

/* The node behind `linear` in the chain that computes node's value in place, where it
 * is a Requantize that can be part of the loop; else `linear`. */
const mlc_node *mlc_dense_bottom(const mlc_lower *l, const mlc_node *node, const mlc_node *linear);
/* p->bottom is mlc_dense_bottom. */
mlc_dense mlc_dense_plan(mlc_lower *l, mlc_pattern *p, const mlc_node *linear);
mlc_dense_run mlc_dense_run_of(const mlc_dense *d, int64_t first, int64_t count, int outputs);
/* Sets r->words, with room for so many blocks behind them. */
void mlc_dense_emit_words(mlc_lower *l, const mlc_dense *d, mlc_dense_run *r, int64_t behind);

#endif
