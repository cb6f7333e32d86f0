#include "Form.h"
#include "Spatial.h"

/* com.microsoft average pools of quantized tensors. */
enum { X, X_SCALE, X_ZERO, Y_SCALE, Y_ZERO };

static bool global(const mlc_node *node) {
    return !strcmp(node->op->name, "QLinearGlobalAveragePool");
}

static bool channels_last(const mlc_node *node) {
    return mlc_attr_int(node, "channels_last", 0) != 0;
}

/* The input's shape with channels in second place. */
static mlc_shape channels_first_shape(const mlc_node *node) {
    const mlc_shape *x = &node->in[X]->shape;
    mlc_shape s = *x;
    for (int d = 1; d < x->rank && channels_last(node); d++)
        s.dim[d] = d == 1 ? x->dim[x->rank - 1] : x->dim[d - 1];
    return s;
}

static mlc_shape as_stored(const mlc_node *node, const mlc_shape *first) {
    mlc_shape s = *first;
    for (int d = 1; d < first->rank && channels_last(node); d++)
        s.dim[d] = d == first->rank - 1 ? first->dim[1] : first->dim[d + 1];
    return s;
}

/* With g NULL, after infer has passed, it cannot fail. */
static bool window_of(mlc_graph *g, const mlc_node *node, mlc_window *w) {
    const mlc_shape x = channels_first_shape(node);
    if (!global(node))
        return mlc_window_of(g, node, &x, NULL, w);
    *w = (mlc_window){.positions = 1, .pixels = 1};
    w->geometry.nd = x.rank - 2;
    if (x.rank < 3 || x.rank > 5)
        return mlc_error_at(g->diag, node,
                            "input has shape %s; supported are one to three spatial dimensions",
                            mlc_shape_str(g->arena, &node->in[X]->shape));
    w->geometry.channels_in = w->geometry.channels_out = x.dim[1];
    for (int d = 0; d < 3; d++) {
        w->geometry.in[d] = w->geometry.kernel[d] = d < x.rank - 2 ? x.dim[d + 2] : 1;
        w->geometry.out[d] = w->geometry.stride[d] = w->geometry.dilation[d] = 1;
        w->pixels *= w->geometry.in[d];
    }
    w->taps = w->pixels;
    return w->taps > 0 || mlc_error_at(g->diag, node, "the input is empty");
}

static bool infer(mlc_graph *g, mlc_node *node) {
    mlc_window w;
    const mlc_value *x = node->in[X];
    if (x->dtype != MLC_INT8 && x->dtype != MLC_UINT8)
        return mlc_error_at(g->diag, node, "input '%s' is of type %s, int8 or uint8 is needed",
                            mlc_escape(x->name), mlc_dtype_name(x->dtype));
    if (!mlc_grid_check(g, node, X_SCALE, X_ZERO, 0) || !mlc_grid_check(g, node, Y_SCALE, Y_ZERO, 0) ||
        !window_of(g, node, &w))
        return false;
    const mlc_shape first = mlc_window_shape(&w, x->shape.dim[0]), shape = as_stored(node, &first);
    return mlc_infer_set(g, node, 0, x->dtype, &shape);
}

/* Flat index of spatial position `at` of a channel, for tensors of `size` positions. */
static int64_t stored_at(const mlc_node *node, const mlc_window *w, int64_t batch, int64_t channel,
                         int64_t at, int64_t size) {
    const int64_t channels = w->geometry.channels_in;
    return channels_last(node) ? (batch * size + at) * channels + channel
                               : (batch * channels + channel) * size + at;
}

/* What the window at an output position is divided by. */
static int64_t count(const mlc_node *node, const mlc_window *w, int64_t position) {
    const bool padding = mlc_attr_int(node, "count_include_pad", 0) != 0;
    int64_t n = 0;
    for (int64_t tap = 0; tap < w->taps; tap++)
        n += padding ? mlc_window_padded(w, position, tap) : mlc_window_at(w, position, tap) >= 0;
    return n;
}

static void eval(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    mlc_window w;
    window_of(NULL, node, &w);
    const int64_t x_zero = mlc_grid_zero(in[X_ZERO], 0),
                  y_zero = mlc_grid_zero(mlc_operand(node, in, Y_ZERO), 0);
    for (int64_t b = 0; b < in[X]->shape.dim[0]; b++)
        for (int64_t c = 0; c < w.geometry.channels_in; c++)
            for (int64_t p = 0; p < w.positions; p++) {
                double sum = 0;
                int64_t whole = 0;
                for (int64_t tap = 0; tap < w.taps; tap++) {
                    const int64_t at = mlc_window_at(&w, p, tap);
                    if (at < 0)
                        continue;
                    const int64_t centered = in[X]->i[stored_at(node, &w, b, c, at, w.pixels)] - x_zero;
                    whole += centered;
                    sum = mlc_f32(sum + mlc_f32((double)centered * in[X_SCALE]->f[0]));
                }
                const double n = (double)count(node, &w, p);
                const double ratio = mlc_f32(in[X_SCALE]->f[0] / mlc_f32(in[Y_SCALE]->f[0] * n));
                const double y = global(node) ? mlc_f32(mlc_f32((double)whole) * ratio)
                                              : mlc_f32(mlc_f32(sum / n) / in[Y_SCALE]->f[0]);
                out[0]->i[stored_at(node, &w, b, c, p, w.positions)] = mlc_to_grid(out[0]->dtype, y, y_zero);
            }
}

