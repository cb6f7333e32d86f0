#ifndef MLC_PASSES_H
#define MLC_PASSES_H

#include "mlc/pass.h"

#define MLC_PASS(function, title, from, to, text) \
    mlc_graph *mlc_pass_##function(mlc_graph *g, mlc_pass_context *context);
#include "Passes.def"
#undef MLC_PASS

/* INTEGER: computes the intervals of all nodes anew, after operands were replaced.
 * Reports what can no longer be proved. */
bool mlc_update_intervals(mlc_graph *g);
/* The same; reports nothing. */
bool mlc_intervals_provable(mlc_graph *g);
/* The same for one node; reports nothing. */
bool mlc_interval_provable(mlc_graph *g, mlc_node *node);

/* The node that reads `v` if it is read once, by the counts of mlc_graph_uses, and no output; else NULL. */
mlc_node *mlc_only_reader(const mlc_graph *g, const mlc_value *v, const int *uses);
/* A new value with the scale and error bound of `v`, of this shape, its interval yet to be computed. */
mlc_value *mlc_value_like(mlc_graph *g, const mlc_value *v, const mlc_shape *shape);
/* x in the shape of `like`, which has as many elements. */
mlc_node *mlc_insert_identity(mlc_graph *g, mlc_node *before, mlc_value *x, const mlc_value *like);

/* Replaces patterns of nodes by one function, where a part is singular and the whole is not. */
void mlc_fuse(mlc_graph *g);

#endif
