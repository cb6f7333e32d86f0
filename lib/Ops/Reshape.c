#include "Movement.h"

#include "Elementwise.h"

static void eval_reshape(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    (void)node;
    mlc_move_n(out[0], 0, in[0], 0, mlc_shape_elements(&out[0]->shape));
}

/* The new shape, with its 0 and -1 resolved. */
static bool resolve(mlc_graph *g, mlc_node *node, const int64_t *dim, int64_t rank, bool allowzero) {
    const mlc_shape *from = &node->in[0]->shape;
    if (rank > MLC_MAX_RANK)
        return mlc_error_at(g->diag, node, "the result would have %lld dimensions; at most %d are supported",
                            (long long)rank, MLC_MAX_RANK);
    mlc_shape shape = {.rank = (int)rank};
    int64_t known = 1, total = mlc_shape_elements(from);
    int open = -1;
    bool zero = false;
    for (int d = 0; d < shape.rank; d++) {
        int64_t n = dim[d];
        if (n == 0 && !allowzero) {
            if (d >= from->rank)
                return mlc_error_at(g->diag, node, "dimension %d is to be copied from an input of shape %s",
                                    d, mlc_shape_str(g->arena, from));
            n = from->dim[d];
        } else if (n == -1) {
            if (open >= 0)
                return mlc_error_at(g->diag, node, "more than one dimension is -1");
            open = d;
            continue;
        }
        if (n < 0 || n > MLC_MAX_ELEMENTS)
            return mlc_error_at(g->diag, node, "dimension %d is %lld", d, (long long)n);
        zero |= n == 0;
        shape.dim[d] = n;
        if (n > 0 && known > MLC_MAX_ELEMENTS / n)
            return mlc_error_at(g->diag, node, "the new shape has more than %lld elements",
                                (long long)MLC_MAX_ELEMENTS);
        known *= n > 0 ? n : 1;
    }
    if (open >= 0 && !zero && total % known == 0)
        shape.dim[open] = total / known;
    else if (open >= 0 && !(zero && total == 0 && !allowzero))
        return mlc_error_at(g->diag, node, "%lld elements cannot be divided by the given dimensions",
                            (long long)total);
    if (mlc_shape_elements(&shape) != total)
        return mlc_error_at(g->diag, node, "an input of shape %s cannot become %s",
                            mlc_shape_str(g->arena, from), mlc_shape_str(g->arena, &shape));
    return mlc_infer_set(g, node, 0, node->in[0]->dtype, &shape);
}

static bool infer_reshape_1(mlc_graph *g, mlc_node *node) {
    int64_t n;
    const int64_t *dim = mlc_attr_ints(node, "shape", &n);
    return resolve(g, node, dim, n, false);
}

static bool infer_reshape(mlc_graph *g, mlc_node *node) {
    const mlc_tensor *dims = mlc_infer_ints(g, node, 1);
    return dims && resolve(g, node, dims->i, mlc_shape_elements(&dims->shape),
                           mlc_attr_int(node, "allowzero", 0) != 0);
}

static bool infer_flatten(mlc_graph *g, mlc_node *node) {
    const mlc_shape *from = &node->in[0]->shape;
    int64_t axis = mlc_attr_int(node, "axis", 1);
    int at = from->rank;
    if (axis != from->rank && !mlc_infer_axis(g, node, axis, from->rank, &at))
        return false;
    mlc_shape before = {.rank = at}, after = {.rank = from->rank - at};
    memcpy(before.dim, from->dim, (size_t)before.rank * sizeof(int64_t));
    memcpy(after.dim, from->dim + at, (size_t)after.rank * sizeof(int64_t));
    mlc_shape shape = {.rank = 2, .dim = {mlc_shape_elements(&before), mlc_shape_elements(&after)}};
    return mlc_infer_set(g, node, 0, node->in[0]->dtype, &shape);
}