/* From the sum of a window over n positions. Global pools scale it in one
 * multiplication, as onnxruntime, which defines these operators, does. */
static const mlc_chain *requantized(mlc_quant *q, const mlc_node *node, int64_t n, int64_t zeros) {
    const double xs = node->in[X_SCALE]->constant->f[0], ys = node->in[Y_SCALE]->constant->f[0];
    const int64_t y_zero = mlc_input(node, Y_ZERO) ? node->in[Y_ZERO]->constant->i[0] : 0;
    const mlc_dtype t = node->out[0]->dtype;
    if (!global(node)) {
        const mlc_chain *mean = mlc_chain_linear(q, xs / (double)n, zeros, 0, MLC_FLOAT);
        return mlc_chain_quantize(q, mean, ys, y_zero, t, MLC_FLOAT);
    }
    const mlc_chain *sum = mlc_chain_linear(q, 1, zeros, 0, MLC_FLOAT);
    return mlc_chain_grid(q, sum, mlc_f32(xs / mlc_f32(ys * (double)n)), y_zero, t);
}

static bool quantize(mlc_quant *q, const mlc_node *node) {
    mlc_grid from, to;
    mlc_window w;
    window_of(NULL, node, &w);
    if (!mlc_q_grid(q, node, X_SCALE, X_ZERO, &node->in[X]->shape, 0, 0, &from) ||
        !mlc_q_grid(q, node, Y_SCALE, Y_ZERO, &node->out[0]->shape, 0, 0, &to))
        return false;
    mlc_value *x = mlc_q_value(q, node->in[X]);
    const mlc_shape *shape = &node->out[0]->shape;
    const int64_t n = mlc_shape_elements(shape), x_zero = from.zero ? *from.zero : 0;
    int64_t *index = MLC_NEW_ARRAY(q->arena, n * w.taps, int64_t),
            *keys = MLC_NEW_ARRAY(q->arena, 2 * n + 1, int64_t), *first;
    for (int64_t b = 0; b < node->in[X]->shape.dim[0]; b++)
        for (int64_t c = 0; c < w.geometry.channels_in; c++)
            for (int64_t p = 0; p < w.positions; p++) {
                const int64_t i = stored_at(node, &w, b, c, p, w.positions);
                for (int64_t tap = 0; tap < w.taps; tap++) {
                    const int64_t at = mlc_window_at(&w, p, tap);
                    index[i * w.taps + tap] = at < 0 ? -1 : stored_at(node, &w, b, c, at, w.pixels);
                    keys[2 * i + 1] += at < 0 ? 0 : x_zero;
                }
                keys[2 * i] = count(node, &w, p);
                if (keys[2 * i] == 0)
                    return mlc_error_at(q->diag, node, "a window lies entirely in the padding");
            }
    mlc_value *sum = x ? mlc_q_reduce(q, MLC_REDUCE_SUM, x, index, w.taps, shape) : NULL;
    if (!sum)
        return false;
    mlc_form *f = mlc_form_simple(q, sum, NULL);
    f->cls = mlc_classes(q->arena, keys, n, 2, &f->n_cls, &first);
    if (!f->cls)
        return mlc_error_at(q->diag, node, "the windows are of too many kinds");
    const mlc_chain **chains = MLC_NEW_ARRAY(q->arena, f->n_cls + 1, const mlc_chain *);
    for (int c = 0; c < f->n_cls; c++)
        chains[c] = requantized(q, node, keys[2 * first[c]], keys[2 * first[c] + 1]);
    f->chain = chains;
    return mlc_form_bind_step(q, node->out[0], f) ||
           mlc_error_at(q->diag, node, "no exact integer form of the requantization was found");
}

#define ROW(NAME, LEAST, DOC, ...)                                                   \
    {.domain = "com.microsoft",                                                      \
     .name = NAME,                                                                   \
     .since = 1,                                                                     \
     .doc = DOC,                                                                     \
     .limits = "constant scales and zero points",                                    \
     .min_in = LEAST,                                                                \
     .max_in = 5,                                                                    \
     .min_out = 1,                                                                   \
     .max_out = 1,                                                                   \
     .attrs = (const mlc_attr_spec[]){{"channels_last", MLC_ATTR_INT}, __VA_ARGS__}, \
     .infer = infer,                                                                 \
     .eval = eval,                                                                   \
     .quantize = quantize}

MLC_OPS(QLinearPool,
        ROW("QLinearGlobalAveragePool", 5, "Mean of each channel of a quantized tensor, quantized", {0}),
        ROW("QLinearAveragePool", 4, "Mean of each window of a quantized tensor, quantized", MLC_WINDOW_ATTRS,
            {"ceil_mode", MLC_ATTR_INT}, {"count_include_pad", MLC_ATTR_INT}, {0}));
