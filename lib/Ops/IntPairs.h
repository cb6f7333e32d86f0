#ifndef MLC_OPS_INTPAIRS_H
#define MLC_OPS_INTPAIRS_H

#include "IntLower.h"

/*
 * The one output of a Linear as the sum of two products a multiplication. Its inputs lie
 * n to a 64-bit word of memory. With x[j] and x[j + n / 2] taken out of that word in
 * place, 32 bits apart,
 *
 *   (x[j] + x[j + n/2] << 32) * (w[j + n/2] + w[j] << 32)
 *       = x[j] * w[j + n/2] + (x[j] * w[j] + x[j + n/2] * w[j + n/2]) << 32     modulo 2^64
 *
 * so the upper half collects the output, less its mlc_int_lane_low, and is a lane. The
 * lower half collects garbage, whose interval is known: it begins with what makes it end
 * in [0, 2^32).
 */

/* Emits output i of a Linear with one row of weights and hands it over as a lane. False where its inputs
 * do not lie like that, a half is too narrow, or it takes no less time; nothing was emitted then. */
bool mlc_int_pairs_lower(mlc_lower *l, const mlc_node *node, int64_t i);

#endif
