#include "Elementwise.h"
#include "Movement.h"
#include "Real.h"

static bool infer(mlc_graph *g, mlc_node *node) {
    const mlc_shape *index = &node->in[0]->shape;
    int axis;
    for (int k = 0; k < 3; k++)
        if (!mlc_infer_number(g, node, k))
            return false;
    const mlc_tensor *depth = mlc_infer_constant(g, node, 1);
    if (!depth)
        return false;
    double n = mlc_shape_elements(&depth->shape) == 1 ? mlc_tensor_real(depth, 0) : 0;
    if (!(n >= 1 && n <= (double)MLC_MAX_ELEMENTS))
        return mlc_error_at(g->diag, node, "the depth, '%s', must be one number of 1 or more",
                            mlc_escape(node->in[1]->name));
    if (mlc_shape_elements(&node->in[2]->shape) != 2)
        return mlc_error_at(g->diag, node, "the values, '%s', must be two numbers, off and on",
                            mlc_escape(node->in[2]->name));
    if (index->rank == MLC_MAX_RANK)
        return mlc_error_at(g->diag, node, "the result would have more than %d dimensions", MLC_MAX_RANK);
    mlc_shape shape = {.rank = index->rank + 1};
    if (!mlc_infer_axis(g, node, mlc_attr_int(node, "axis", -1), shape.rank, &axis))
        return false;
    for (int d = 0; d < shape.rank; d++)
        shape.dim[d] = d == axis ? (int64_t)n : index->dim[d - (d > axis)];
    return mlc_infer_set(g, node, 0, node->in[2]->dtype, &shape);
}

static void eval(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    int axis = mlc_axis(mlc_attr_int(node, "axis", -1), out[0]->shape.rank);
    mlc_axis_view v = mlc_view_axis(&out[0]->shape, axis);
    for (int64_t o = 0; o < v.outer; o++)
        for (int64_t i = 0; i < v.inner; i++) {
            int64_t at = mlc_real_to_int(MLC_INT64, mlc_tensor_real(in[0], o * v.inner + i));
            if (at < 0)
                at += v.n;
            for (int64_t j = 0; j < v.n; j++)
                mlc_move(out[0], mlc_view_at(&v, o, j, i), in[2], j == at);
        }
}

/* index == j, or index == j - depth where it may be negative. */
static bool quantize(mlc_quant *q, const mlc_node *node) {
    const mlc_shape *shape = &node->out[0]->shape;
    mlc_axis_view v = mlc_view_axis(shape, mlc_axis(mlc_attr_int(node, "axis", -1), shape->rank));
    int64_t n = mlc_shape_elements(shape);
    int64_t *from = MLC_NEW_ARRAY(q->arena, n, int64_t), *position = MLC_NEW_ARRAY(q->arena, n, int64_t);
    for (int64_t i = 0; i < n; i++) {
        from[i] = i / v.inner / v.n * v.inner + i % v.inner;
        position[i] = i / v.inner % v.n;
    }
    mlc_value *index = mlc_q_value(q, node->in[0]), *values = mlc_q_value(q, node->in[2]);
    index = index && values ? mlc_q_gather(q, &index, 1, from, 0, shape) : NULL;
    if (!index)
        return false;
    mlc_value *here = mlc_q_equal(q, index, mlc_q_constant(q, position, shape));
    if (here && mlc_q_min_real(index) < 0) {
        for (int64_t i = 0; i < n; i++)
            position[i] -= v.n;
        mlc_value *below = mlc_q_equal(q, index, mlc_q_constant(q, position, shape));
        here = below ? mlc_q_max(q, here, below) : NULL;
    }
    const mlc_tensor *known = node->in[2]->constant;
    if (here && known && mlc_tensor_real(known, 0) == 0 && mlc_tensor_real(known, 1) == 1)
        return mlc_q_result(q, node, here);
    mlc_value *off = mlc_q_gather(q, &values, 1, (const int64_t[]){0}, 0, &(mlc_shape){0});
    mlc_value *on = mlc_q_gather(q, &values, 1, (const int64_t[]){1}, 0, &(mlc_shape){0});
    return mlc_q_result(q, node, here && off && on ? mlc_q_where(q, here, on, off) : NULL);
}

MLC_OPS(OneHot, {.domain = "",
                 .name = "OneHot",
                 .since = 9,
                 .doc = "One value at an index, another elsewhere.",
                 .limits = "the depth must be a constant",
                 .min_in = 3,
                 .max_in = 3,
                 .min_out = 1,
                 .max_out = 1,
                 .attrs = (const mlc_attr_spec[]){{"axis", MLC_ATTR_INT}, {0}},
                 .infer = infer,
                 .eval = eval,
                 .quantize = quantize});
