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

/* An element of node->out[0] that the node's lower function computed; the next
 * request for it in the same function takes it from here. */
void mlc_l_also(mlc_lower *l, const mlc_node *node, int64_t i, LLVMValueRef x);

/* Elements [i, i + n) of node->out[0], one after the other as they lie in memory, which they do
 * (mlc_l_stored_width); i is a multiple of n, a power of two. The node's lower function returns NULL. */
void mlc_l_also_word(mlc_lower *l, const mlc_node *node, int64_t i, int n, LLVMValueRef word);
/* Bytes of an element of v in memory; 0: it is computed in place. */
int mlc_l_stored_width(const mlc_lower *l, const mlc_value *v);
/* Elements of v in a 64-bit word of memory, the first in its lowest bits: 2, 4 or 8, and none is negative.
 * 0: there are no such words, or it is not to be optimized that far. */
int mlc_l_word_elements(const mlc_lower *l, const mlc_value *v);
/* The word of elements [i, i + mlc_l_word_elements), which exist; i is a multiple of that. */
LLVMValueRef mlc_l_input_word(mlc_lower *l, const mlc_value *v, int64_t i);

/* A number, less `low`, in bits [at, at + width) of a word; all bits above are 0 where `top`. */
typedef struct mlc_lane {
    LLVMValueRef word;
    int at, width; /* 1 <= width <= 64 - at */
    bool top;
    int64_t low;
} mlc_lane;
/* As mlc_l_also, for an element inside a word; it is extracted where it is asked for. */
void mlc_l_also_lane(mlc_lower *l, const mlc_node *node, int64_t i, const mlc_lane *lane);
/* As mlc_l_input, but an element that is inside a word is left there: then NULL is
 * returned, and *lane says where it is. */
LLVMValueRef mlc_l_input_lane(mlc_lower *l, const mlc_value *v, int64_t i, mlc_lane *lane);
/* Whether element i of v is inside a word already: *lane says where it is, and it stays there. */
bool mlc_l_peek_lane(mlc_lower *l, const mlc_value *v, int64_t i, mlc_lane *lane);
/* The number that the lane holds. */
LLVMValueRef mlc_l_lane(mlc_lower *l, const mlc_lane *lane);
/* Bits [first, width) of the lane. */
LLVMValueRef mlc_l_lane_bits(mlc_lower *l, const mlc_lane *lane, int first);

LLVMValueRef mlc_l_const(mlc_lower *l, int64_t x);
LLVMValueRef mlc_l_add(mlc_lower *l, LLVMValueRef a, LLVMValueRef b);
/* x + c in instructions that hold the constant; NULL: it is too large. */
LLVMValueRef mlc_l_add_immediate(mlc_lower *l, LLVMValueRef x, int64_t c);
LLVMValueRef mlc_l_sub(mlc_lower *l, LLVMValueRef a, LLVMValueRef b);
LLVMValueRef mlc_l_mul(mlc_lower *l, LLVMValueRef a, LLVMValueRef b);
/* x * c: nothing for 1, an addition chain or shift where that is cheaper. */
LLVMValueRef mlc_l_mul_const(mlc_lower *l, LLVMValueRef x, int64_t c);
/* A constant that is loaded from memory: for those that fit no immediate of 32 bits. */
LLVMValueRef mlc_l_pooled(mlc_lower *l, int64_t c);
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

/* x, of which LLVM then knows nothing. */
LLVMValueRef mlc_l_opaque(mlc_lower *l, LLVMValueRef x);
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
/* table[first + index], where index < 2^bits is evident from the code that computes it;
 * first + 2^bits <= 2n, and the last entry repeats behind the n-th. */
LLVMValueRef mlc_l_table_at(mlc_lower *l, const int64_t *table, int64_t n, int64_t first, int bits,
                            LLVMValueRef index);

#endif
