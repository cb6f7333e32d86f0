#include "Movement.h"

#include "Elementwise.h"

static bool infer_gather(mlc_graph *g, mlc_node *node) {
    const mlc_shape *data = &node->in[0]->shape, *index = &node->in[1]->shape;
    int axis;
    if (!mlc_infer_axis(g, node, mlc_attr_int(node, "axis", 0), data->rank, &axis) ||
        !mlc_infer_indices(g, node, 1, data->dim[axis]))
        return false;
    if (data->rank + index->rank - 1 > MLC_MAX_RANK)
        return mlc_error_at(g->diag, node, "the result would have %d dimensions; at most %d are supported",
                            data->rank + index->rank - 1, MLC_MAX_RANK);
    mlc_shape shape = {0};
    for (int d = 0; d < axis; d++)
        shape.dim[shape.rank++] = data->dim[d];
    for (int d = 0; d < index->rank; d++)
        shape.dim[shape.rank++] = index->dim[d];
    for (int d = axis + 1; d < data->rank; d++)
        shape.dim[shape.rank++] = data->dim[d];
    return mlc_infer_set(g, node, 0, node->in[0]->dtype, &shape);
}

/* out[o, m, :] = data[o, index[m], :] around `axis`. */
static void gather(const mlc_tensor *data, const mlc_tensor *index, int axis, mlc_tensor *out) {
    mlc_axis_view from = mlc_view_axis(&data->shape, axis);
    int64_t m = mlc_shape_elements(&index->shape);
    for (int64_t o = 0; o < from.outer; o++)
        for (int64_t k = 0; k < m; k++)
            mlc_move_n(out, (o * m + k) * from.inner, data,
                       mlc_view_at(&from, o, mlc_wrap_index(index->i[k], from.n), 0), from.inner);
}

static void eval_gather(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    gather(in[0], in[1], mlc_axis(mlc_attr_int(node, "axis", 0), in[0]->shape.rank), out[0]);
}

static bool need_constant_table(mlc_quant *q, const mlc_node *node) {
    if (node->in[0]->constant)
        return true;
    return mlc_error_at(q->diag, node,
                        "neither the data '%s' nor the indices '%s' are constant; one of them must be",
                        mlc_escape(node->in[0]->name), mlc_escape(node->in[1]->name));
}

/* A constant table indexed by data along `axis`: its rows are made contiguous, and
 * the rows taken are put in order again. */
static bool quantize_lookup(mlc_quant *q, const mlc_node *node, int axis) {
    if (node->in[1]->constant)
        return mlc_quantize_move(q, node);
    if (!need_constant_table(q, node))
        return false;
    mlc_axis_view from = mlc_view_axis(&node->in[0]->shape, axis);
    int64_t row = from.outer * from.inner, m = mlc_shape_elements(&node->in[1]->shape);
    int64_t *order = MLC_NEW_ARRAY(q->arena, from.n * row, int64_t);
    int64_t *back = MLC_NEW_ARRAY(q->arena, m * row, int64_t);
    for (int64_t o = 0; o < from.outer; o++)
        for (int64_t i = 0; i < from.inner; i++) {
            for (int64_t j = 0; j < from.n; j++)
                order[j * row + o * from.inner + i] = mlc_view_at(&from, o, j, i);
            for (int64_t k = 0; k < m; k++)
                back[(o * m + k) * from.inner + i] = k * row + o * from.inner + i;
        }
    mlc_value *index = mlc_q_value(q, node->in[1]);
    index = index ? mlc_q_wrap_index(q, index, from.n) : NULL;
    mlc_value *v = mlc_q_take(q, node->in[0], order, index, row, &(mlc_shape){.rank = 1, .dim = {m * row}});
    v = v ? mlc_q_gather(q, &v, 1, back, 0, &node->out[0]->shape) : NULL;
    return v && mlc_q_bind(q, node->out[0], v);
}

static bool quantize_gather(mlc_quant *q, const mlc_node *node) {
    return quantize_lookup(q, node, mlc_axis(mlc_attr_int(node, "axis", 0), node->in[0]->shape.rank));
}

/* ArrayFeatureExtractor gathers along the last axis; a vector gives a matrix of one row. */
static bool infer_extract(mlc_graph *g, mlc_node *node) {
    mlc_shape shape = node->in[0]->shape;
    if (shape.rank == 0)
        return mlc_error_at(g->diag, node, "input 0, '%s', is a scalar", mlc_escape(node->in[0]->name));
    if (!mlc_infer_indices(g, node, 1, shape.dim[shape.rank - 1]))
        return false;
    int64_t m = mlc_shape_elements(&node->in[1]->shape);
    if (shape.rank == 1)
        shape = (mlc_shape){.rank = 2, .dim = {1}};
    shape.dim[shape.rank - 1] = m;
    return mlc_infer_set(g, node, 0, node->in[0]->dtype, &shape);
}

static void eval_extract(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    (void)node;
    gather(in[0], in[1], in[0]->shape.rank - 1, out[0]);
}

