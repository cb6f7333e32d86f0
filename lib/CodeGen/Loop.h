#ifndef MLC_CODEGEN_LOOP_H
#define MLC_CODEGEN_LOOP_H

#include "Lowering.h"

/*
 * Loops with a constant number of rounds:
 *
 *   mlc_loop loop = {.count = 8};
 *   int sum = mlc_loop_carry(&loop, zero)   ;      before the loop: its start
 *   mlc_loop_begin(l, &loop);
 *   ... loop.at is the round, loop.carried[sum] the value of this round;
 *   loop.next[sum] = ...;
 *   mlc_loop_end(l, &loop);                        loop.carried[sum] is the last value
 *
 * One round needs no loop and gets none: `at` is then the constant 0. The verifier
 * walks through every round and knows counter and pointers exactly. Pointers may
 * end up one round behind the memory that they walk through, which has to be there.
 */
enum { MLC_LOOP_CARRIED = 16 };

typedef struct mlc_loop {
    int64_t count; /* at least 1 */
    LLVMValueRef at;
    int n;
    LLVMValueRef carried[MLC_LOOP_CARRIED], next[MLC_LOOP_CARRIED];
    LLVMBasicBlockRef head;
} mlc_loop;

/* To be called before mlc_loop_begin. Returns the index in `carried`. */
int mlc_loop_carry(mlc_loop *loop, LLVMValueRef start);
void mlc_loop_begin(mlc_lower *l, mlc_loop *loop);
void mlc_loop_end(mlc_lower *l, mlc_loop *loop);

/*
 * To be emitted at the beginning of a round, whose counter is given. Without
 * CAP_PERFMON the verifier also follows what a CPU does that mispredicts the end of
 * a loop, with an unknown counter, and that never ends, but at a store to the
 * stack: it puts a speculation barrier behind that. With CAP_PERFMON the store is
 * all there is.
 */
void mlc_loop_fence(mlc_lower *l, LLVMValueRef counter);
/*
 * A pointer for the next round, `bytes` further. LLVM does not see that it is: it would
 * compute pointers from one another or from counters, and without CAP_PERFMON the
 * verifier refuses variable offsets that differ from round to round.
 */
LLVMValueRef mlc_loop_move(mlc_lower *l, LLVMValueRef pointer, int64_t bytes);

#endif
