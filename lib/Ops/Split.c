#include "Movement.h"

#include "Elementwise.h"

/* The given sizes: from attribute or input "split"; NULL: equal parts. */
static const int64_t *given_sizes(const mlc_node *node, const mlc_tensor *split, int64_t *n) {
    if (split) {
        *n = mlc_shape_elements(&split->shape);
        return split->i;
    }
    return mlc_attr_ints(node, "split", n);
}

/* Where output k begins, and its size. */
static void part(const mlc_node *node, const mlc_tensor *split, int64_t dim, int k, int64_t *start,
                 int64_t *size) {
    int64_t n;
    const int64_t *sizes = given_sizes(node, split, &n);
    *start = 0;
    if (sizes) {
        for (int j = 0; j < k; j++)
            *start += sizes[j];
        *size = sizes[k];
        return;
    }
    int64_t each = (dim + node->n_out - 1) / node->n_out;
    *start = k * each < dim ? k * each : dim;
    *size = dim - *start < each ? dim - *start : each;
}

static bool infer_split(mlc_graph *g, mlc_node *node) {
    mlc_shape shape = node->in[0]->shape;
    const mlc_tensor *split = NULL;
    int axis;
    if (!mlc_infer_axis(g, node, mlc_attr_int(node, "axis", 0), shape.rank, &axis))
        return false;
    if (mlc_has_in(node, 1) && !(split = mlc_infer_ints(g, node, 1)))
        return false;

    int64_t n, sum = 0, dim = shape.dim[axis];
    const int64_t *sizes = given_sizes(node, split, &n);
    int64_t wanted = mlc_attr_int(node, "num_outputs", node->n_out);
    if (wanted != node->n_out || (sizes && n != node->n_out))
        return mlc_error_at(g->diag, node, "%lld parts are asked for and %d outputs named",
                            (long long)(sizes ? n : wanted), node->n_out);
    if (!sizes && node->op->since < 18 && dim % node->n_out)
        return mlc_error_at(g->diag, node, "axis %d of size %lld cannot be split into %d equal parts", axis,
                            (long long)dim, node->n_out);
    for (int64_t k = 0; sizes && k < n; k++) {
        if (sizes[k] < 0 || sizes[k] > dim - sum)
            return mlc_error_at(g->diag, node, "the parts do not add up to axis %d of size %lld", axis,
                                (long long)dim);
        sum += sizes[k];
    }
    if (sizes && sum != dim)
        return mlc_error_at(g->diag, node, "the parts do not add up to axis %d of size %lld", axis,
                            (long long)dim);
    for (int k = 0; k < node->n_out; k++) {
        int64_t start;
        part(node, split, dim, k, &start, &shape.dim[axis]);
        if (!mlc_infer_set(g, node, k, node->in[0]->dtype, &shape))
            return false;
    }
    return true;
}

static void eval_split(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    int axis = mlc_axis(mlc_attr_int(node, "axis", 0), in[0]->shape.rank);
    mlc_axis_view from = mlc_view_axis(&in[0]->shape, axis);
    const mlc_tensor *split = mlc_has_in(node, 1) ? in[1] : NULL;
    for (int k = 0; k < node->n_out; k++) {
        int64_t start, size;
        part(node, split, from.n, k, &start, &size);
        for (int64_t o = 0; out[k] && o < from.outer; o++)
            mlc_move_n(out[k], o * size * from.inner, in[0], mlc_view_at(&from, o, start, 0),
                       size * from.inner);
    }
}

#define SPLIT(SINCE, UNTIL, MAX_IN, ...)                                       \
    {                                                                          \
        .domain = "",                                                          \
        .name = "Split",                                                       \
        .since = SINCE,                                                        \
        .until = UNTIL,                                                        \
        .doc = "Cuts a tensor along an axis.",                                 \
        .limits = "sizes must be constants",                                   \
        .min_in = 1,                                                           \
        .max_in = MAX_IN,                                                      \
        .min_out = 1,                                                          \
        .max_out = -1,                                                         \
        .attrs = (const mlc_attr_spec[]){{"axis", MLC_ATTR_INT}, __VA_ARGS__}, \
        .infer = infer_split,                                                  \
        .eval = eval_split,                                                    \
        .quantize = mlc_quantize_move,                                         \
    }

MLC_OPS(Split, SPLIT(1, 1, 2, {"split", MLC_ATTR_INTS}, {0}), SPLIT(2, 12, 1, {"split", MLC_ATTR_INTS}, {0}),
        SPLIT(13, 17, 2, {0}), SPLIT(18, 0, 2, {"num_outputs", MLC_ATTR_INT}, {0}));
