#ifndef MLC_COST_H
#define MLC_COST_H

#include <stdbool.h>
#include <stdint.h>

/*
 * The cost model: what BPF instructions cost once the kernel's JIT has made machine
 * code of them. Time is near to linear in what is executed, since code without
 * branches that depend on data keeps the processor's units evenly busy.
 *
 * The constants are the least relative squares of test/Bench/calibrate.py over 49
 * objects of 350 to 106,000 instructions and 15 ns to 113 us, unrolled and as loops,
 * at 32, 8 and 4 bits and ternary, on an Intel Xeon at 3.7 multiplications per ns and
 * Linux 6.18. Estimates are within 5 % for two thirds of the objects and within 16 %
 * for all; a second run moved the constants by up to 15 %. Only ratios matter for
 * choices, and these are those of machines that can multiply once a cycle.
 */
#define MLC_NS_MULTIPLY 0.120
#define MLC_NS_LOAD 0.061  /* that finds a cache, from values, weights and tables alike */
#define MLC_NS_OTHER 0.040 /* additions, shifts, stores; jumps of loops are free */

/* Straight-line code beyond what the cache of instructions holds: for each further
 * instruction (32 KiB, at 4.6 bytes of x86 code each). */
#define MLC_NS_UNCACHED 0.030
enum { MLC_CACHED_INSTRUCTIONS = 7000 };

/* A mean instruction of a dot product: one multiplication, one or two loads, two others. */
#define MLC_NS_MEAN 0.060

/* What loops add, as a share of the same work unrolled. Dense layers: weights that do
 * not share a word so well, ends of blocks (12-32-32-2 20 %, 64-256-128-10 8 %).
 * Convolutions share a body that is unrolled itself (28x28: 3 %). */
#define MLC_LOOP_SHARE_DENSE 0.20

/* What a piece of machine code does in one inference. */
typedef struct mlc_work {
    int64_t code;     /* instructions in the object, as the kernel counts them */
    int64_t executed; /* all of them, of which ... */
    int64_t multiplications, loads, stores, jumps, calls;
    int64_t constants; /* loads from the object's read-only data: packed weights, tables */
    int64_t looped;    /* by instructions that run more than once */
    int64_t aside;     /* in functions that the kernel verifies once */
} mlc_work;

void mlc_work_add(mlc_work *sum, const mlc_work *w);
void mlc_work_subtract(mlc_work *sum, const mlc_work *w);
/* Estimated ns of a part of a program, caches warm; `all` is the whole. */
double mlc_work_ns(const mlc_work *w, const mlc_work *all);
/* Whether a model's dense layers of so many instructions, unrolled, should be loops at
 * an optimization level ('0' to '3' and 's'); and the least of one layer, dense or
 * convolution, that is worth a loop. */
bool mlc_loops_pay(int64_t instructions, char opt_level);
int64_t mlc_least_dense(void);
int64_t mlc_least_conv(char opt_level);

/*
 * Whether outputs share words is decided by instructions: with the costs above, which
 * charge words for their multiplications, ternary networks came out slower (28x28 3 %,
 * 32-128-64-2 5 %), for single sums also cost registers.
 */
/* Adding x * c to a sum: one instruction, or a copy, a shift or multiplication, and one. */
int mlc_product_instructions(int64_t c);
enum { MLC_WORD_INSTRUCTIONS = 3 }; /* the same by a word: a load, a multiplication, an addition */

#endif
