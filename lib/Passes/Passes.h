#ifndef MLC_PASSES_H
#define MLC_PASSES_H

#include "mlc/pass.h"

#define MLC_PASS(function, title, from, to, text) \
    mlc_graph *mlc_pass_##function(mlc_graph *g, mlc_pass_context *context);
#include "Passes.def"
#undef MLC_PASS

/* Evaluates one node of a SHAPED graph: results rounded to their dtypes. Arena-allocated. */
const mlc_tensor **mlc_eval_node(mlc_arena *arena, const mlc_node *node, const mlc_tensor *const *in);

#endif
