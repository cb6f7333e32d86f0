#ifndef MLC_OPS_INTLOWER_H
#define MLC_OPS_INTLOWER_H

#include "IntPacking.h"
#include "mlc/lower.h"

/* What the lower functions of the integer ops share. */

/* The element of input k that is broadcast to element i of the output. */
LLVMValueRef mlc_int_lower_operand(mlc_lower *l, const mlc_node *node, int k, int64_t i);

/* A binary operation on operands 0 and 1, the first of which is computed first. */
LLVMValueRef mlc_int_lower_binary(mlc_lower *l, const mlc_node *node, int64_t i,
                                  LLVMValueRef (*build)(mlc_lower *l, LLVMValueRef a, LLVMValueRef b));

/*
 * a where bit is 1, b where it is 0. Not by a mask: as soon as Linux 6.18 knows
 * that x is -1 or 0, it verifies both outcomes of "x & constant" apart, as if
 * there were a branch.
 */
LLVMValueRef mlc_int_choose_const(mlc_lower *l, LLVMValueRef bit, int64_t a, int64_t b);

/* x * c, c in the instruction or loaded. */
LLVMValueRef mlc_int_lower_product(mlc_lower *l, LLVMValueRef x, int64_t c);

/*
 * Dot products over the same inputs, accumulated together: an input element is
 * then loaded once for all of them, and one 64-bit multiplication serves all
 * outputs that share a word (IntPacking.h):
 *
 *   sum = x * (w0 + w1 << at1 + w2 << at2)       modulo 2^64
 *
 * A lane holds its output less `low`, so every lane ends in [0, 2^width) and the
 * sum of all lanes below 2^64, whatever wraps on the way: extraction is exact.
 */
enum { MLC_INT_WORDS = 4 };
typedef struct mlc_int_block {
    const mlc_node *node;
    int n, words;
    int first[MLC_INT_WORDS + 1];                   /* outputs of word k: [first[k], first[k + 1]) */
    int64_t channel[MLC_INT_WORDS * MLC_INT_LANES]; /* of each output */
    int64_t out[MLC_INT_WORDS * MLC_INT_LANES];     /* its flat index */
    int at[MLC_INT_WORDS * MLC_INT_LANES];          /* where products are added to it */
    mlc_lane lane[MLC_INT_WORDS * MLC_INT_LANES];   /* where it is in the end; width 0: it is the word */
    LLVMValueRef sum[MLC_INT_WORDS];                /* NULL: nothing added yet */
    LLVMValueRef wide[MLC_INT_WORDS][2];            /* sums of chunks, of even and of odd lanes */
} mlc_int_block;

/*
 * The block that `channel` is in; the output of channel c has flat index base + c
 * * step. Only channels of the same `group` channels read the same inputs.
 */
mlc_int_block mlc_int_block_of(const mlc_node *node, int64_t channel, int64_t group, int64_t channels,
                               int64_t base, int64_t step);
/* Numbers the words that the block's outputs are left in: that of output j. */
int mlc_int_block_word(const mlc_int_block *b, int j);
/* Output j += x * c[j] for the whole block; x is input element i of `in`, loaded where any c is not 0. */
void mlc_int_block_add(mlc_lower *l, mlc_int_block *b, const mlc_value *in, int64_t i, const int64_t *c);
/* Output j += x; blocks without packing. */
void mlc_int_block_add_term(mlc_lower *l, mlc_int_block *b, int j, LLVMValueRef x);
/* Adds c[j] to output j of words that are cut into chunks: a chunk is then complete. */
void mlc_int_block_end_chunk(mlc_lower *l, mlc_int_block *b, const int64_t *c);
/* Adds c[j] to output j of words that are not: the sums are then complete. */
void mlc_int_block_close(mlc_lower *l, mlc_int_block *b, const int64_t *c);
/* The larger of each output in two closed blocks of a node; its words of several lanes have
 * the attribute `lane`. */
void mlc_int_block_max(mlc_lower *l, mlc_int_block *b, const mlc_int_block *other);
/* Hands over all outputs of a closed block. */
void mlc_int_block_finish(mlc_lower *l, mlc_int_block *b);

#endif
