#ifndef MLC_CODEGEN_DENSESUMS_H
#define MLC_CODEGEN_DENSESUMS_H

#include "Dense.h"

/* The sums of one block of a rolled dense layer (RollLinear.c), and what becomes of them. */

/* So many bytes behind a place. */
typedef struct mlc_dense_place {
    mlc_cursor at;
    LLVMValueRef pointer; /* to `at`; NULL: not yet computed */
    int64_t plus;
} mlc_dense_place;

/* Where a block reads: the next input of a chunk and the next word. */
typedef struct mlc_dense_cursor {
    mlc_dense_place x, w;
} mlc_dense_cursor;

mlc_loop mlc_dense_loop(const mlc_dense *d, int64_t count);
/* A loop that moves on by so many bytes a round. */
void mlc_dense_carry(mlc_loop *loop, const mlc_dense_cursor *c, int64_t x_step, int64_t w_step);
/* In a round, and behind the loop. */
mlc_dense_cursor mlc_dense_carried(const mlc_loop *loop, const mlc_dense_cursor *c);
/* Less what is behind it. */
LLVMValueRef mlc_dense_pointer(mlc_lower *l, mlc_dense_place *p);

/* All sums of a block: sum[], or where there are several chunks, in the frame. */
void mlc_dense_emit_sums(mlc_lower *l, const mlc_dense *d, int sums, mlc_dense_cursor *c, LLVMValueRef *sum);
/*
 * Whether the last of several chunks is left out there. It is computed one word after the other,
 * each with the outputs in it: nothing waits then for what becomes of outputs, but the last ones.
 */
bool mlc_dense_ends_by_word(const mlc_dense *d);
/* That chunk's sum a of so many; c is where it begins. */
LLVMValueRef mlc_dense_emit_word(mlc_lower *l, const mlc_dense *d, int sums, int a,
                                 const mlc_dense_cursor *c);
/* The first byte of the even (k = 2a) or odd lanes of sum a there. */
int64_t mlc_dense_wide_offset(const mlc_lower *l, int k);
/* Stores the outputs of a block, whose first is the element at hand of the pattern; c is behind what
 * mlc_dense_emit_sums read. */
void mlc_dense_emit_outputs(mlc_lower *l, const mlc_dense *d, const mlc_dense_run *r, mlc_dense_cursor *c,
                            LLVMValueRef *sum);

#endif
