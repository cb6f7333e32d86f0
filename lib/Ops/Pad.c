#include "Movement.h"

#include "Elementwise.h"

typedef enum pad_mode { PAD_CONSTANT, PAD_EDGE, PAD_REFLECT, PAD_WRAP, PAD_UNKNOWN } pad_mode;

static pad_mode mode_of(const mlc_node *node) {
    static const char *const names[] = {"constant", "edge", "reflect", "wrap"};
    const char *mode = mlc_attr_string(node, "mode", "constant");
    int n = node->op->since >= 19 ? 4 : 3;
    for (int k = 0; k < n; k++)
        if (!strcmp(mode, names[k]))
            return (pad_mode)k;
    return PAD_UNKNOWN;
}

/* Counts before and after each axis, negative where elements are cut off. */
typedef struct pad_plan {
    pad_mode mode;
    int64_t before[MLC_MAX_RANK], after[MLC_MAX_RANK];
} pad_plan;

/* `pads` holds n counts before, then n after, for the n axes (all when `axes` is NULL). */
static pad_plan plan_pads(const mlc_node *node, int rank, const int64_t *pads, const mlc_tensor *axes) {
    pad_plan p = {.mode = mode_of(node)};
    int n = axes ? (int)mlc_shape_elements(&axes->shape) : rank;
    for (int k = 0; k < n; k++) {
        int d = axes ? mlc_axis(axes->i[k], rank) : k;
        p.before[d] = pads[k];
        p.after[d] = pads[n + k];
    }
    return p;
}

static const int64_t *pads_of(const mlc_node *node, const mlc_tensor *pads, int64_t *n) {
    if (node->op->since < 11)
        return mlc_attr_ints(node, node->op->since == 1 ? "paddings" : "pads", n);
    *n = mlc_shape_elements(&pads->shape);
    return pads->i;
}

static bool infer_axes(mlc_graph *g, mlc_node *node, const mlc_tensor *axes, int rank) {
    bool used[MLC_MAX_RANK] = {0};
    int64_t n = mlc_shape_elements(&axes->shape);
    for (int64_t k = 0; k < n; k++) {
        int axis;
        if (!mlc_infer_axis(g, node, axes->i[k], rank, &axis))
            return false;
        if (used[axis])
            return mlc_error_at(g->diag, node, "axis %d is given twice", axis);
        used[axis] = true;
    }
    return true;
}

static bool infer_pad(mlc_graph *g, mlc_node *node) {
    const mlc_shape *from = &node->in[0]->shape;
    const mlc_tensor *pads = NULL, *axes = NULL;
    if (node->op->since >= 11 && !(pads = mlc_infer_ints(g, node, 1)))
        return false;
    if (mlc_has_in(node, 2)) {
        const mlc_tensor *fill = mlc_infer_constant(g, node, 2);
        if (!fill || !mlc_infer_same_dtype(g, node, 0, 2))
            return false;
        if (mlc_shape_elements(&fill->shape) != 1)
            return mlc_error_at(g->diag, node, "constant_value has shape %s and must be one number",
                                mlc_shape_str(g->arena, &fill->shape));
    }
    if (mlc_has_in(node, 3) &&
        (!(axes = mlc_infer_ints(g, node, 3)) || !infer_axes(g, node, axes, from->rank)))
        return false;
    int64_t n, wanted = 2 * (axes ? mlc_shape_elements(&axes->shape) : from->rank);
    const int64_t *counts = pads_of(node, pads, &n);
    if (n != wanted)
        return mlc_error_at(g->diag, node, "%lld pads are given where %lld are needed", (long long)n,
                            (long long)wanted);
    for (int64_t k = 0; k < n; k++)
        if (counts[k] < -MLC_MAX_ELEMENTS || counts[k] > MLC_MAX_ELEMENTS)
            return mlc_error_at(g->diag, node, "a pad of %lld is too large", (long long)counts[k]);

    pad_plan p = plan_pads(node, from->rank, counts, axes);
    if (p.mode == PAD_UNKNOWN)
        return mlc_error_at(g->diag, node, "mode '%s' is not one of constant, edge, reflect%s",
                            mlc_escape(mlc_attr_string(node, "mode", "")),
                            node->op->since >= 19 ? ", wrap" : "");
    mlc_shape shape = {.rank = from->rank};
    for (int d = 0; d < shape.rank; d++) {
        shape.dim[d] = from->dim[d] + p.before[d] + p.after[d];
        if (p.mode != PAD_CONSTANT && from->dim[d] == 0 && shape.dim[d] > 0)
            return mlc_error_at(g->diag, node, "axis %d is empty: there is nothing to pad it with", d);
    }
    return mlc_infer_set(g, node, 0, node->in[0]->dtype, &shape);
}

