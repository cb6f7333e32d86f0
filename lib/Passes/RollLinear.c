/*
 * INTEGER: chooses the dense layers that run as loops (attribute `roll` of Linear).
 *
 * Unrolled code has weights as immediates and skips those that are 0; loops read
 * packed weights from memory, and lose a little at the ends of blocks. Unrolled wins
 * while the code stays in the processor's cache for instructions. Measured, hot, in
 * ns unrolled and rolled: 16-64-32-1 at 8 bits (4,550 instructions) 321 and 358, at
 * 32 bits (10,670) 787 and 872; 32-128-64-2 at 8 bits (16,700) 1,723 and 1,450, at 32
 * bits (41,000) 3,713 and 3,305; 64-256-128-10 at 8 bits (60,000) 6,461 and 5,282.
 */
#include "Passes.h"

#include "mlc/op.h"

/* Instructions of all unrolled dot products of the model from which dense layers are rolled. */
enum { LEAST_NAIVE = 500000, LEAST_FAST = 13000, LEAST_SMALL = 0 };

/* The same of a layer: smaller ones are not worth a loop. */
enum { LEAST_LAYER = 400, LEAST_LAYER_SMALL = 100 };

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
    char level = options->opt_level;
    bool all = options->unroll == MLC_UNROLL_NONE;
    int64_t least = level == '0'   ? LEAST_NAIVE
                    : level == 's' ? LEAST_SMALL
                                   : LEAST_FAST,
            layer = level == 's' ? LEAST_LAYER_SMALL : LEAST_LAYER;
    if (options->unroll == MLC_UNROLL_FULL || (!all && unrolled_model(g) < least))
        return g;
    MLC_FOR_NODES (g, node)
        if (node->op == mlc_iop("Linear") && mlc_shape_elements(&node->out[0]->shape) > 0 &&
            (all || unrolled(node) >= layer)) {
            look_through_reshapes(node);
            mlc_attr_set_int(g, node, "roll", 1);
        }
    mlc_graph_sweep(g);
    return g;
}
