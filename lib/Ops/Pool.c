#include "Real.h"
#include "Spatial.h"

#include <math.h>

/* MaxPool, AveragePool and LpPool; their global kinds are one window over everything. */

static bool global(const mlc_node *node) {
    return !strncmp(node->op->name, "Global", 6);
}

static void window_of(const mlc_node *node, const mlc_shape *x, mlc_window *w) {
    if (!global(node)) {
        mlc_window_of(NULL, node, x, NULL, w);
        return;
    }
    *w = (mlc_window){.positions = 1, .pixels = 1};
    w->geometry.channels_in = w->geometry.channels_out = x->dim[1];
    for (int d = 2; d < x->rank; d++)
        w->pixels *= x->dim[d];
    w->taps = w->pixels;
}

/* Flat index into x of a tap of the window for flat output index i; -1: padding. */
static int64_t tap_index(const mlc_node *node, const mlc_window *w, int64_t i, int64_t tap) {
    const int64_t plane = i / w->positions;
    const int64_t at = global(node) ? tap : mlc_window_at(w, i % w->positions, tap);
    return at < 0 ? -1 : plane * w->pixels + at;
}

static bool infer(mlc_graph *g, mlc_node *node) {
    const mlc_value *x = node->in[0];
    mlc_window w;
    if (!mlc_window_of(g, node, &x->shape, NULL, &w))
        return false;
    const mlc_shape shape = mlc_window_shape(&w, x->shape.dim[0]);
    return mlc_infer_set(g, node, 0, x->dtype, &shape);
}

static bool infer_real(mlc_graph *g, mlc_node *node) {
    return mlc_need_float(g, node, 0) && infer(g, node);
}

static bool infer_max(mlc_graph *g, mlc_node *node) {
    if (node->n_out > 1 && node->out[1])
        return mlc_error_at(g->diag, node, "output '%s' (the positions of the maxima) is not supported",
                            mlc_escape(node->out[1]->name));
    return infer(g, node);
}

static bool infer_global(mlc_graph *g, mlc_node *node) {
    mlc_shape shape = node->in[0]->shape;
    if (!mlc_need_float(g, node, 0))
        return false;
    if (shape.rank < 2)
        return mlc_error_at(g->diag, node, "input has shape %s; batch and channel dimensions are needed",
                            mlc_shape_str(g->arena, &shape));
    for (int d = 2; d < shape.rank; d++) {
        if (shape.dim[d] < 1)
            return mlc_error_at(g->diag, node, "the input is empty: shape %s",
                                mlc_shape_str(g->arena, &node->in[0]->shape));
        shape.dim[d] = 1;
    }
    return mlc_infer_set(g, node, 0, node->in[0]->dtype, &shape);
}

static void eval_max(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    mlc_window w;
    window_of(node, &in[0]->shape, &w);
    const int64_t n = mlc_shape_elements(&out[0]->shape);
    const bool real = mlc_dtype_is_float(in[0]->dtype);
    int64_t lowest, highest;
    mlc_dtype_range(in[0]->dtype, &lowest, &highest);
    for (int64_t i = 0; i < n; i++) {
        double most = -INFINITY;
        int64_t most_int = lowest;
        for (int64_t tap = 0; tap < w.taps; tap++) {
            const int64_t at = tap_index(node, &w, i, tap);
            if (at < 0)
                continue;
            if (real)
                most = fmax(most, in[0]->f[at]);
            else if (in[0]->i[at] > most_int)
                most_int = in[0]->i[at];
        }
        if (real)
            out[0]->f[i] = most;
        else
            out[0]->i[i] = most_int;
    }
}

/* What the sum of a window is divided by: its taps inside the input or, with
 * count_include_pad, inside the input and its padding. */
