#include "Elementwise.h"
#include "Movement.h"
#include "Real.h"

static bool infer(mlc_graph *g, mlc_node *node) {
    int64_t axis;
    int at;
    return mlc_infer_number(g, node, 0) && mlc_infer_int(g, node, 1, &axis) &&
           mlc_infer_axis(g, node, axis, node->in[0]->shape.rank, &at) && mlc_infer_same(g, node);
}

static void eval(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    mlc_axis_view v = mlc_view_axis(&in[0]->shape, mlc_axis(in[1]->i[0], in[0]->shape.rank));
    bool exclusive = mlc_attr_int(node, "exclusive", 0) != 0, reverse = mlc_attr_int(node, "reverse", 0) != 0;
    for (int64_t o = 0; o < v.outer; o++)
        for (int64_t i = 0; i < v.inner; i++) {
            double real = 0;
            int64_t whole = 0;
            for (int64_t k = 0; k < v.n; k++) {
                int64_t at = mlc_view_at(&v, o, reverse ? v.n - 1 - k : k, i);
                double x = 0;
                int64_t y = 0;
                if (mlc_dtype_is_float(in[0]->dtype))
                    x = in[0]->f[at];
                else
                    y = in[0]->i[at];
                if (mlc_dtype_is_float(in[0]->dtype))
                    out[0]->f[at] = exclusive ? real : real + x;
                else
                    out[0]->i[at] = mlc_wrap(out[0]->dtype, exclusive ? whole : mlc_wrap_add(whole, y));
                real += x;
                whole = mlc_wrap_add(whole, y);
            }
        }
}

/* v moved by `distance` along the axis, with 0 where nothing is left. */
static mlc_value *moved(mlc_quant *q, mlc_value *v, const mlc_axis_view *view, int64_t distance) {
    int64_t n = mlc_shape_elements(&v->shape);
    int64_t *index = MLC_NEW_ARRAY(q->arena, n, int64_t);
    for (int64_t i = 0; i < n; i++) {
        int64_t from = i / view->inner % view->n - distance;
        index[i] = from >= 0 && from < view->n ? i - distance * view->inner : -1;
    }
    return mlc_q_gather(q, &v, 1, index, 0, &v->shape);
}

/* Sums of 2, 4, 8, ... elements up to each position, in log2(n) additions. */
static bool quantize(mlc_quant *q, const mlc_node *node) {
    const mlc_shape *shape = &node->out[0]->shape;
    mlc_axis_view view = mlc_view_axis(shape, mlc_axis(node->in[1]->constant->i[0], shape->rank));
    int64_t direction = mlc_attr_int(node, "reverse", 0) ? -1 : 1;
    mlc_value *v = mlc_q_value(q, node->in[0]);
    if (v && mlc_attr_int(node, "exclusive", 0))
        v = moved(q, v, &view, direction);
    for (int64_t step = 1; v && step < view.n; step *= 2) {
        mlc_value *before = moved(q, v, &view, direction * step);
        v = before ? mlc_q_add(q, v, before) : NULL;
    }
    return mlc_q_result(q, node, v);
}

MLC_OPS(CumSum,
        {.domain = "",
         .name = "CumSum",
         .since = 11,
         .doc = "Running sums along an axis.",
         .limits = "the axis must be a constant",
         .min_in = 2,
         .max_in = 2,
         .min_out = 1,
         .max_out = 1,
         .attrs = (const mlc_attr_spec[]){{"exclusive", MLC_ATTR_INT}, {"reverse", MLC_ATTR_INT}, {0}},
         .infer = infer,
         .eval = eval,
         .quantize = quantize});
