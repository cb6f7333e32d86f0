#include "Elementwise.h"
#include "Movement.h"
#include "Reduction.h"

#include <math.h>

static bool infer(mlc_graph *g, mlc_node *node) {
    const mlc_shape *from = &node->in[0]->shape;
    int axis;
    if (!mlc_infer_number(g, node, 0) ||
        !mlc_infer_axis(g, node, mlc_attr_int(node, "axis", 0), from->rank, &axis))
        return false;
    if (from->dim[axis] == 0)
        return mlc_error_at(g->diag, node, "axis %d of '%s' is empty", axis, mlc_escape(node->in[0]->name));
    mlc_shape shape = mlc_reduced_shape(from, &axis, 1, mlc_attr_int(node, "keepdims", 1) != 0);
    return mlc_infer_set(g, node, 0, MLC_INT64, &shape);
}

static bool is_min(const mlc_node *node) {
    return !strcmp(node->op->name, "ArgMin");
}

/* As numpy: NaN is both larger and smaller than any number. */
static bool better(const mlc_tensor *t, int64_t i, int64_t best, bool min, bool last) {
    if (!mlc_dtype_is_float(t->dtype)) {
        int64_t x = t->i[i], y = t->i[best];
        return min ? x < y || (last && x == y) : x > y || (last && x == y);
    }
    double x = t->f[i], y = t->f[best];
    if (isnan(x) || isnan(y))
        return isnan(x) && (!isnan(y) || last);
    return (min ? x < y : x > y) || (last && x == y);
}

static void eval(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    mlc_axis_view v =
        mlc_view_axis(&in[0]->shape, mlc_axis(mlc_attr_int(node, "axis", 0), in[0]->shape.rank));
    bool last = mlc_attr_int(node, "select_last_index", 0) != 0;
    for (int64_t o = 0; o < v.outer; o++)
        for (int64_t i = 0; i < v.inner; i++) {
            int64_t best = 0;
            for (int64_t j = 1; j < v.n; j++)
                if (better(in[0], mlc_view_at(&v, o, j, i), mlc_view_at(&v, o, best, i), is_min(node), last))
                    best = j;
            out[0]->i[o * v.inner + i] = best;
        }
}

/* The reduction returns the first of equals: for the last one the groups are
 * reversed, and the position is counted from the end. */
static bool quantize(mlc_quant *q, const mlc_node *node) {
    const mlc_shape *from = &node->in[0]->shape;
    int axis = mlc_axis(mlc_attr_int(node, "axis", 0), from->rank);
    bool last = mlc_attr_int(node, "select_last_index", 0) != 0;
    mlc_groups r = mlc_group(from, &axis, 1);
    mlc_value *v = mlc_q_value(q, node->in[0]);
    if (v && is_min(node))
        v = mlc_q_neg(q, v);
    v = v ? mlc_q_reduce(q, MLC_REDUCE_ARGMAX, v, mlc_group_index(q->arena, &r, last), r.inner,
                         &node->out[0]->shape)
          : NULL;
    if (v && last) {
        mlc_value *end = mlc_q_scalar(q, r.inner - 1);
        v = end ? mlc_q_sub(q, end, v) : NULL;
    }
    return v && mlc_q_bind(q, node->out[0], v);
}

#define ROW(NAME, DOC, SINCE, UNTIL, ...)                                                                  \
    {                                                                                                      \
        .domain = "",                                                                                      \
        .name = NAME,                                                                                      \
        .since = SINCE,                                                                                    \
        .until = UNTIL,                                                                                    \
        .doc = DOC,                                                                                        \
        .min_in = 1,                                                                                       \
        .max_in = 1,                                                                                       \
        .min_out = 1,                                                                                      \
        .max_out = 1,                                                                                      \
        .attrs = (const mlc_attr_spec[]){{"axis", MLC_ATTR_INT}, {"keepdims", MLC_ATTR_INT}, __VA_ARGS__}, \
        .infer = infer,                                                                                    \
        .eval = eval,                                                                                      \
        .quantize = quantize,                                                                              \
    }
#define BOTH(NAME, DOC) \
    ROW(NAME, DOC, 1, 11, {0}), ROW(NAME, DOC, 12, 0, {"select_last_index", MLC_ATTR_INT}, {0})

MLC_OPS(ArgMax, BOTH("ArgMax", "Position of the largest element along an axis."),
        BOTH("ArgMin", "Position of the smallest element along an axis."));
