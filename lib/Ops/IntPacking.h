#ifndef MLC_OPS_INTPACKING_H
#define MLC_OPS_INTPACKING_H

#include "mlc/op.h"

/*
 * Which outputs of a Linear or Conv node are accumulated in one 64-bit word: a
 * choice of the pass `pack`, in attributes.
 *
 *   order  the channels (rows of the weights) in the order in which they are
 *          computed, a permutation
 *   words  how many of them, one after the other, share a word; they are of one
 *          group, and their widths add up to at most 64 bits
 *   align  for each channel a: its lane holds the output less a multiple of 2^a
 *
 *   lane   all lanes take so many bits, the highest of which stays 0; for the
 *          maximum of words (mlc_int_block_max)
 *
 *   chunks  of Linear: inputs at which a new sum begins. All lanes of a word take 64 /
 *          (most of `words`) bits, which need only hold one chunk; of its sums, those of
 *          every other lane are added up in two words, in lanes twice as wide. The most of
 *          `words` is even then
 *
 * Without `words` every channel has a word of its own, without `align` such a
 * word holds the output itself.
 */
#define MLC_INT_PACKING_ATTRS                                                       \
    {"order", MLC_ATTR_INTS}, {"words", MLC_ATTR_INTS}, {"align", MLC_ATTR_INTS}, { \
        "lane", MLC_ATTR_INT                                                        \
    }
#define MLC_INT_CHUNKS_ATTR {"chunks", MLC_ATTR_INTS}

/* Most channels of a word. */
enum { MLC_INT_LANES = 8 };

/* Checks the attributes but for the widths; for check functions. */
bool mlc_int_packing_check(mlc_graph *g, mlc_node *node);
/* Checks the widths; for interval functions, once the intervals are known. */
bool mlc_int_packing_fits(mlc_graph *g, mlc_node *node);

/* The channel that is computed as number `at`. */
int64_t mlc_int_packing_order(const mlc_node *node, int64_t at);
/* The lane of output i, of `channel`: what it holds less than the output, and its bits, at least 1. */
int64_t mlc_int_lane_low(const mlc_node *node, int64_t channel, int64_t i);
int mlc_int_lane_width(const mlc_node *node, int64_t channel, int64_t i);
/* The widest lane of each channel. */
void mlc_int_channel_widths(const mlc_node *node, int *width);

/* Of Linear: the number of chunks and, all but the first, where they begin. */
int64_t mlc_int_chunks(const mlc_node *node, const int64_t **starts);
/* The first input of a chunk; the number of inputs behind the last. */
int64_t mlc_int_chunk_begin(const mlc_node *node, int64_t chunk);
/* Bits of a lane while a chunk is summed up. */
int mlc_int_chunk_width(const mlc_node *node);
/* What to add to the chunk's products for the lane, such that the lanes of all chunks add up to the output
 * less its mlc_int_lane_low. */
int64_t mlc_int_chunk_start(const mlc_node *node, int64_t row, int64_t channel, int64_t chunk);
/* In multiplications: what it takes to add a word of a chunk to the sums of its lanes. */
#define MLC_INT_FLUSH_COST 2.5
/* For mlc_int_packing_check and mlc_int_packing_fits. */
bool mlc_int_chunks_check(mlc_graph *g, mlc_node *node);
bool mlc_int_chunks_fit(mlc_graph *g, mlc_node *node);
/* The fewest chunks for lanes of `width` bits; fills in starts[inputs]. 0: there are none. */
int64_t mlc_int_cut(mlc_arena *arena, const mlc_node *node, int width, int64_t *starts);

/* Estimated BPF instructions of one output, from the weights in input 1, [channels, ...]. */
int64_t mlc_int_cost_weights(const mlc_node *node);

#endif
