#ifndef MLC_CODEGEN_LOOP_H
#define MLC_CODEGEN_LOOP_H

#include "Lowering.h"

/*
 * Loops with a constant number of rounds:
 *
 *   mlc_loop loop = {.count = 8};
 *   int sum = mlc_loop_carry(&loop, zero), p = mlc_loop_carry_pointer(&loop, start, 16);
 *   mlc_loop_begin(l, &loop);
 *   ... loop.carried[sum] is the value of this round, mlc_loop_pointer(&loop, p) is start + 16 * round;
 *   loop.next[sum] = ...;
 *   mlc_loop_end(l, &loop);           loop.carried[sum] is the last value, the pointer start + 16 * 8
 *
 * One round needs no loop and gets none.
 *
 * Kernels before 6.9 get counted loops: the verifier walks through every round and knows counter
 * and pointers exactly. Without CAP_PERFMON it also follows what a CPU does that mispredicts the
 * end of a loop, with an unknown counter, and that never ends, but at a store to the stack: it
 * puts a speculation barrier behind that, of some 7 ns, so each round has one.
 *
 * Newer kernels get `may_goto`: a round is verified once or twice, however many there are, and
 * nothing speculates, as the verifier knows no counter: that waits in the frame, from where the
 * round's number comes as any number below the count. Pointers are computed from it where they
 * are asked for. After 8 million rounds, or 250 ms, the kernel ends the function.
 */
enum { MLC_LOOP_CARRIED = 16, MLC_LOOP_POINTERS = 16 };

/*
 * A place in memory: behind `base` by `offset`, if there is one, and by what rounds of loops around add.
 * All that is added up before it comes to the pointer: to move that twice by numbers that it does not
 * know costs a barrier in the verifier's eyes. Counters wait in the frame, so that places take no registers.
 */
typedef struct mlc_cursor mlc_cursor;
struct mlc_cursor {
    LLVMValueRef base, offset;
    int n;
    struct {
        int slot;
        int64_t reach, count, step;
    } term[MLC_LOOP_SLOTS];
};

/* A pointer there, from where code goes. */
LLVMValueRef mlc_cursor_at(mlc_lower *l, const mlc_cursor *c);
/* l->roll_dst_base, computed where it is first used: that takes a register until then. */
LLVMValueRef mlc_loop_target(mlc_lower *l);

typedef struct mlc_loop {
    int64_t count; /* at least 1 */
    bool loose;    /* reach up to the next power of two, which takes fewer instructions */
    bool counted; /* in any case: where what is looked up in tables makes the verifier follow too many ways */
    int n, n_pointers;
    LLVMValueRef carried[MLC_LOOP_CARRIED], next[MLC_LOOP_CARRIED];
    struct {
        mlc_cursor at;
        int64_t step;
    } pointer[MLC_LOOP_POINTERS];
    LLVMValueRef at; /* counted loops: the round */
    LLVMBasicBlockRef head;
    int slot; /* of the counter in the frame; -1: a counted loop, or none, or ended */
    int64_t reach;
} mlc_loop;

/* To be called before mlc_loop_begin. Returns the index in `carried`. */
int mlc_loop_carry(mlc_loop *loop, LLVMValueRef start);
/* Likewise; moves on by `step` bytes a round, not negative. Returns the index for mlc_loop_pointer. */
int mlc_loop_carry_pointer(mlc_loop *loop, mlc_cursor start, int64_t step);
void mlc_loop_begin(mlc_lower *l, mlc_loop *loop);
void mlc_loop_end(mlc_lower *l, mlc_loop *loop);

/* In a round, and behind the loop. */
mlc_cursor mlc_loop_pointer(const mlc_loop *loop, int k);

/* Whether loops can be `may_goto`s. */
bool mlc_loop_is_free(const mlc_lower *l);
/* How many rounds there can be in the verifier's eyes: memory has to be there for all of them. */
int64_t mlc_loop_reach(const mlc_lower *l, const mlc_loop *loop);

#endif
