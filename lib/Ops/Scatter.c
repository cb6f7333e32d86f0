#include "Elementwise.h"
#include "Movement.h"

#include <math.h>

typedef enum reduction { REPLACE, ADD, MUL, MAX, MIN, UNKNOWN } reduction;

static reduction reduction_of(const mlc_node *node) {
    static const char *const names[] = {"none", "add", "mul", "max", "min"};
    const char *name = mlc_attr_string(node, "reduction", "none");
    int n = node->op->since >= 18 ? 5 : 3;
    for (int k = 0; k < n; k++)
        if (!strcmp(name, names[k]))
            return (reduction)k;
    return UNKNOWN;
}

static bool infer_reduction(mlc_graph *g, mlc_node *node) {
    reduction r = reduction_of(node);
    if (r == UNKNOWN)
        return mlc_error_at(g->diag, node, "reduction '%s' is not one of none, add, mul%s",
                            mlc_escape(mlc_attr_string(node, "reduction", "")),
                            node->op->since >= 18 ? ", max, min" : "");
    return mlc_infer_same_dtype(g, node, 0, 2) && (r == REPLACE || mlc_infer_number(g, node, 0));
}

static void update(reduction r, mlc_tensor *out, int64_t o, const mlc_tensor *in, int64_t i) {
    if (r == REPLACE) {
        mlc_move(out, o, in, i);
    } else if (mlc_dtype_is_float(out->dtype)) {
        double a = out->f[o], b = in->f[i];
        if (r == ADD || r == MUL)
            out->f[o] = r == ADD ? a + b : a * b;
        else
            out->f[o] = isnan(a) || (r == MAX ? a > b : a < b) ? a : b;
    } else {
        int64_t a = out->i[o], b = in->i[i];
        if (r == ADD || r == MUL)
            out->i[o] = mlc_wrap(out->dtype, r == ADD ? mlc_wrap_add(a, b) : mlc_wrap_mul(a, b));
        else
            out->i[o] = (r == MAX ? a > b : a < b) ? a : b;
    }
}

static bool infer_elements(mlc_graph *g, mlc_node *node) {
    const mlc_shape *data = &node->in[0]->shape, *index = &node->in[1]->shape;
    int axis;
    if (!mlc_infer_axis(g, node, mlc_attr_int(node, "axis", 0), data->rank, &axis) ||
        !mlc_infer_indices(g, node, 1, data->dim[axis]) || !infer_reduction(g, node))
        return false;
    bool fits = index->rank == data->rank && mlc_shape_equal(index, &node->in[2]->shape);
    for (int d = 0; fits && d < data->rank; d++)
        fits = d == axis || index->dim[d] <= data->dim[d];
    if (!fits)
        return mlc_error_at(g->diag, node,
                            "indices of shape %s, updates of shape %s and data of shape %s do not fit",
                            mlc_shape_str(g->arena, index), mlc_shape_str(g->arena, &node->in[2]->shape),
                            mlc_shape_str(g->arena, data));
    return mlc_infer_same(g, node);
}

static void eval_elements(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    int axis = mlc_axis(mlc_attr_int(node, "axis", 0), in[0]->shape.rank);
    int64_t at[MLC_MAX_RANK], n = mlc_shape_elements(&in[1]->shape);
    mlc_move_n(out[0], 0, in[0], 0, mlc_shape_elements(&in[0]->shape));
    for (int64_t i = 0; i < n; i++) {
        mlc_unflatten(&in[1]->shape, i, at);
        at[axis] = mlc_wrap_index(in[1]->i[i], in[0]->shape.dim[axis]);
        update(reduction_of(node), out[0], mlc_flatten(&in[0]->shape, at), in[2], i);
    }
}