static bool infer_squeeze(mlc_graph *g, mlc_node *node) {
    const mlc_shape *from = &node->in[0]->shape;
    int axes[MLC_MAX_RANK], n;
    if (!mlc_infer_axes(g, node, 1, from->rank, axes, &n))
        return false;
    bool drop[MLC_MAX_RANK] = {0};
    for (int d = 0; d < from->rank && n < 0; d++)
        drop[d] = from->dim[d] == 1;
    for (int k = 0; k < n; k++) {
        if (from->dim[axes[k]] != 1)
            return mlc_error_at(g->diag, node, "axis %d of shape %s is not 1", axes[k],
                                mlc_shape_str(g->arena, from));
        drop[axes[k]] = true;
    }
    mlc_shape shape = {0};
    for (int d = 0; d < from->rank; d++)
        if (!drop[d])
            shape.dim[shape.rank++] = from->dim[d];
    return mlc_infer_set(g, node, 0, node->in[0]->dtype, &shape);
}

static bool infer_unsqueeze(mlc_graph *g, mlc_node *node) {
    const mlc_shape *from = &node->in[0]->shape;
    int64_t n = 0;
    const int64_t *axes;
    if (node->op->since >= 13) {
        const mlc_tensor *t = mlc_infer_ints(g, node, 1);
        if (!t)
            return false;
        axes = t->i;
        n = mlc_shape_elements(&t->shape);
    } else {
        axes = mlc_attr_ints(node, "axes", &n);
    }
    if (n > MLC_MAX_RANK - from->rank)
        return mlc_error_at(g->diag, node, "the result would have %lld dimensions; at most %d are supported",
                            (long long)n + from->rank, MLC_MAX_RANK);
    mlc_shape shape = {.rank = from->rank + (int)n};
    bool added[MLC_MAX_RANK] = {0};
    for (int64_t k = 0; k < n; k++) {
        int axis;
        if (!mlc_infer_axis(g, node, axes[k], shape.rank, &axis))
            return false;
        if (added[axis])
            return mlc_error_at(g->diag, node, "axis %d is given twice", axis);
        added[axis] = true;
    }
    for (int d = 0, s = 0; d < shape.rank; d++)
        shape.dim[d] = added[d] ? 1 : from->dim[s++];
    return mlc_infer_set(g, node, 0, node->in[0]->dtype, &shape);
}

#define ROW(NAME, DOC, SINCE, UNTIL, MAX_IN, MIN_IN, INFER, ...) \
    {                                                            \
        .domain = "",                                            \
        .name = NAME,                                            \
        .since = SINCE,                                          \
        .until = UNTIL,                                          \
        .doc = DOC,                                              \
        .min_in = MIN_IN,                                        \
        .max_in = MAX_IN,                                        \
        .min_out = 1,                                            \
        .max_out = 1,                                            \
        .attrs = (const mlc_attr_spec[]){__VA_ARGS__},           \
        .infer = INFER,                                          \
        .eval = eval_reshape,                                    \
        .quantize = mlc_quantize_reshape,                        \
    }
#define RESHAPE(SINCE, UNTIL, N_IN, INFER, ...) \
    ROW("Reshape", "The same elements in another shape.", SINCE, UNTIL, N_IN, N_IN, INFER, __VA_ARGS__)
#define SQUEEZE(SINCE, UNTIL, MAX_IN, ...) \
    ROW("Squeeze", "Removes dimensions of 1.", SINCE, UNTIL, MAX_IN, 1, infer_squeeze, __VA_ARGS__)
#define UNSQUEEZE(SINCE, UNTIL, N_IN, ...) \
    ROW("Unsqueeze", "Inserts dimensions of 1.", SINCE, UNTIL, N_IN, N_IN, infer_unsqueeze, __VA_ARGS__)

MLC_OPS(Reshape,
        RESHAPE(1, 4, 1, infer_reshape_1, {"consumed_inputs", MLC_ATTR_INTS}, {"shape", MLC_ATTR_INTS}, {0}),
        RESHAPE(5, 13, 2, infer_reshape, {0}),
        RESHAPE(14, 0, 2, infer_reshape, {"allowzero", MLC_ATTR_INT}, {0}),
        ROW("Flatten", "A matrix of the same elements.", 1, 0, 1, 1, infer_flatten, {"axis", MLC_ATTR_INT},
            {0}),
        SQUEEZE(1, 12, 1, {"axes", MLC_ATTR_INTS}, {0}), SQUEEZE(13, 0, 2, {0}),
        UNSQUEEZE(1, 12, 1, {"axes", MLC_ATTR_INTS}, {0}), UNSQUEEZE(13, 0, 2, {0}));
