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
 * Without `words` every channel has a word of its own, without `align` such a
 * word holds the output itself.
 */
#define MLC_INT_PACKING_ATTRS                                                       \
    {"order", MLC_ATTR_INTS}, {"words", MLC_ATTR_INTS}, {"align", MLC_ATTR_INTS}, { \
        "lane", MLC_ATTR_INT                                                        \
    }

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

/* Estimated BPF instructions of one output, from the weights in input 1, [channels, ...]. */
int64_t mlc_int_cost_weights(const mlc_node *node);

#endif