static bool quantize_extract(mlc_quant *q, const mlc_node *node) {
    return quantize_lookup(q, node, node->in[0]->shape.rank - 1);
}

static bool infer_elements(mlc_graph *g, mlc_node *node) {
    const mlc_shape *data = &node->in[0]->shape, *index = &node->in[1]->shape;
    int axis;
    if (!mlc_infer_axis(g, node, mlc_attr_int(node, "axis", 0), data->rank, &axis) ||
        !mlc_infer_indices(g, node, 1, data->dim[axis]))
        return false;
    bool fits = index->rank == data->rank;
    for (int d = 0; fits && d < data->rank; d++)
        fits = d == axis || index->dim[d] <= data->dim[d];
    if (!fits)
        return mlc_error_at(g->diag, node, "indices of shape %s do not fit data of shape %s",
                            mlc_shape_str(g->arena, index), mlc_shape_str(g->arena, data));
    return mlc_infer_set(g, node, 0, node->in[0]->dtype, index);
}

/* The flat position in `data` of output element i where its index is 0. */
static int64_t element_base(const mlc_shape *data, const mlc_shape *index, int axis, int64_t i) {
    int64_t position[MLC_MAX_RANK];
    mlc_unflatten(index, i, position);
    position[axis] = 0;
    return mlc_flatten(data, position);
}

static void eval_elements(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    int axis = mlc_axis(mlc_attr_int(node, "axis", 0), in[0]->shape.rank);
    mlc_axis_view from = mlc_view_axis(&in[0]->shape, axis);
    int64_t n = mlc_shape_elements(&out[0]->shape);
    for (int64_t i = 0; i < n; i++)
        mlc_move(out[0], i, in[0],
                 element_base(&in[0]->shape, &in[1]->shape, axis, i) +
                     mlc_wrap_index(in[1]->i[i], from.n) * from.inner);
}

/* base[i] + index[i] * step, all whole numbers. */
static mlc_value *step_index(mlc_quant *q, mlc_value *base, mlc_value *index, int64_t step) {
    mlc_value *size = mlc_q_scalar(q, step);
    mlc_value *v = index && size ? mlc_q_mul(q, index, size) : NULL;
    return v && base ? mlc_q_add(q, v, base) : NULL;
}

static bool quantize_elements(mlc_quant *q, const mlc_node *node) {
    if (node->in[1]->constant)
        return mlc_quantize_move(q, node);
    if (!need_constant_table(q, node))
        return false;
    const mlc_shape *data = &node->in[0]->shape, *shape = &node->out[0]->shape;
    int axis = mlc_axis(mlc_attr_int(node, "axis", 0), data->rank);
    mlc_axis_view from = mlc_view_axis(data, axis);
    int64_t n = mlc_shape_elements(shape);
    int64_t *base = MLC_NEW_ARRAY(q->arena, n, int64_t);
    for (int64_t i = 0; i < n; i++)
        base[i] = element_base(data, shape, axis, i);
    mlc_value *index = mlc_q_value(q, node->in[1]);
    index = index ? mlc_q_wrap_index(q, index, from.n) : NULL;
    mlc_value *at = step_index(q, mlc_q_constant(q, base, shape), index, from.inner);
    mlc_value *v = mlc_q_take(q, node->in[0], NULL, at, 1, shape);
    return v && mlc_q_bind(q, node->out[0], v);
}

/* GatherND: index tuples of `depth` numbers select rows of `row` elements; tuple t
 * belongs to the batch that starts at row (t / tuples) * rows of the data. */
typedef struct nd_plan {
    int batch_dims, depth;
    int64_t batches, tuples, rows, row;
    int64_t step[MLC_MAX_RANK]; /* rows skipped by one more in each number of a tuple */
} nd_plan;

static nd_plan plan_nd(const mlc_node *node, const mlc_shape *data, const mlc_shape *index) {
    nd_plan p = {.batch_dims = (int)mlc_attr_int(node, "batch_dims", 0),
                 .depth = (int)index->dim[index->rank - 1],
                 .batches = 1,
                 .tuples = 1,
                 .rows = 1,
                 .row = 1};
    for (int d = 0; d < p.batch_dims; d++)
        p.batches *= data->dim[d];
    for (int d = p.batch_dims; d < index->rank - 1; d++)
        p.tuples *= index->dim[d];
    for (int d = p.batch_dims + p.depth; d < data->rank; d++)
        p.row *= data->dim[d];
    for (int k = p.depth - 1; k >= 0; k--) {
        p.step[k] = p.rows;
        p.rows *= data->dim[p.batch_dims + k];
    }
    return p;
}

