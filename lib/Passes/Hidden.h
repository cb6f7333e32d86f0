#ifndef MLC_HIDDEN_H
#define MLC_HIDDEN_H

#include "Passes.h"

/*
 * The outputs of a dense layer that another one reads, behind a Requantize: nobody sees in
 * which order they are. With outputs of the same shift next to each other, those that share
 * a word leave it together (lib/Ops/IntClamp.h).
 */
typedef struct mlc_hidden {
    mlc_node *linear, *requantize, *reader;
} mlc_hidden;

/* What stands behind `linear`; false where the order of its outputs matters. `uses` as of mlc_graph_uses. */
bool mlc_hidden_find(const mlc_graph *g, mlc_node *linear, const int *uses, mlc_hidden *h);
/* The outputs in the order of their shifts, in the graph's arena; NULL: they are. */
const int64_t *mlc_hidden_by_shift(const mlc_graph *g, const mlc_hidden *h);
/* What was output order[k] becomes output k. */
void mlc_hidden_permute(mlc_graph *g, const mlc_hidden *h, const int64_t *order);
/* The order that undoes another one. */
const int64_t *mlc_hidden_inverse(const mlc_graph *g, const mlc_hidden *h, const int64_t *order);

#endif
