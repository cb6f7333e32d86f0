/*
 * IMPORTED -> SHAPED. Shapes may depend on constants that are themselves computed
 * from shapes (Shape, Gather, Concat, Reshape as exporters write them), so a node
 * whose inputs are all constant is folded as soon as its shape is known.
 */
#include "Passes.h"

#include <string.h>

/* Work of folding one model, in output elements: a hostile chain of Expand is cut off. */
#define FOLD_BUDGET ((int64_t)1 << 28)

static bool foldable(const mlc_node *node) {
    if (!node->op->eval)
        return false;
    /* Their results depend on the input's shape only. */
    bool shape_only = strcmp(node->op->domain, "") == 0 &&
                      (strcmp(node->op->name, "Shape") == 0 || strcmp(node->op->name, "Size") == 0);
    for (int k = 0; k < node->n_in && !shape_only; k++)
        if (node->in[k] && !node->in[k]->constant)
            return false;
    return true;
}

/* Turns the outputs of a node into constants and drops the node. */
static bool fold(mlc_graph *g, mlc_node *node, int64_t *budget) {
    for (int k = 0; k < node->n_out; k++)
        if (node->out[k])
            *budget -= mlc_shape_elements(&node->out[k]->shape) + 1;
    if (*budget < 0)
        return mlc_error_at(g->diag, node, "constant folding needs more than %lld elements",
                            (long long)FOLD_BUDGET);
    const mlc_tensor **in = MLC_NEW_ARRAY(g->arena, node->n_in + 1, const mlc_tensor *);
    for (int k = 0; k < node->n_in; k++) {
        if (!node->in[k])
            continue;
        in[k] = node->in[k]->constant;
        if (!in[k]) { /* Shape: the elements do not matter */
            mlc_tensor *t = MLC_NEW(g->arena, mlc_tensor);
            *t = (mlc_tensor){.dtype = node->in[k]->dtype, .shape = node->in[k]->shape};
            in[k] = t;
        }
    }
    const mlc_tensor **out = mlc_eval_node(g->arena, node, in);
    for (int k = 0; k < node->n_out; k++)
        if (node->out[k])
            node->out[k]->constant = out[k];
    mlc_graph_remove(g, node);
    return true;
}

mlc_graph *mlc_pass_infer_shapes(mlc_graph *g, mlc_pass_context *context) {
    (void)context;
    int errors = g->diag->errors;
    int64_t budget = FOLD_BUDGET;
    MLC_FOR_NODES_SAFE (g, node, following) {
        bool known = true;
        for (int k = 0; k < node->n_in; k++)
            if (node->in[k] && !node->in[k]->shaped)
                known = false;
        /* Behind an error there is nothing to infer from; the error was reported. */
        if (!known)
            continue;
        if (!node->op->infer) {
            mlc_error_at(g->diag, node, "an integer op in a graph that is not of stage INTEGER");
            continue;
        }
        if (!node->op->infer(g, node))
            continue;
        if (foldable(node) && !fold(g, node, &budget))
            return NULL;
    }
    if (g->diag->errors != errors)
        return NULL;
    mlc_graph_sweep(g);
    g->stage = MLC_SHAPED;
    return g;
}
