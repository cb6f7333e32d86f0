#ifndef MLC_OPS_INTLOWER_H
#define MLC_OPS_INTLOWER_H

#include "mlc/lower.h"

/* What the lower functions of the integer ops share. */

/* The element of input k that is broadcast to element i of the output. */
LLVMValueRef mlc_int_lower_operand(mlc_lower *l, const mlc_node *node, int k, int64_t i);

/*
 * a where bit is 1, b where it is 0. Not by a mask: as soon as Linux 6.18 knows
 * that x is -1 or 0, it verifies both outcomes of "x & constant" apart, as if
 * there were a branch.
 */
LLVMValueRef mlc_int_choose_const(mlc_lower *l, LLVMValueRef bit, int64_t a, int64_t b);

/*
 * Dot products with constant weights over the same inputs, accumulated together:
 * an input element is then loaded once for all of them, and where intervals allow
 * one 64-bit multiplication serves several:
 *
 *   sum = x * (w0 + w1 << n + w2 << 2n)       modulo 2^64
 *
 * Output j is lane j % lanes of sum[j / lanes]. A lane holds its output minus the
 * output's lower bound, so every lane ends in [0, 2^n) and the sum of all lanes
 * below 2^64, whatever wraps on the way: extraction is exact.
 */
enum { MLC_INT_SUMS = 4, MLC_INT_LANES = 8 };
typedef struct mlc_int_block {
    const mlc_node *node;
    int n, lanes, width;
    int64_t out[MLC_INT_SUMS * MLC_INT_LANES]; /* flat indices of the outputs */
    LLVMValueRef sum[MLC_INT_SUMS];            /* NULL: nothing added yet */
} mlc_int_block;

/* How many lanes of how many bits the intervals of all outputs of a node allow. */
int mlc_int_lanes(const mlc_node *node, int *width);
/* The block of output `at` of `count`; output number i has flat index first + i*step. */
mlc_int_block mlc_int_block_of(const mlc_node *node, int lanes, int width, int64_t at, int64_t count,
                               int64_t first, int64_t step);
/* Output j += x * c[j] for the whole block; x is input element i of `in`, loaded where any c is not 0. */
void mlc_int_block_add(mlc_lower *l, mlc_int_block *b, const mlc_value *in, int64_t i, const int64_t *c);
/* Output j += x; blocks of one lane. */
void mlc_int_block_add_term(mlc_lower *l, mlc_int_block *b, int j, LLVMValueRef x);
/* Adds c[j] to output j, hands over all outputs but flat index `index`, and returns that one. */
LLVMValueRef mlc_int_block_finish(mlc_lower *l, mlc_int_block *b, const int64_t *c, int64_t index);

/* Estimated BPF instructions of one output of a node with the weights of input 1, [outputs, ...]. */
int64_t mlc_int_cost_weights(const mlc_node *node);

#endif