static int64_t count(const mlc_node *node, const mlc_window *w, int64_t i) {
    if (global(node))
        return w->taps;
    const bool padding = mlc_attr_int(node, "count_include_pad", 0) != 0;
    int64_t n = 0;
    for (int64_t tap = 0; tap < w->taps; tap++)
        n += padding ? mlc_window_padded(w, i % w->positions, tap)
                     : mlc_window_at(w, i % w->positions, tap) >= 0;
    return n;
}

static void eval_average(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    mlc_window w;
    window_of(node, &in[0]->shape, &w);
    const int64_t n = mlc_shape_elements(&out[0]->shape);
    for (int64_t i = 0; i < n; i++) {
        double sum = 0;
        for (int64_t tap = 0; tap < w.taps; tap++) {
            const int64_t at = tap_index(node, &w, i, tap);
            sum += at < 0 ? 0 : in[0]->f[at];
        }
        out[0]->f[i] = sum / (double)count(node, &w, i);
    }
}

/* The norm's degree is an integer, but a float in opset 1. */
static double degree(const mlc_node *node) {
    return node->opset < 2 ? mlc_attr_float(node, "p", 2) : (double)mlc_attr_int(node, "p", 2);
}

static bool infer_lp(mlc_graph *g, mlc_node *node) {
    if (!(degree(node) > 0))
        return mlc_error_at(g->diag, node, "attribute 'p' is %g, a positive number is needed", degree(node));
    return global(node) ? infer_global(g, node) : infer_real(g, node);
}

static void eval_lp(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    mlc_window w;
    window_of(node, &in[0]->shape, &w);
    const double p = degree(node);
    const int64_t n = mlc_shape_elements(&out[0]->shape);
    for (int64_t i = 0; i < n; i++) {
        double sum = 0;
        for (int64_t tap = 0; tap < w.taps; tap++) {
            const int64_t at = tap_index(node, &w, i, tap);
            sum += at < 0 ? 0 : pow(fabs(in[0]->f[at]), p);
        }
        out[0]->f[i] = pow(sum, 1 / p);
    }
}

int64_t *mlc_pool_index(mlc_arena *arena, const mlc_node *node, int64_t *taps, int64_t **counts) {
    mlc_window w;
    window_of(node, &node->in[0]->shape, &w);
    const int64_t n = mlc_shape_elements(&node->out[0]->shape);
    int64_t *index = MLC_NEW_ARRAY(arena, n * w.taps, int64_t);
    *counts = MLC_NEW_ARRAY(arena, n + 1, int64_t);
    for (int64_t i = 0; i < n; i++) {
        bool empty = true;
        for (int64_t tap = 0; tap < w.taps; tap++)
            empty = (index[i * w.taps + tap] = tap_index(node, &w, i, tap)) < 0 && empty;
        if (empty)
            return NULL;
        (*counts)[i] = count(node, &w, i);
    }
    *taps = w.taps;
    return index;
}

/* Reduces the windows of v, which has the shape of input 0. */
static mlc_value *reduce_windows(mlc_quant *q, const mlc_node *node, const mlc_window *w, mlc_reduce kind,
                                 mlc_value *v) {
    if (!v)
        return NULL;
    const mlc_shape *shape = &node->out[0]->shape;
    int64_t taps, *counts;
    const int64_t *index = mlc_pool_index(q->arena, node, &taps, &counts);
    if (!index) {
        mlc_error_at(q->diag, node, "a window lies entirely in the padding");
        return NULL;
    }
    return mlc_q_reduce(q, kind, v, index, w->taps, shape);
}

static bool quantize_max(mlc_quant *q, const mlc_node *node) {
    mlc_window w;
    window_of(node, &node->in[0]->shape, &w);
    return mlc_q_result(q, node, reduce_windows(q, node, &w, MLC_REDUCE_MAX, mlc_q_value(q, node->in[0])));
}

