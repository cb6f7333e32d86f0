#ifndef MLC_LOWER_H
#define MLC_LOWER_H

#include "mlc/op.h"

#include <llvm-c/Core.h>

/*
 * Lowering of integer nodes to LLVM IR. Everything is an i64 in a register; a
 * value that is read more than once lives in memory in the narrowest type that
 * its interval allows. The driver decides what is materialized and walks it
 * element by element; an op's lower function emits one element and asks for
 * elements of its inputs with mlc_l_input, which loads them, folds constants, or
 * computes them in place.
 *
 * All arithmetic wraps in the IR (no nsw, nuw, exact, inbounds): the intervals
 * prove that it does not, and nothing tells LLVM more than is proved. There is no
 * data-dependent branch: BPF has no select, and LLVM turns compare-and-select
 * into a branch, which makes the verifier explore both ways. Hence masks, kept
 * opaque by an empty asm statement.
 */

/* Element i of v as an i64. */
LLVMValueRef mlc_l_input(mlc_lower *l, const mlc_value *v, int64_t i);

/* An element of node->out[0] that was computed beside the one asked for; the
 * next mlc_l_input of it in the same block takes it from here. */
void mlc_l_also(mlc_lower *l, const mlc_node *node, int64_t i, LLVMValueRef x);

LLVMValueRef mlc_l_const(mlc_lower *l, int64_t x);
LLVMValueRef mlc_l_add(mlc_lower *l, LLVMValueRef a, LLVMValueRef b);
LLVMValueRef mlc_l_sub(mlc_lower *l, LLVMValueRef a, LLVMValueRef b);
LLVMValueRef mlc_l_mul(mlc_lower *l, LLVMValueRef a, LLVMValueRef b);
/* x * c: nothing for 1, an addition chain or shift where that is cheaper. */
LLVMValueRef mlc_l_mul_const(mlc_lower *l, LLVMValueRef x, int64_t c);
LLVMValueRef mlc_l_shl(mlc_lower *l, LLVMValueRef x, int bits);  /* 0..63 */
LLVMValueRef mlc_l_ashr(mlc_lower *l, LLVMValueRef x, int bits); /* 0..63, floor */
LLVMValueRef mlc_l_lshr(mlc_lower *l, LLVMValueRef x, int bits); /* 0..63 */
/* As mlc_l_ashr by a value that is proved to be in 0..63. */
LLVMValueRef mlc_l_ashr_var(mlc_lower *l, LLVMValueRef x, LLVMValueRef bits);
LLVMValueRef mlc_l_and(mlc_lower *l, LLVMValueRef a, LLVMValueRef b);
LLVMValueRef mlc_l_or(mlc_lower *l, LLVMValueRef a, LLVMValueRef b);
LLVMValueRef mlc_l_xor(mlc_lower *l, LLVMValueRef a, LLVMValueRef b);
/* Unsigned; the divisor is proved to be at least 1. */
LLVMValueRef mlc_l_udiv(mlc_lower *l, LLVMValueRef a, LLVMValueRef b);

/* All ones where x < 0, else 0; opaque to the optimizer. */
LLVMValueRef mlc_l_sign_mask(mlc_lower *l, LLVMValueRef x);
/* 1 where x < 0, else 0. */
LLVMValueRef mlc_l_is_negative(mlc_lower *l, LLVMValueRef x);
/* mask is all ones or 0: a where ones, else b. */
LLVMValueRef mlc_l_select(mlc_lower *l, LLVMValueRef mask, LLVMValueRef a, LLVMValueRef b);
/* b - a must fit int64. */
LLVMValueRef mlc_l_max(mlc_lower *l, LLVMValueRef a, LLVMValueRef b);
LLVMValueRef mlc_l_min(mlc_lower *l, LLVMValueRef a, LLVMValueRef b);

/* table[index] of a read-only table of n entries. 0 <= index < n is proved by the
 * intervals; the emitted code makes it evident to the kernel's verifier. */
LLVMValueRef mlc_l_table(mlc_lower *l, const int64_t *table, int64_t n, LLVMValueRef index);

#endif