/* The position in 0..n-1 that stands at p, or -1 for the fill. */
static int64_t source(pad_mode mode, int64_t p, int64_t n) {
    if (p >= 0 && p < n)
        return p;
    switch (mode) {
    case PAD_EDGE:
        return p < 0 ? 0 : n - 1;
    case PAD_WRAP:
        return (p % n + n) % n;
    case PAD_REFLECT: {
        int64_t period = n > 1 ? 2 * (n - 1) : 1;
        p = (p % period + period) % period;
        return p < n ? p : period - p;
    }
    default:
        return -1;
    }
}

/* The element of the input at flat index i of the output, or -1. */
static int64_t pad_source(const pad_plan *p, const mlc_shape *from, const mlc_shape *to, int64_t i) {
    int64_t position[MLC_MAX_RANK];
    mlc_unflatten(to, i, position);
    for (int d = 0; d < from->rank; d++) {
        position[d] = source(p->mode, position[d] - p->before[d], from->dim[d]);
        if (position[d] < 0)
            return -1;
    }
    return mlc_flatten(from, position);
}

static void eval_pad(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    int64_t n, total = mlc_shape_elements(&out[0]->shape);
    const mlc_tensor *fill = mlc_has_in(node, 2) ? in[2] : NULL;
    double value = mlc_attr_float(node, "value", 0);
    const int64_t *counts = pads_of(node, node->n_in > 1 ? in[1] : NULL, &n);
    pad_plan p = plan_pads(node, in[0]->shape.rank, counts, mlc_has_in(node, 3) ? in[3] : NULL);
    for (int64_t i = 0; i < total; i++) {
        int64_t at = pad_source(&p, &in[0]->shape, &out[0]->shape, i);
        if (at >= 0)
            mlc_move(out[0], i, in[0], at);
        else if (fill)
            mlc_move(out[0], i, fill, 0);
        else if (mlc_dtype_is_float(out[0]->dtype))
            out[0]->f[i] = value;
        else
            out[0]->i[i] = mlc_real_to_int(out[0]->dtype, value);
    }
}

static bool quantize_pad(mlc_quant *q, const mlc_node *node) {
    const mlc_shape *from = &node->in[0]->shape, *to = &node->out[0]->shape;
    int64_t n, total = mlc_shape_elements(to);
    double fill =
        mlc_has_in(node, 2) ? mlc_tensor_real(node->in[2]->constant, 0) : mlc_attr_float(node, "value", 0);
    const int64_t *counts = pads_of(node, node->n_in > 1 ? node->in[1]->constant : NULL, &n);
    pad_plan p = plan_pads(node, from->rank, counts, mlc_has_in(node, 3) ? node->in[3]->constant : NULL);
    int64_t *index = MLC_NEW_ARRAY(q->arena, total, int64_t);
    for (int64_t i = 0; i < total; i++)
        index[i] = pad_source(&p, from, to, i);
    mlc_value *v = mlc_q_value(q, node->in[0]);
    v = v ? mlc_q_gather(q, &v, 1, index, fill, to) : NULL;
    return v && mlc_q_bind(q, node->out[0], v);
}

#define PAD(SINCE, UNTIL, MIN_IN, MAX_IN, ...)                                    \
    {                                                                             \
        .domain = "",                                                             \
        .name = "Pad",                                                            \
        .since = SINCE,                                                           \
        .until = UNTIL,                                                           \
        .doc = "Surrounds a tensor.",                                             \
        .limits = "pads and the value must be constants",                         \
        .min_in = MIN_IN,                                                         \
        .max_in = MAX_IN,                                                         \
        .min_out = 1,                                                             \
        .max_out = 1,                                                             \
        .attrs = (const mlc_attr_spec[]){{"mode", MLC_ATTR_STRING}, __VA_ARGS__}, \
        .infer = infer_pad,                                                       \
        .eval = eval_pad,                                                         \
        .quantize = quantize_pad,                                                 \
    }

MLC_OPS(Pad, PAD(1, 1, 1, 1, {"paddings", MLC_ATTR_INTS}, {"value", MLC_ATTR_FLOAT}, {0}),
        PAD(2, 10, 1, 1, {"pads", MLC_ATTR_INTS}, {"value", MLC_ATTR_FLOAT}, {0}), PAD(11, 17, 2, 3, {0}),
        PAD(18, 18, 2, 4, {0}), PAD(19, 0, 2, 4, {0}));