static bool infer_nd(mlc_graph *g, mlc_node *node) {
    const mlc_shape *data = &node->in[0]->shape, *index = &node->in[1]->shape;
    if (!mlc_infer_integer(g, node, 1) || !infer_reduction(g, node))
        return false;
    int64_t depth = index->rank ? index->dim[index->rank - 1] : 0;
    int rank = index->rank - 1 + data->rank - (int)(depth <= data->rank ? depth : 0);
    if (depth < 1 || depth > data->rank || rank > MLC_MAX_RANK)
        return mlc_error_at(g->diag, node, "indices of shape %s do not fit data of shape %s",
                            mlc_shape_str(g->arena, index), mlc_shape_str(g->arena, data));
    mlc_shape wanted = {0};
    for (int d = 0; d < index->rank - 1; d++)
        wanted.dim[wanted.rank++] = index->dim[d];
    for (int d = (int)depth; d < data->rank; d++)
        wanted.dim[wanted.rank++] = data->dim[d];
    if (!mlc_shape_equal(&wanted, &node->in[2]->shape))
        return mlc_error_at(g->diag, node, "updates have shape %s and must have %s",
                            mlc_shape_str(g->arena, &node->in[2]->shape), mlc_shape_str(g->arena, &wanted));
    const mlc_tensor *t = node->in[1]->constant;
    int64_t count = mlc_shape_elements(index);
    for (int64_t i = 0; i < count; i++) {
        int64_t n = data->dim[i % depth];
        if (n == 0 || (t && (t->i[i] < -n || t->i[i] >= n)))
            return mlc_error_at(g->diag, node, "input 1, '%s', holds an index outside data of shape %s",
                                mlc_escape(node->in[1]->name), mlc_shape_str(g->arena, data));
    }
    return mlc_infer_same(g, node);
}

static void eval_nd(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    const mlc_shape *data = &in[0]->shape;
    int64_t depth = in[1]->shape.dim[in[1]->shape.rank - 1];
    int64_t tuples = mlc_shape_elements(&in[1]->shape) / depth;
    mlc_shape rest = {.rank = data->rank - (int)depth};
    memcpy(rest.dim, data->dim + depth, (size_t)rest.rank * sizeof(int64_t));
    int64_t row = mlc_shape_elements(&rest);
    mlc_move_n(out[0], 0, in[0], 0, mlc_shape_elements(data));
    for (int64_t t = 0; t < tuples; t++) {
        int64_t at = 0;
        for (int64_t k = 0; k < depth; k++)
            at = at * data->dim[k] + mlc_wrap_index(in[1]->i[t * depth + k], data->dim[k]);
        for (int64_t i = 0; i < row; i++)
            update(reduction_of(node), out[0], at * row + i, in[2], t * row + i);
    }
}

static bool quantize(mlc_quant *q, const mlc_node *node) {
    if (reduction_of(node) != REPLACE)
        return mlc_error_at(q->diag, node, "reduction '%s' is supported on constants only",
                            mlc_escape(mlc_attr_string(node, "reduction", "")));
    return mlc_quantize_movement(q, node, 1, 1, 0);
}

#define ROW(NAME, DOC, SINCE, UNTIL, INFER, EVAL, ...)       \
    {                                                        \
        .domain = "",                                        \
        .name = NAME,                                        \
        .since = SINCE,                                      \
        .until = UNTIL,                                      \
        .doc = DOC,                                          \
        .limits = "indices must be constants; no reduction", \
        .min_in = 3,                                         \
        .max_in = 3,                                         \
        .min_out = 1,                                        \
        .max_out = 1,                                        \
        .attrs = (const mlc_attr_spec[]){__VA_ARGS__},       \
        .infer = INFER,                                      \
        .eval = EVAL,                                        \
        .quantize = quantize,                                \
    }
#define ELEMENTS(NAME, SINCE, UNTIL, ...)                                                          \
    ROW(NAME, "Replaces single elements by their index on an axis.", SINCE, UNTIL, infer_elements, \
        eval_elements, {"axis", MLC_ATTR_INT}, __VA_ARGS__)
#define ND(SINCE, UNTIL, ...) \
    ROW("ScatterND", "Replaces slices by tuples of indices.", SINCE, UNTIL, infer_nd, eval_nd, __VA_ARGS__)

MLC_OPS(Scatter, ELEMENTS("Scatter", 9, 0, {0}), ELEMENTS("ScatterElements", 11, 15, {0}),
        ELEMENTS("ScatterElements", 16, 17, {"reduction", MLC_ATTR_STRING}, {0}),
        ELEMENTS("ScatterElements", 18, 0, {"reduction", MLC_ATTR_STRING}, {0}), ND(11, 15, {0}),
        ND(16, 17, {"reduction", MLC_ATTR_STRING}, {0}), ND(18, 0, {"reduction", MLC_ATTR_STRING}, {0}));
