#include "mlc/op.h"

#include <inttypes.h>

static bool unknown_input(mlc_graph *g, const mlc_node *node, int k) {
    if (k >= node->n_in || !node->in[k])
        return mlc_error_at(g->diag, node, "input %d is missing", k);
    return mlc_error_at(g->diag, node, "dtype and shape of input '%s' are not known",
                        mlc_escape(node->in[k]->name));
}

static const mlc_value *known_input(mlc_graph *g, const mlc_node *node, int k) {
    const mlc_value *v = k < node->n_in ? node->in[k] : NULL;
    if (v && v->shaped && v->dtype != MLC_UNDEFINED)
        return v;
    unknown_input(g, node, k);
    return NULL;
}

bool mlc_infer_set(mlc_graph *g, mlc_node *node, int k, mlc_dtype dtype, const mlc_shape *shape) {
    mlc_value *v = k < node->n_out ? node->out[k] : NULL;
    if (!v)
        return true;
    const char *name = mlc_escape(v->name), *text = mlc_shape_str(g->arena, shape);
    /* An empty dimension does not excuse the others from being representable. */
    mlc_shape others = *shape;
    for (int d = 0; d < shape->rank; d++) {
        if (shape->dim[d] < 0)
            return mlc_error_at(g->diag, node, "output '%s' has a negative dimension: shape %s", name, text);
        if (shape->dim[d] == 0)
            others.dim[d] = 1;
    }
    if (mlc_shape_elements(&others) > MLC_MAX_ELEMENTS)
        return mlc_error_at(g->diag, node, "output '%s' is too large: shape %s exceeds %" PRId64 " elements",
                            name, text, MLC_MAX_ELEMENTS);
    if (v->dtype != MLC_UNDEFINED && v->dtype != dtype)
        return mlc_error_at(g->diag, node, "output '%s' is declared as %s, but the op yields %s", name,
                            mlc_dtype_name(v->dtype), mlc_dtype_name(dtype));
    if (v->shaped) {
        mlc_shape declared = v->shape;
        /* A leading dimension that the file leaves open takes what is inferred. */
        if (v->dynamic_batch && declared.rank > 0 && shape->rank > 0)
            declared.dim[0] = shape->dim[0];
        if (!mlc_shape_equal(&declared, shape))
            return mlc_error_at(g->diag, node, "output '%s' is declared with shape %s, but the op yields %s",
                                name, mlc_shape_str(g->arena, &v->shape), text);
    }
    v->dtype = dtype;
    v->shape = *shape;
    v->shaped = true;
    v->dynamic_batch &= shape->rank > 0 && shape->dim[0] == 1;
    return true;
}

bool mlc_infer_same(mlc_graph *g, mlc_node *node) {
    const mlc_value *x = known_input(g, node, 0);
    return x && mlc_infer_set(g, node, 0, x->dtype, &x->shape);
}

/* `shape`: the broadcast of all inputs. */
static bool broadcast_inputs(mlc_graph *g, mlc_node *node, mlc_shape *shape) {
    const mlc_value *first = known_input(g, node, 0);
    if (!first)
        return false;
    *shape = first->shape;
    for (int k = 1; k < node->n_in; k++) {
        const mlc_value *v = known_input(g, node, k);
        if (!v)
            return false;
        if (v->dtype != first->dtype)
            return mlc_error_at(g->diag, node,
                                "input '%s' is %s, but input '%s' is %s; they must be the same",
                                mlc_escape(v->name), mlc_dtype_name(v->dtype), mlc_escape(first->name),
                                mlc_dtype_name(first->dtype));
        if (!mlc_shape_broadcast(shape, &v->shape, shape))
            return mlc_error_at(g->diag, node, "input '%s' of shape %s does not broadcast with %s",
                                mlc_escape(v->name), mlc_shape_str(g->arena, &v->shape),
                                mlc_shape_str(g->arena, shape));
    }
    return true;
}

bool mlc_infer_broadcast(mlc_graph *g, mlc_node *node) {
    mlc_shape shape;
    return broadcast_inputs(g, node, &shape) && mlc_infer_set(g, node, 0, node->in[0]->dtype, &shape);
}

bool mlc_infer_compare(mlc_graph *g, mlc_node *node) {
    mlc_shape shape;
    return broadcast_inputs(g, node, &shape) && mlc_infer_set(g, node, 0, MLC_BOOL, &shape);
}

const mlc_tensor *mlc_infer_constant(mlc_graph *g, mlc_node *node, int k) {
    const mlc_value *v = k < node->n_in ? node->in[k] : NULL;
    if (v && v->constant)
        return v->constant;
    if (!v)
        unknown_input(g, node, k);
    else
        mlc_error_at(g->diag, node, "input %d, '%s', must be a constant: its value is needed when compiling",
                     k, mlc_escape(v->name));
    return NULL;
}

bool mlc_infer_axis(mlc_graph *g, mlc_node *node, int64_t axis, int rank, int *out) {
    if (axis < -(int64_t)rank || axis >= rank)
        return mlc_error_at(g->diag, node, "axis %" PRId64 " is outside [%d, %d]", axis, -rank, rank - 1);
    *out = mlc_axis(axis, rank);
    return true;
}

/* The axes of input k, else of the attribute; NULL when neither is there. */
static const int64_t *raw_axes(const mlc_node *node, int k, int64_t *n) {
    if (k >= 0 && k < node->n_in && node->in[k]) {
        const mlc_tensor *t = node->in[k]->constant;
        *n = mlc_shape_elements(&t->shape);
        return t->i;
    }
    return mlc_attr_ints(node, "axes", n);
}

bool mlc_infer_axes(mlc_graph *g, mlc_node *node, int k, int rank, int axes[MLC_MAX_RANK], int *n) {
    *n = -1;
    if (k >= 0 && k < node->n_in && node->in[k]) {
        const mlc_tensor *t = mlc_infer_constant(g, node, k);
        if (!t)
            return false;
        if ((t->dtype != MLC_INT64 && t->dtype != MLC_INT32) || t->shape.rank > 1)
            return mlc_error_at(g->diag, node, "the axes in '%s' must be a list of int64",
                                mlc_escape(node->in[k]->name));
    }
    int64_t count;
    const int64_t *raw = raw_axes(node, k, &count);
    if (!raw)
        return true;
    bool seen[MLC_MAX_RANK] = {false};
    if (rank > MLC_MAX_RANK)
        return mlc_error_at(g->diag, node, "rank %d is not supported: at most %d", rank, MLC_MAX_RANK);
    for (int64_t i = 0; i < count; i++) {
        int axis = 0;
        if (!mlc_infer_axis(g, node, raw[i], rank, &axis))
            return false;
        if (seen[axis])
            return mlc_error_at(g->diag, node, "axis %" PRId64 " is given twice", raw[i]);
        seen[axis] = true;
        axes[i] = axis;
    }
    *n = (int)count;
    return true;
}

int mlc_node_axes(const mlc_node *node, int k, int rank, int axes[MLC_MAX_RANK]) {
    int64_t n;
    const int64_t *raw = raw_axes(node, k, &n);
    if (!raw)
        return -1;
    for (int64_t i = 0; i < n; i++)
        axes[i] = mlc_axis(raw[i], rank);
    return (int)n;
}

int mlc_axis(int64_t axis, int rank) {
    return (int)(axis < 0 ? axis + rank : axis);
}
