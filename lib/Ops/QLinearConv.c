#include "Form.h"
#include "Spatial.h"
#include "Whole.h"

/* Convolutions of quantized tensors: ConvInteger and QLinearConv. Inputs, -1: none. */
typedef struct layout {
    int x, x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero, bias;
} layout;

static const layout integer_layout = {0, -1, 2, 1, -1, 3, -1, -1, -1};
static const layout linear_layout = {0, 1, 2, 3, 4, 5, 6, 7, 8};

static const layout *layout_of(const mlc_node *node) {
    return strcmp(node->op->name, "ConvInteger") ? &linear_layout : &integer_layout;
}

static bool infer(mlc_graph *g, mlc_node *node) {
    const layout *l = layout_of(node);
    mlc_window w;
    for (int k = 0; k < 2; k++) {
        const mlc_value *v = node->in[k ? l->w : l->x], *z = mlc_input(node, k ? l->w_zero : l->x_zero);
        if (v->dtype != MLC_INT8 && v->dtype != MLC_UINT8)
            return mlc_error_at(g->diag, node, "input '%s' is of type %s, int8 or uint8 is needed",
                                mlc_escape(v->name), mlc_dtype_name(v->dtype));
        const int64_t n = z ? mlc_shape_elements(&z->shape) : 1;
        if (z && (z->dtype != v->dtype || (n != 1 && !(k && v->shape.rank && n == v->shape.dim[0]))))
            return mlc_error_at(
                g->diag, node, "zero point '%s' is of type %s and shape %s, which does not fit",
                mlc_escape(z->name), mlc_dtype_name(z->dtype), mlc_shape_str(g->arena, &z->shape));
    }
    if (!mlc_window_of(g, node, &node->in[l->x]->shape, &node->in[l->w]->shape, &w))
        return false;
    const mlc_shape shape = mlc_window_shape(&w, node->in[l->x]->shape.dim[0]);
    if (l->x_scale < 0)
        return mlc_infer_set(g, node, 0, MLC_INT32, &shape);
    const mlc_value *bias = mlc_input(node, l->bias), *zero = mlc_input(node, l->y_zero);
    if (!mlc_grid_check(g, node, l->x_scale, l->x_zero, 0) ||
        !mlc_grid_check(g, node, l->w_scale, l->w_zero, w.geometry.channels_out) ||
        !mlc_grid_check(g, node, l->y_scale, l->y_zero, 0))
        return false;
    if (bias && (bias->dtype != MLC_INT32 || mlc_shape_elements(&bias->shape) != w.geometry.channels_out))
        return mlc_error_at(g->diag, node, "bias '%s' is %s of shape %s, int32 of shape [%lld] is needed",
                            mlc_escape(bias->name), mlc_dtype_name(bias->dtype),
                            mlc_shape_str(g->arena, &bias->shape), (long long)w.geometry.channels_out);
    return mlc_infer_set(g, node, 0, zero ? zero->dtype : node->in[l->x]->dtype, &shape);
}

static void eval(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    const layout *l = layout_of(node);
    const mlc_tensor *x_zero = mlc_operand(node, in, l->x_zero), *w_zero = mlc_operand(node, in, l->w_zero);
    const mlc_tensor *bias = l->bias >= 0 ? mlc_operand(node, in, l->bias) : NULL;
    const mlc_tensor *y_zero = l->y_zero >= 0 ? mlc_operand(node, in, l->y_zero) : NULL;
    mlc_window w;
    mlc_window_of(NULL, node, &in[l->x]->shape, &in[l->w]->shape, &w);
    int64_t at = 0;
    for (int64_t n = 0; n < in[l->x]->shape.dim[0]; n++)
        for (int64_t m = 0; m < w.geometry.channels_out; m++)
            for (int64_t p = 0; p < w.positions; p++, at++) {
                double sum = mlc_window_convolve(&w, in[l->x], (double)mlc_grid_zero(x_zero, 0), in[l->w],
                                                 (double)mlc_grid_zero(w_zero, m), n, m, p);
                if (bias)
                    sum += (double)bias->i[m];
                const int64_t whole = mlc_wrap(MLC_INT32, (int64_t)sum);
                if (l->x_scale < 0) {
                    out[0]->i[at] = whole;
                    continue;
                }
                const double scale = mlc_f32(
                    mlc_f32(in[l->x_scale]->f[0] * mlc_grid_scale(in[l->w_scale], m)) / in[l->y_scale]->f[0]);
                out[0]->i[at] = mlc_to_grid(out[0]->dtype, mlc_f32(mlc_f32((double)whole) * scale),
                                            mlc_grid_zero(y_zero, 0));
            }
}

