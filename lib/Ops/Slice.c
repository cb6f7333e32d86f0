#include "Movement.h"

#include "Elementwise.h"

/* What one dimension contributes: positions start, start + step, ... */
typedef struct slice {
    int64_t start, step, count;
} slice;

/* The node's parameters, from attributes (version 1) or constant inputs. */
typedef struct slice_args {
    const int64_t *start, *end, *axis, *step; /* axis and step may be NULL */
    int64_t n;
} slice_args;

static slice_args read_args(const mlc_node *node, const mlc_tensor *const in[5]) {
    slice_args a = {0};
    if (node->op->since == 1) {
        int64_t n;
        a.start = mlc_attr_ints(node, "starts", &a.n);
        a.end = mlc_attr_ints(node, "ends", &n);
        a.axis = mlc_attr_ints(node, "axes", &n);
        return a;
    }
    a.n = mlc_shape_elements(&in[1]->shape);
    a.start = in[1]->i;
    a.end = in[2]->i;
    a.axis = in[3] ? in[3]->i : NULL;
    a.step = in[4] ? in[4]->i : NULL;
    return a;
}

static int64_t clamp(int64_t x, int64_t lo, int64_t hi) {
    return x < lo ? lo : x > hi ? hi : x;
}

static slice make_slice(int64_t dim, int64_t start, int64_t end, int64_t step) {
    step = clamp(step, -MLC_MAX_ELEMENTS, MLC_MAX_ELEMENTS);
    int64_t lo = step > 0 ? 0 : -1, hi = step > 0 ? dim : dim - 1;
    start = clamp(start < 0 ? start + dim : start, step > 0 ? 0 : (dim > 0 ? 0 : -1), hi);
    end = clamp(end < 0 ? end + dim : end, lo, hi);
    int64_t span = step > 0 ? end - start : start - end, size = step > 0 ? step : -step;
    return (slice){start, step, span > 0 ? (span + size - 1) / size : 0};
}

static void make_slices(const slice_args *a, const mlc_shape *from, slice slices[MLC_MAX_RANK]) {
    for (int d = 0; d < from->rank; d++)
        slices[d] = (slice){0, 1, from->dim[d]};
    for (int64_t k = 0; k < a->n; k++) {
        int axis = a->axis ? mlc_axis(a->axis[k], from->rank) : (int)k;
        slices[axis] = make_slice(from->dim[axis], a->start[k], a->end[k], a->step ? a->step[k] : 1);
    }
}

static bool infer_slice(mlc_graph *g, mlc_node *node) {
    const mlc_shape *from = &node->in[0]->shape;
    const mlc_tensor *in[5] = {0};
    int64_t n_end, n_axis, n_step;
    if (node->op->since == 1) {
        mlc_attr_ints(node, "ends", &n_end);
        mlc_attr_ints(node, "axes", &n_axis);
        n_step = 0;
    } else {
        for (int k = 1; k < 5; k++) {
            if (k >= 3 && !mlc_has_in(node, k))
                continue;
            in[k] = mlc_infer_ints(g, node, k);
            if (!in[k])
                return false;
        }
        n_end = mlc_shape_elements(&in[2]->shape);
        n_axis = in[3] ? mlc_shape_elements(&in[3]->shape) : 0;
        n_step = in[4] ? mlc_shape_elements(&in[4]->shape) : 0;
    }
    slice_args a = read_args(node, in);
    if (n_end != a.n || (a.axis && n_axis != a.n) || (a.step && n_step != a.n))
        return mlc_error_at(g->diag, node, "starts, ends, axes and steps have different lengths");
    if (a.n > from->rank)
        return mlc_error_at(g->diag, node, "%lld slices are given for an input of shape %s", (long long)a.n,
                            mlc_shape_str(g->arena, from));
    bool used[MLC_MAX_RANK] = {0};
    for (int64_t k = 0; k < a.n; k++) {
        int axis;
        if (!mlc_infer_axis(g, node, a.axis ? a.axis[k] : k, from->rank, &axis))
            return false;
        if (used[axis])
            return mlc_error_at(g->diag, node, "axis %d is sliced twice", axis);
        used[axis] = true;
        if (a.step && a.step[k] == 0)
            return mlc_error_at(g->diag, node, "the step of axis %d is 0", axis);
    }
    slice slices[MLC_MAX_RANK];
    make_slices(&a, from, slices);
    mlc_shape shape = {.rank = from->rank};
    for (int d = 0; d < shape.rank; d++)
        shape.dim[d] = slices[d].count;
    return mlc_infer_set(g, node, 0, node->in[0]->dtype, &shape);
}

static void eval_slice(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    const mlc_tensor *args[5] = {0};
    for (int k = 0; k < node->n_in && k < 5; k++)
        args[k] = in[k];
    slice_args a = read_args(node, args);
    slice slices[MLC_MAX_RANK];
    make_slices(&a, &in[0]->shape, slices);
    int64_t position[MLC_MAX_RANK], n = mlc_shape_elements(&out[0]->shape);
    for (int64_t i = 0; i < n; i++) {
        mlc_unflatten(&out[0]->shape, i, position);
        for (int d = 0; d < out[0]->shape.rank; d++)
            position[d] = slices[d].start + position[d] * slices[d].step;
        mlc_move(out[0], i, in[0], mlc_flatten(&in[0]->shape, position));
    }
}

MLC_OPS(Slice,
        {.domain = "",
         .name = "Slice",
         .since = 1,
         .until = 9,
         .doc = "A box out of a tensor.",
         .min_in = 1,
         .max_in = 1,
         .min_out = 1,
         .max_out = 1,
         .attrs = (const mlc_attr_spec[]){{"axes", MLC_ATTR_INTS},
                                          {"ends", MLC_ATTR_INTS},
                                          {"starts", MLC_ATTR_INTS},
                                          {0}},
         .infer = infer_slice,
         .eval = eval_slice,
         .quantize = mlc_quantize_move},
        {.domain = "",
         .name = "Slice",
         .since = 10,
         .doc = "A box out of a tensor, with steps.",
         .limits = "starts, ends, axes and steps must be constants",
         .min_in = 3,
         .max_in = 5,
         .min_out = 1,
         .max_out = 1,
         .infer = infer_slice,
         .eval = eval_slice,
         .quantize = mlc_quantize_move});
