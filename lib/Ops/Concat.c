#include "Movement.h"

#include "Elementwise.h"

static bool infer_concat(mlc_graph *g, mlc_node *node) {
    if (!mlc_has_in(node, 0))
        return mlc_error_at(g->diag, node, "input 0 is missing");
    mlc_shape shape = node->in[0]->shape;
    int axis;
    if (node->op->since >= 4 && !mlc_attr_find(node, "axis"))
        return mlc_error_at(g->diag, node, "attribute 'axis' is missing");
    if (!mlc_infer_axis(g, node, mlc_attr_int(node, "axis", 1), shape.rank, &axis))
        return false;
    for (int k = 1; k < node->n_in; k++) {
        if (!mlc_has_in(node, k))
            return mlc_error_at(g->diag, node, "input %d is missing", k);
        if (!mlc_infer_same_dtype(g, node, 0, k))
            return false;
        const mlc_shape *s = &node->in[k]->shape;
        bool fits = s->rank == shape.rank;
        for (int d = 0; fits && d < shape.rank; d++)
            fits = d == axis || s->dim[d] == shape.dim[d];
        if (!fits)
            return mlc_error_at(g->diag, node,
                                "input %d, '%s', of shape %s does not fit beside %s on axis %d", k,
                                mlc_escape(node->in[k]->name), mlc_shape_str(g->arena, s),
                                mlc_shape_str(g->arena, &node->in[0]->shape), axis);
        shape.dim[axis] += s->dim[axis];
        if (shape.dim[axis] > MLC_MAX_ELEMENTS)
            return mlc_error_at(g->diag, node, "the result has more than %lld elements",
                                (long long)MLC_MAX_ELEMENTS);
    }
    return mlc_infer_set(g, node, 0, node->in[0]->dtype, &shape);
}

static void eval_concat(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    int axis = mlc_axis(mlc_attr_int(node, "axis", 1), out[0]->shape.rank);
    mlc_axis_view to = mlc_view_axis(&out[0]->shape, axis);
    int64_t start = 0;
    for (int k = 0; k < node->n_in; k++) {
        int64_t n = in[k]->shape.dim[axis];
        for (int64_t o = 0; o < to.outer; o++)
            mlc_move_n(out[0], mlc_view_at(&to, o, start, 0), in[k], o * n * to.inner, n * to.inner);
        start += n;
    }
}

static bool quantize_concat(mlc_quant *q, const mlc_node *node) {
    return mlc_quantize_movement(q, node, 0, 0, 0);
}

#define CONCAT(SINCE, UNTIL)                                           \
    {                                                                  \
        .domain = "",                                                  \
        .name = "Concat",                                              \
        .since = SINCE,                                                \
        .until = UNTIL,                                                \
        .doc = "Joins tensors along an axis.",                         \
        .min_in = 1,                                                   \
        .max_in = -1,                                                  \
        .min_out = 1,                                                  \
        .max_out = 1,                                                  \
        .attrs = (const mlc_attr_spec[]){{"axis", MLC_ATTR_INT}, {0}}, \
        .infer = infer_concat,                                         \
        .eval = eval_concat,                                           \
        .quantize = quantize_concat,                                   \
    }

MLC_OPS(Concat, CONCAT(1, 3), CONCAT(4, 0));
