#ifndef MLC_OPS_INTCLAMP_H
#define MLC_OPS_INTCLAMP_H

#include "IntLower.h"

/*
 * Requantize of neighbouring outputs at once, where all that the table does to a number
 * is to subtract and to limit:
 *
 *   y = min(max((x >> shift) - zero, 0), most)
 *
 * The outputs come out of their lanes into one word, as they lie in memory. With t the
 * lanes of x >> shift and one a 1 in each lane,
 *
 *   reached = (t - zero + half) / half & one               1: t is not less than zero
 *   above = (t - zero - most - 1 + half) / half & one      1: t is above the limit
 *   y = (t - zero & (reached - above) * ones) + above * most
 *
 * half being the highest bit of a lane and ones all bits of `most`.
 *
 * That takes no load that depends on data, which without CAP_PERFMON costs as much
 * again, and no memory for the table.
 */
enum { MLC_INT_CLAMPED = 4 }; /* most outputs: lanes have at least 16 bits */

/* Where an output is: `source` numbers the words, any way. */
typedef struct mlc_int_laid {
    mlc_lane lane;
    int source;
} mlc_int_laid;

typedef struct mlc_int_clamp {
    int n, pitch;               /* outputs, and bits of each in the result */
    int64_t most;               /* the largest result */
    int bits;                   /* of it */
    bool below, above;          /* whether a number may be */
    uint64_t start, limit, one; /* what is added for `below` and for `above`; 1 in each lane */
    int groups;                 /* lanes that are moved together, from a word to the right by so many bits */
    struct {
        int source, right;
        uint64_t mask;
    } group[MLC_INT_CLAMPED];
} mlc_int_clamp;

/* The numbers x >> shift of one output: from first to last. */
typedef struct mlc_int_numbers {
    int shift;
    int64_t first, last, zero;
} mlc_int_numbers;

/* The limit of all outputs, where all are nothing but limited and lanes of 64 / MLC_INT_CLAMPED bits have
 * room for that; else 0. */
int64_t mlc_int_clamp_most(const mlc_node *requantize);
/* Of output i, where there is such a limit. */
mlc_int_numbers mlc_int_clamp_numbers(const mlc_node *requantize, int64_t i, int64_t most);

/* Outputs i, i + step, ... n of a Requantize, whose inputs are laid as given. False
 * where the table does something else, or lookups take fewer instructions. */
bool mlc_int_clamp_plan(const mlc_node *requantize, int64_t i, int64_t step, int n, int pitch,
                        const mlc_int_laid *laid, mlc_int_clamp *c);
/* Bytes that a Requantize's outputs should take in memory, behind a Linear that is unrolled, so that most
 * of them are computed like that; 0: it does not matter. */
int mlc_int_clamp_width(const mlc_node *requantize);
/* The last step: y of t less zero and plus half. above NULL: no number is. */
LLVMValueRef mlc_int_clamp_limit(mlc_lower *l, LLVMValueRef t, LLVMValueRef reached, LLVMValueRef above,
                                 int bits, int64_t most);
/* Emits it; word[source] are the words. */
LLVMValueRef mlc_int_clamp_lower(mlc_lower *l, const mlc_int_clamp *c, const LLVMValueRef *word);

#endif
