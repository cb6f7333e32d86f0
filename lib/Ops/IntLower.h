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
 * Up to four neighbouring elements of an output, accumulated together: an input
 * element is then loaded once for all of them.
 */
typedef struct mlc_int_block {
    int64_t first; /* flat index into the output */
    int n;
    LLVMValueRef sum[4]; /* NULL: nothing added yet */
} mlc_int_block;

/* The block that holds `index` when output elements [start, start + count) are
 * cut into blocks of four. */
mlc_int_block mlc_int_block_of(int64_t index, int64_t start, int64_t count);
/* sum[j] += x * c */
void mlc_int_block_add(mlc_lower *l, mlc_int_block *b, int j, LLVMValueRef x, int64_t c);
void mlc_int_block_add_const(mlc_lower *l, mlc_int_block *b, int j, int64_t c);
/* sum[j] += x */
void mlc_int_block_add_term(mlc_lower *l, mlc_int_block *b, int j, LLVMValueRef x);
/* Hands over all elements but `index`, and returns that one. */
LLVMValueRef mlc_int_block_finish(mlc_lower *l, const mlc_node *node, const mlc_int_block *b, int64_t index);

/* Estimated BPF instructions of one multiplication and addition for every weight. */
int64_t mlc_int_cost_weights(const mlc_tensor *w);

#endif