/* The sums in int32, of weights and inputs minus their zero points. */
static mlc_value *integer_sums(mlc_quant *q, const mlc_node *node, const mlc_window *window) {
    const layout *l = layout_of(node);
    const mlc_value *weights = node->in[l->w], *x_zero = mlc_input(node, l->x_zero),
                    *w_zero = mlc_input(node, l->w_zero),
                    *bias = l->bias >= 0 ? mlc_input(node, l->bias) : NULL;
    const int64_t n = mlc_shape_elements(&weights->shape), N = weights->shape.dim[0], row = N ? n / N : 0;
    int64_t *w = MLC_NEW_ARRAY(q->arena, n + 1, int64_t), *addend = MLC_NEW_ARRAY(q->arena, N + 1, int64_t),
            padding = 0;
    mlc_value *x = mlc_q_value(q, node->in[l->x]);
    if (x_zero && x_zero->constant) {
        padding = x_zero->constant->i[0];
    } else if (x && x_zero) {
        const mlc_shape scalar = {0};
        mlc_value *zero = mlc_q_value(q, x_zero);
        x = zero ? mlc_q_sub(q, x, mlc_q_reshape(q, zero, &scalar)) : NULL;
    }
    for (int64_t i = 0; i < n; i++) {
        w[i] = weights->constant->i[i] - mlc_grid_zero(w_zero ? w_zero->constant : NULL, i / row);
        addend[i / row] -= padding * w[i];
    }
    for (int64_t o = 0; o < N && bias; o++)
        addend[o] += bias->constant->i[o];
    mlc_value *y = x ? mlc_q_integer_conv(q, x, padding, w, &weights->shape, addend, &window->geometry,
                                          &node->out[0]->shape)
                     : NULL;
    return y ? mlc_q_wrap(q, y, MLC_INT32) : NULL;
}

/* What the sums stand for, as eval computes it: one function for each scale. */
static mlc_form *scaled(mlc_quant *q, const mlc_node *node, mlc_value *sum, const mlc_window *window) {
    const layout *l = layout_of(node);
    const mlc_value *y_zero = mlc_input(node, l->y_zero);
    const int64_t n = mlc_shape_elements(&sum->shape), N = window->geometry.channels_out;
    const bool many = mlc_shape_elements(&node->in[l->w_scale]->shape) > 1;
    int *cls = MLC_NEW_ARRAY(q->arena, n + 1, int);
    for (int64_t i = 0; i < n; i++)
        cls[i] = many ? (int)(i / window->positions % N) : 0;
    mlc_form *f = mlc_form_simple(q, sum, NULL);
    f->cls = cls;
    f->n_cls = many ? (int)N : 1;
    if (N > MLC_FORM_CLASSES)
        return NULL;
    const mlc_chain **chains = MLC_NEW_ARRAY(q->arena, f->n_cls, const mlc_chain *);
    for (int c = 0; c < f->n_cls; c++) {
        const double scale = mlc_f32(mlc_f32(node->in[l->x_scale]->constant->f[0] *
                                             mlc_grid_scale(node->in[l->w_scale]->constant, c)) /
                                     node->in[l->y_scale]->constant->f[0]);
        chains[c] = mlc_chain_grid(q, mlc_chain_linear(q, 1, 0, 0, MLC_INT32), scale,
                                   mlc_grid_zero(y_zero ? y_zero->constant : NULL, 0), node->out[0]->dtype);
    }
    f->chain = chains;
    return f;
}

static bool quantize(mlc_quant *q, const mlc_node *node) {
    const layout *l = layout_of(node);
    const mlc_value *weights = node->in[l->w], *w_zero = mlc_input(node, l->w_zero),
                    *bias = l->bias >= 0 ? mlc_input(node, l->bias) : NULL;
    if (!weights->constant || (w_zero && !w_zero->constant) || (bias && !bias->constant))
        return mlc_error_at(q->diag, node, "a convolution needs constant weights and bias");
    if (node->in[l->x]->shape.dim[0] != 1)
        return mlc_error_at(q->diag, node,
                            "a quantized convolution of %lld images is not supported; batches must be of 1",
                            (long long)node->in[l->x]->shape.dim[0]);
    mlc_window window;
    mlc_window_of(NULL, node, &node->in[l->x]->shape, &weights->shape, &window);
    mlc_grid g;
    if (l->x_scale >= 0 && (!mlc_q_grid(q, node, l->x_scale, l->x_zero, &node->out[0]->shape, 1, 0, &g) ||
                            !mlc_q_grid(q, node, l->w_scale, l->w_zero, &node->out[0]->shape, 1, 0, &g) ||
                            !mlc_q_grid(q, node, l->y_scale, l->y_zero, &node->out[0]->shape, 1, 0, &g)))
        return false;
    mlc_value *sum = integer_sums(q, node, &window);
    if (!sum || l->x_scale < 0)
        return mlc_q_result(q, node, sum);
    return mlc_form_bind_step(q, node->out[0], scaled(q, node, sum, &window)) ||
           mlc_error_at(q->diag, node, "no exact integer form of the requantization was found");
}

#define ROW(NAME, LEAST, MOST, DOC)                                                         \
    {.domain = "",                                                                          \
     .name = NAME,                                                                          \
     .since = 10,                                                                           \
     .doc = DOC,                                                                            \
     .limits = "constant weights and bias",                                                 \
     .min_in = LEAST,                                                                       \
     .max_in = MOST,                                                                        \
     .min_out = 1,                                                                          \
     .max_out = 1,                                                                          \
     .attrs =                                                                               \
         (const mlc_attr_spec[]){                                                           \
             MLC_WINDOW_ATTRS, {"dilations", MLC_ATTR_INTS}, {"group", MLC_ATTR_INT}, {0}}, \
     .infer = infer,                                                                        \
     .eval = eval,                                                                          \
     .quantize = quantize}

MLC_OPS(QLinearConv, ROW("ConvInteger", 2, 4, "Convolution of 8-bit integers"),
        ROW("QLinearConv", 8, 9, "Convolution of quantized tensors, quantized"));
