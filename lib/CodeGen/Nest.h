#ifndef MLC_NEST_H
#define MLC_NEST_H

#include "Lowering.h"

/*
 * One piece of code at many positions of two values: it reads `src` and writes
 * `dst`, and from one position to the next of a level both move by so many bytes.
 *
 * The inner levels are a global function, which the kernel verifies once however
 * often it is called:
 *
 *   int mlc_roll_N(u32 src_offset, u32 dst_offset)
 *
 * The offsets lead to the first position of the call. Loops with constant bounds around the code there, and
 * around the calls, take care of all positions: a call costs some 7 ns, and every
 * turn of a loop is verified, so that neither alone would do.
 */
enum { MLC_NEST_LEVELS = 4 };

typedef struct mlc_nest_level {
    int64_t count;    /* positions, at least 1 */
    int64_t src, dst; /* bytes from one to the next, not negative */
} mlc_nest_level;

typedef struct mlc_nest {
    const mlc_value *src, *dst; /* stored values */
    int n;
    mlc_nest_level level[MLC_NEST_LEVELS]; /* outermost first */
} mlc_nest;

/* Adds a level outside the others' inside; false when there are too many. Levels of
 * one position are left out. */
bool mlc_nest_add(mlc_nest *nest, int64_t count, int64_t src, int64_t dst);

/* Emits the nest. `body` emits the code for the first position, `cost` is its
 * estimated instructions. Meanwhile mlc_l_input of `src` and stores of `dst` go to
 * the position at hand. */
void mlc_nest_emit(mlc_lower *l, const mlc_nest *nest, int line, int64_t cost,
                   void (*body)(mlc_lower *l, const void *user), const void *user);

#endif
