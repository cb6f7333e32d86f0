#ifndef MLC_PASSES_H
#define MLC_PASSES_H

#include "mlc/pass.h"

#define MLC_PASS(function, title, from, to, text) \
    mlc_graph *mlc_pass_##function(mlc_graph *g, mlc_pass_context *context);
#include "Passes.def"
#undef MLC_PASS

/* Evaluates one node of a SHAPED graph: results rounded to their dtypes. Arena-allocated. */
const mlc_tensor **mlc_eval_node(mlc_arena *arena, const mlc_node *node, const mlc_tensor *const *in);

/* INTEGER: computes the intervals of all nodes anew, after operands were replaced.
 * Reports what can no longer be proved. */
bool mlc_update_intervals(mlc_graph *g);
/* The same for one node; reports nothing. */
bool mlc_interval_provable(mlc_graph *g, mlc_node *node);

/* Replaces patterns of nodes by one function, where a part is singular and the whole is not. */
void mlc_fuse(mlc_graph *g);

#endif