static bool infer_nd(mlc_graph *g, mlc_node *node) {
    const mlc_shape *data = &node->in[0]->shape, *index = &node->in[1]->shape;
    int64_t b = mlc_attr_int(node, "batch_dims", 0);
    if (!mlc_infer_integer(g, node, 1))
        return false;
    bool fits = data->rank >= 1 && index->rank >= 1 && b >= 0 && b < data->rank && b < index->rank;
    for (int d = 0; fits && d < b; d++)
        fits = data->dim[d] == index->dim[d];
    int64_t depth = fits ? index->dim[index->rank - 1] : 0;
    if (!fits || depth < 1 || depth > data->rank - b)
        return mlc_error_at(g->diag, node,
                            "indices of shape %s do not fit data of shape %s with batch_dims %lld",
                            mlc_shape_str(g->arena, index), mlc_shape_str(g->arena, data), (long long)b);
    int rank = index->rank - 1 + data->rank - (int)(b + depth);
    if (rank > MLC_MAX_RANK)
        return mlc_error_at(g->diag, node, "the result would have %d dimensions; at most %d are supported",
                            rank, MLC_MAX_RANK);
    mlc_shape shape = {0};
    for (int d = 0; d < index->rank - 1; d++)
        shape.dim[shape.rank++] = index->dim[d];
    for (int d = (int)(b + depth); d < data->rank; d++)
        shape.dim[shape.rank++] = data->dim[d];

    const mlc_tensor *t = node->in[1]->constant;
    int64_t count = mlc_shape_elements(index);
    for (int64_t i = 0; i < count; i++) {
        int64_t n = data->dim[b + i % depth];
        if (n == 0 || (t && (t->i[i] < -n || t->i[i] >= n)))
            return mlc_error_at(g->diag, node, "input 1, '%s', holds an index outside data of shape %s",
                                mlc_escape(node->in[1]->name), mlc_shape_str(g->arena, data));
    }
    return mlc_infer_set(g, node, 0, node->in[0]->dtype, &shape);
}

static void eval_nd(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    nd_plan p = plan_nd(node, &in[0]->shape, &in[1]->shape);
    for (int64_t t = 0; t < p.batches * p.tuples; t++) {
        int64_t at = t / p.tuples * p.rows;
        for (int k = 0; k < p.depth; k++)
            at += p.step[k] * mlc_wrap_index(in[1]->i[t * p.depth + k], in[0]->shape.dim[p.batch_dims + k]);
        mlc_move_n(out[0], t * p.row, in[0], at * p.row, p.row);
    }
}

static bool quantize_nd(mlc_quant *q, const mlc_node *node) {
    if (node->in[1]->constant)
        return mlc_quantize_move(q, node);
    if (!need_constant_table(q, node))
        return false;
    const mlc_shape *data = &node->in[0]->shape;
    nd_plan p = plan_nd(node, data, &node->in[1]->shape);
    int64_t n = p.batches * p.tuples;
    mlc_shape flat = {.rank = 1, .dim = {n}};
    int64_t *pick = MLC_NEW_ARRAY(q->arena, n, int64_t);
    for (int64_t t = 0; t < n; t++)
        pick[t] = t / p.tuples * p.rows;
    mlc_value *index = mlc_q_value(q, node->in[1]), *at = mlc_q_constant(q, pick, &flat);
    for (int k = 0; index && at && k < p.depth; k++) {
        for (int64_t t = 0; t < n; t++)
            pick[t] = t * p.depth + k;
        mlc_value *column = mlc_q_gather(q, &index, 1, pick, 0, &flat);
        column = column ? mlc_q_wrap_index(q, column, data->dim[p.batch_dims + k]) : NULL;
        at = step_index(q, at, column, p.step[k]);
    }
    mlc_value *v = index && at ? mlc_q_take(q, node->in[0], NULL, at, p.row, &node->out[0]->shape) : NULL;
    return v && mlc_q_bind(q, node->out[0], v);
}

#define ROW(DOMAIN, NAME, SINCE, DOC, INFER, EVAL, QUANTIZE, ...) \
    {                                                             \
        .domain = DOMAIN,                                         \
        .name = NAME,                                             \
        .since = SINCE,                                           \
        .doc = DOC,                                               \
        .limits = "data or indices must be constant",             \
        .min_in = 2,                                              \
        .max_in = 2,                                              \
        .min_out = 1,                                             \
        .max_out = 1,                                             \
        .attrs = (const mlc_attr_spec[]){__VA_ARGS__},            \
        .infer = INFER,                                           \
        .eval = EVAL,                                             \
        .quantize = QUANTIZE,                                     \
    }

MLC_OPS(Gather,
        ROW("", "Gather", 1, "Picks along an axis by index.", infer_gather, eval_gather, quantize_gather,
            {"axis", MLC_ATTR_INT}, {0}),
        ROW("", "GatherElements", 11, "Picks single elements by their index on an axis.", infer_elements,
            eval_elements, quantize_elements, {"axis", MLC_ATTR_INT}, {0}),
        ROW("", "GatherND", 11, "Picks slices by tuples of indices.", infer_nd, eval_nd, quantize_nd,
            {"batch_dims", MLC_ATTR_INT}, {0}),
        ROW("ai.onnx.ml", "ArrayFeatureExtractor", 1, "Picks along the last axis by index.", infer_extract,
            eval_extract, quantize_extract, {0}));
