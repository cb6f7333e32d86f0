/* What passes that rewrite nodes share. */
#include "Passes.h"

#include "mlc/op.h"

bool mlc_update_intervals(mlc_graph *g) {
    MLC_FOR_NODES (g, node)
        if (!node->op->interval(g, node))
            return false;
    return true;
}

mlc_node *mlc_only_reader(const mlc_graph *g, const mlc_value *v, const int *uses) {
    if (uses[v->id] != 1 || mlc_graph_is_output(g, v))
        return NULL;
    MLC_FOR_NODES (g, node)
        for (int k = 0; k < node->n_in; k++)
            if (node->in[k] == v)
                return node;
    return NULL;
}

mlc_value *mlc_value_like(mlc_graph *g, const mlc_value *v, const mlc_shape *shape) {
    mlc_value *out = mlc_graph_value(g, NULL);
    int64_t n = mlc_shape_elements(shape);
    out->dtype = MLC_INT64;
    out->shape = *shape;
    out->shaped = true;
    out->scale = v->scale;
    out->zero = v->zero;
    out->err = v->err;
    out->lo = MLC_NEW_ARRAY(g->arena, n + 1, int64_t);
    out->hi = MLC_NEW_ARRAY(g->arena, n + 1, int64_t);
    return out;
}

mlc_node *mlc_insert_identity(mlc_graph *g, mlc_node *before, mlc_value *x, const mlc_value *like) {
    mlc_tensor *index = mlc_tensor_create(g->arena, MLC_INT64, &like->shape);
    for (int64_t i = 0; i < mlc_shape_elements(&like->shape); i++)
        index->i[i] = i;
    mlc_value *in[2] = {x, mlc_graph_constant(g, NULL, index)}, *out = mlc_value_like(g, like, &like->shape);
    mlc_node *node = mlc_graph_insert(g, before, mlc_iop("Gather"), NULL, in, 2, &out, 1);
    node->origin = before->origin;
    return node;
}

static void discard(void *user, mlc_severity severity, const char *line) {
    (void)user, (void)severity, (void)line;
}

bool mlc_intervals_provable(mlc_graph *g) {
    mlc_diag quiet = {.sink = discard}, *diag = g->diag;
    g->diag = &quiet;
    bool ok = mlc_update_intervals(g);
    g->diag = diag;
    return ok;
}

bool mlc_interval_provable(mlc_graph *g, mlc_node *node) {
    mlc_diag quiet = {.sink = discard}, *diag = g->diag;
    g->diag = &quiet;
    bool ok = node->op->interval(g, node);
    g->diag = diag;
    return ok;
}
