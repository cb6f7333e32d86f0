#include "Form.h"

/* Inputs: the result's scale and zero point, then tensor, scale and zero point of each part. */
enum { Y_SCALE, Y_ZERO, FIRST };

static int parts(const mlc_node *node) {
    return (node->n_in - FIRST) / 3;
}

static bool infer(mlc_graph *g, mlc_node *node) {
    if ((node->n_in - FIRST) % 3 || parts(node) < 1)
        return mlc_error_at(g->diag, node, "%d inputs: after two, they must come in threes", node->n_in);
    int axis = 0;
    mlc_shape shape = {0};
    const mlc_dtype t = node->in[FIRST] ? node->in[FIRST]->dtype : MLC_UNDEFINED;
    for (int p = 0; p < parts(node); p++) {
        const mlc_value *x = node->in[FIRST + 3 * p];
        if (!x || !mlc_dtype_is_integer(x->dtype) || x->dtype != t)
            return mlc_error_at(g->diag, node, "part %d is missing or not of the type of the first", p);
        if (!mlc_grid_check(g, node, FIRST + 3 * p + 1, FIRST + 3 * p + 2, 0))
            return false;
        if (p == 0) {
            shape = x->shape;
            if (!mlc_infer_axis(g, node, mlc_attr_int(node, "axis", 1), shape.rank, &axis))
                return false;
            continue;
        }
        bool fits = x->shape.rank == shape.rank;
        for (int d = 0; fits && d < shape.rank; d++)
            fits = d == axis || x->shape.dim[d] == shape.dim[d];
        if (!fits)
            return mlc_error_at(g->diag, node, "part '%s' of shape %s does not fit %s", mlc_escape(x->name),
                                mlc_shape_str(g->arena, &x->shape), mlc_shape_str(g->arena, &shape));
        shape.dim[axis] += x->shape.dim[axis];
    }
    return mlc_grid_check(g, node, Y_SCALE, Y_ZERO, 0) && mlc_infer_set(g, node, 0, t, &shape);
}

static int axis_of(const mlc_node *node, const mlc_shape *x) {
    return mlc_axis(mlc_attr_int(node, "axis", 1), x->rank);
}

static void eval(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    const int axis = axis_of(node, &out[0]->shape);
    const mlc_axis_view to = mlc_view_axis(&out[0]->shape, axis);
    int64_t start = 0;
    for (int p = 0; p < parts(node); p++) {
        const mlc_tensor *x = in[FIRST + 3 * p];
        const mlc_axis_view from = mlc_view_axis(&x->shape, axis);
        for (int64_t o = 0; o < from.outer; o++)
            for (int64_t j = 0; j < from.n * from.inner; j++) {
                const int64_t centered =
                    x->i[o * from.n * from.inner + j] - mlc_grid_zero(in[FIRST + 3 * p + 2], 0);
                const double real = mlc_f32((double)centered * in[FIRST + 3 * p + 1]->f[0]);
                out[0]->i[(o * to.n + start) * to.inner + j] = mlc_to_grid(
                    out[0]->dtype, mlc_f32(real / in[Y_SCALE]->f[0]), mlc_grid_zero(in[Y_ZERO], 0));
            }
        start += from.n;
    }
}

static mlc_value *requantized(mlc_quant *q, mlc_value *x, const mlc_grid *from, const mlc_grid *to,
                              mlc_dtype t) {
    const mlc_chain *real = mlc_chain_linear(q, from->scale[0], from->zero ? *from->zero : 0, 0, MLC_FLOAT);
    return mlc_q_step(
        q, mlc_form_simple(
               q, x, mlc_chain_quantize(q, real, to->scale[0], to->zero ? *to->zero : 0, t, MLC_FLOAT)));
}

static bool quantize(mlc_quant *q, const mlc_node *node) {
    mlc_grid to;
    if (!mlc_q_grid(q, node, Y_SCALE, Y_ZERO, &node->out[0]->shape, 0, 0, &to))
        return false;
    const int n = parts(node), axis = axis_of(node, &node->out[0]->shape);
    mlc_value **part = MLC_NEW_ARRAY(q->arena, n, mlc_value *);
    const mlc_axis_view view = mlc_view_axis(&node->out[0]->shape, axis);
    int64_t *index = MLC_NEW_ARRAY(q->arena, view.outer * view.n * view.inner, int64_t), first = 0, start = 0;
    for (int p = 0; p < n; p++) {
        const mlc_value *x = node->in[FIRST + 3 * p];
        const mlc_axis_view from_view = mlc_view_axis(&x->shape, axis);
        mlc_grid from;
        if (!mlc_q_grid(q, node, FIRST + 3 * p + 1, FIRST + 3 * p + 2, &x->shape, 0, 0, &from))
            return false;
        part[p] = mlc_q_value(q, x);
        const bool same =
            from.scale[0] == to.scale[0] && (from.zero ? *from.zero : 0) == (to.zero ? *to.zero : 0);
        if (!part[p])
            return false;
        if (!same)
            part[p] = requantized(q, part[p], &from, &to, node->out[0]->dtype);
        if (!part[p])
            return mlc_error_at(q->diag, node, "no exact integer form of the requantization was found");
        const int64_t row = from_view.n * view.inner;
        for (int64_t o = 0; o < view.outer; o++)
            for (int64_t j = 0; j < row; j++)
                index[(o * view.n + start) * view.inner + j] = first + o * row + j;
        start += from_view.n;
        first += view.outer * row;
    }
    return mlc_q_result(q, node, mlc_q_gather(q, part, n, index, 0, &node->out[0]->shape));
}

MLC_OPS(QLinearConcat, {.domain = "com.microsoft",
                        .name = "QLinearConcat",
                        .since = 1,
                        .doc = "Joins quantized tensors along an axis",
                        .limits = "constant scales and zero points",
                        .min_in = 5,
                        .max_in = -1,
                        .min_out = 1,
                        .max_out = 1,
                        .attrs = (const mlc_attr_spec[]){{"axis", MLC_ATTR_INT}, {0}},
                        .infer = infer,
                        .eval = eval,
                        .quantize = quantize});
