/* INTEGER: equal nodes become one, unused ones go. */
#include "Passes.h"

#include "mlc/op.h"

#include <string.h>

static bool same_attr(const mlc_attr *a, const mlc_attr *b) {
    if (strcmp(a->name, b->name) != 0 || a->kind != b->kind)
        return false;
    if (a->kind == MLC_ATTR_INT)
        return a->i == b->i;
    return a->kind == MLC_ATTR_INTS && a->n == b->n &&
           memcmp(a->ints, b->ints, (size_t)a->n * sizeof *a->ints) == 0;
}

static bool same_value(const mlc_value *a, const mlc_value *b) {
    if (a == b)
        return true;
    if (!a->constant || !b->constant || !mlc_shape_equal(&a->shape, &b->shape))
        return false;
    size_t bytes = (size_t)mlc_shape_elements(&a->shape) * sizeof *a->constant->i;
    return memcmp(a->constant->i, b->constant->i, bytes) == 0;
}

/* Scales need not agree: the integers are the same. */
static bool same_node(const mlc_node *a, const mlc_node *b) {
    if (a->op != b->op || a->n_in != b->n_in || a->n_attr != b->n_attr ||
        !mlc_shape_equal(&a->out[0]->shape, &b->out[0]->shape) || a->out[0]->scale != b->out[0]->scale)
        return false;
    for (int k = 0; k < a->n_in; k++)
        if (!same_value(a->in[k], b->in[k]))
            return false;
    for (int k = 0; k < a->n_attr; k++)
        if (!same_attr(&a->attr[k], &b->attr[k]))
            return false;
    return true;
}

/* Looks back over a window: equal nodes come from one ONNX node or its neighbour. */
enum { WINDOW = 32 };

/* Equal integers may stand for different real values: the bound is to hold for both. */
static void keep_larger_error(mlc_arena *arena, mlc_value *v, const mlc_value *other) {
    const int64_t n = mlc_shape_elements(&v->shape);
    if (!other->err)
        return;
    double *err = MLC_NEW_ARRAY(arena, n + 1, double);
    for (int64_t i = 0; i < n; i++)
        err[i] = v->err && v->err[i] > other->err[i] ? v->err[i] : other->err[i];
    v->err = err;
}

mlc_graph *mlc_pass_clean(mlc_graph *g, mlc_pass_context *context) {
    (void)context;
    MLC_FOR_NODES_SAFE (g, node, following) {
        mlc_node *other = node->prev;
        for (int i = 0; other && i < WINDOW && !same_node(node, other); i++)
            other = other->prev;
        if (!other || !same_node(node, other) || mlc_graph_is_output(g, node->out[0]))
            continue;
        keep_larger_error(g->arena, other->out[0], node->out[0]);
        mlc_graph_replace(g, node->out[0], other->out[0]);
        mlc_graph_remove(g, node);
    }
    mlc_graph_sweep(g);
    return mlc_update_intervals(g) ? g : NULL; /* x*x is tighter than x*y was */
}
