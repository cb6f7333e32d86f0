#include "Legacy.h"

bool mlc_legacy_align(mlc_graph *g, const mlc_node *node, const mlc_shape *a, const mlc_shape *b,
                      mlc_shape *aligned) {
    *aligned = *b;
    if (node->opset >= 7)
        return true;
    if (!mlc_attr_int(node, "broadcast", 0)) {
        if (!mlc_shape_equal(a, b))
            return mlc_error_at(g->diag, node, "shapes %s and %s differ and attribute 'broadcast' is not set",
                                mlc_shape_str(g->arena, a), mlc_shape_str(g->arena, b));
        return true;
    }
    const int64_t last = a->rank - b->rank;
    const int64_t axis = mlc_attr_find(node, "axis") ? mlc_attr_int(node, "axis", 0) : last;
    bool fits = axis >= 0 && axis <= last;
    for (int d = 0; fits && d < b->rank; d++)
        fits = b->dim[d] == 1 || b->dim[d] == a->dim[axis + d];
    if (!fits)
        return mlc_error_at(g->diag, node, "shape %s does not broadcast to %s at axis %lld",
                            mlc_shape_str(g->arena, b), mlc_shape_str(g->arena, a), (long long)axis);
    while (aligned->rank < a->rank - axis)
        aligned->dim[aligned->rank++] = 1;
    return true;
}

bool mlc_infer_legacy_broadcast(mlc_graph *g, mlc_node *node) {
    const mlc_value *a = node->in[0], *b = node->in[1];
    mlc_shape aligned, shape;
    if (a->dtype != b->dtype)
        return mlc_error_at(g->diag, node, "input '%s' is %s, but input '%s' is %s; they must be the same",
                            mlc_escape(b->name), mlc_dtype_name(b->dtype), mlc_escape(a->name),
                            mlc_dtype_name(a->dtype));
    if (!mlc_legacy_align(g, node, &a->shape, &b->shape, &aligned))
        return false;
    if (!mlc_shape_broadcast(&a->shape, &aligned, &shape))
        return mlc_error_at(g->diag, node, "shapes %s and %s do not broadcast",
                            mlc_shape_str(g->arena, &a->shape), mlc_shape_str(g->arena, &b->shape));
    return mlc_infer_set(g, node, 0, a->dtype, &shape);
}