static bool quantize_average(mlc_quant *q, const mlc_node *node) {
    mlc_window w;
    window_of(node, &node->in[0]->shape, &w);
    mlc_value *sum = reduce_windows(q, node, &w, MLC_REDUCE_SUM, mlc_q_value(q, node->in[0]));
    if (!sum)
        return false;
    const int64_t n = mlc_shape_elements(&sum->shape);
    double *share = MLC_NEW_ARRAY(q->arena, n, double);
    bool uniform = true;
    for (int64_t i = 0; i < n; i++) {
        share[i] = 1 / (double)count(node, &w, i);
        uniform = uniform && share[i] == share[0];
    }
    return mlc_q_result(q, node,
                        uniform && n > 0 ? mlc_q_scale_by(q, sum, share[0])
                                         : mlc_q_mul_real(q, sum, share, &sum->shape));
}

static bool quantize_lp(mlc_quant *q, const mlc_node *node) {
    const double p = degree(node);
    if (p != 1 && p != 2)
        return mlc_error_at(q->diag, node, "attribute 'p' is %g, only 1 and 2 are supported", p);
    mlc_window w;
    window_of(node, &node->in[0]->shape, &w);
    mlc_value *x = mlc_q_value(q, node->in[0]);
    x = !x ? NULL : p == 1 ? mlc_q_abs(q, x) : mlc_q_mul(q, x, x);
    mlc_value *sum = reduce_windows(q, node, &w, MLC_REDUCE_SUM, x);
    return mlc_q_result(q, node, sum && p == 2 ? mlc_q_sqrt(q, sum) : sum);
}

#define ROW(NAME, FUNCTION, SINCE, UNTIL, OUTPUTS, INFER, LIMITS, DOC, ...) \
    {.domain = "",                                                          \
     .name = NAME,                                                          \
     .since = SINCE,                                                        \
     .until = UNTIL,                                                        \
     .doc = DOC,                                                            \
     .limits = LIMITS,                                                      \
     .min_in = 1,                                                           \
     .max_in = 1,                                                           \
     .min_out = 1,                                                          \
     .max_out = OUTPUTS,                                                    \
     .attrs = (const mlc_attr_spec[]){__VA_ARGS__},                         \
     .infer = INFER,                                                        \
     .eval = eval_##FUNCTION,                                               \
     .quantize = quantize_##FUNCTION}

MLC_OPS(Pool,
        ROW("MaxPool", max, 1, 0, 2, infer_max, "no second output", "Largest element of each window",
            MLC_WINDOW_ATTRS, {"dilations", MLC_ATTR_INTS}, {"ceil_mode", MLC_ATTR_INT},
            {"storage_order", MLC_ATTR_INT}, {0}),
        ROW("AveragePool", average, 1, 0, 1, infer_real, NULL, "Mean of each window", MLC_WINDOW_ATTRS,
            {"dilations", MLC_ATTR_INTS}, {"ceil_mode", MLC_ATTR_INT}, {"count_include_pad", MLC_ATTR_INT},
            {0}),
        ROW("LpPool", lp, 1, 1, 1, infer_lp, "p of 1 or 2", "p-norm of each window", MLC_WINDOW_ATTRS,
            {"p", MLC_ATTR_FLOAT}, {0}),
        ROW("LpPool", lp, 2, 0, 1, infer_lp, "p of 1 or 2", "p-norm of each window", MLC_WINDOW_ATTRS,
            {"dilations", MLC_ATTR_INTS}, {"ceil_mode", MLC_ATTR_INT}, {"p", MLC_ATTR_INT}, {0}),
        ROW("GlobalMaxPool", max, 1, 0, 1, infer_global, NULL, "Largest element of each channel", {0}),
        ROW("GlobalAveragePool", average, 1, 0, 1, infer_global, NULL, "Mean of each channel", {0}),
        ROW("GlobalLpPool", lp, 1, 1, 1, infer_lp, "p of 1 or 2", "p-norm of each channel",
            {"p", MLC_ATTR_FLOAT}, {0}),
        ROW("GlobalLpPool", lp, 2, 0, 1, infer_lp, "p of 1 or 2", "p-norm of each channel",
            {"p", MLC_ATTR_INT}, {0}));
