#ifndef MLC_REQUANTIZE_H
#define MLC_REQUANTIZE_H

#include "Passes.h"

/* Bytes of a table. Only the part that values fall into is ever in a cache. */
enum { MLC_MOST_TABLE = 65536 };

/* What the numbers first, first + 1, ... become, n of them. */
typedef struct mlc_lookup {
    const int64_t *entry;
    int64_t first, n;
} mlc_lookup;

/* What stands for a Rescale and a lookup behind it, for each channel of the Linear or
 * Conv in front: table(x + addend >> shift). */
typedef struct mlc_folded {
    int64_t *addend, *shift;
    mlc_lookup table;
} mlc_folded;

/* Computes *f, in the graph's arena, for a Rescale that is all that reads `dot`, and a
 * `lookup` of all of its results. False where a channel's elements are rescaled in different
 * ways or the table would be longer than MLC_MOST_TABLE. The intervals must be known. */
bool mlc_fold_rescale(mlc_graph *g, const mlc_node *dot, const mlc_node *rescale, const mlc_lookup *lookup,
                      mlc_folded *f);

#endif
