/*
 * INTEGER: chooses the dense layers that run as loops (attribute `roll` of Linear).
 *
 * Unrolled code has each layer's own lanes and skips weights that are 0; loops read
 * packed weights from memory, and lose a little at the ends of blocks. Unrolled wins
 * while the code stays in the processor's cache for instructions (mlc/cost.h).
 * Measured, hot, in ns unrolled and rolled, with the instructions unrolled: 16-64-32-1
 * at 8 bits (4,800) 293 and 354; 32-128-64-2 at 4 bits (10,900) 742 and 784, at 8
 * bits (16,300) 1,434 and 1,247; 64-256-128-10 at 8 bits (61,500) 5,676 and 4,625.
 */
#include "Passes.h"

#include "mlc/cost.h"
#include "mlc/op.h"

static int64_t unrolled(const mlc_node *node) {
    return mlc_shape_elements(&node->out[0]->shape) * (node->op->cost ? node->op->cost(node) : 4);
}

static int64_t unrolled_model(const mlc_graph *g) {
    int64_t total = 0;
    MLC_FOR_NODES (g, node)
        if (node->op->block && !mlc_attr_int(node, "roll", 0))
            total += unrolled(node);
    return total;
}

/* A dense layer takes any shape: it reads through what only reshapes. */
static void look_through_reshapes(mlc_node *node) {
    for (mlc_node *p = node->in[0]->producer; p && mlc_is_reshape(p); p = node->in[0]->producer)
        node->in[0] = p->in[0];
}

mlc_graph *mlc_pass_roll_linear(mlc_graph *g, mlc_pass_context *context) {
    const mlc_options *options = context->options;
    bool all = options->unroll == MLC_UNROLL_NONE;
    if (options->unroll == MLC_UNROLL_FULL || (!all && !mlc_loops_pay(unrolled_model(g), options->opt_level)))
        return g;
    MLC_FOR_NODES (g, node)
        if (node->op == mlc_iop("Linear") && mlc_shape_elements(&node->out[0]->shape) > 0 &&
            (all || unrolled(node) >= mlc_least_dense())) {
            look_through_reshapes(node);
            mlc_attr_set_int(g, node, "roll", 1);
        }
    mlc_graph_sweep(g);
    return g;
}
