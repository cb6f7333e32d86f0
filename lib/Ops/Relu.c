#include "Real.h"

static double relu_real(double x) {
    return x < 0 ? 0 : x;
}
static int64_t relu_int(int64_t x) {
    return x < 0 ? 0 : x;
}

static void eval_relu(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    (void)node;
    mlc_eval_unary(in[0], out[0], relu_real, relu_int);
}

static bool quantize_relu(mlc_quant *q, const mlc_node *node) {
    mlc_value *x = mlc_q_value(q, node->in[0]);
    return mlc_q_result(q, node, x ? mlc_q_at_least(q, x, 0) : NULL);
}

/* max(x, 0) + slope * min(x, 0), where slope is a value or, if NULL, the number c. */
static mlc_value *two_slopes(mlc_quant *q, mlc_value *x, mlc_value *slope, double c) {
    if (!slope && c == 0)
        return mlc_q_at_least(q, x, 0);
    /* For slopes up to 1 the larger branch is the right one, and x is not split. */
    if (!slope && c > 0 && c <= 1) {
        mlc_value *flat = mlc_q_scale_by(q, x, c);
        return flat ? mlc_q_max(q, x, flat) : NULL;
    }
    mlc_value *above = mlc_q_at_least(q, x, 0), *below = mlc_q_at_most(q, x, 0);
    if (!above || !below)
        return NULL;
    below = slope ? mlc_q_mul(q, below, slope) : mlc_q_scale_by(q, below, c);
    return below ? mlc_q_add(q, above, below) : NULL;
}

static double leaky_alpha(const mlc_node *node) {
    return mlc_attr_float(node, "alpha", (double)0.01f);
}

static double leaky(double x, const void *alpha) {
    return x < 0 ? *(const double *)alpha * x : x;
}

static void eval_leaky(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    const double alpha = leaky_alpha(node);
    mlc_eval_function(in[0], out[0], leaky, &alpha);
}

static bool quantize_leaky(mlc_quant *q, const mlc_node *node) {
    mlc_value *x = mlc_q_value(q, node->in[0]);
    return mlc_q_result(q, node, x ? two_slopes(q, x, NULL, leaky_alpha(node)) : NULL);
}

/* The slope broadcasts to the input. Before opset 7 a slope of C elements is one for each channel. */
static mlc_shape slope_shape(const mlc_node *node) {
    const mlc_shape *x = &node->in[0]->shape;
    mlc_shape s = node->in[1]->shape;
    if (node->opset < 7 && s.rank == 1 && x->rank > 2 && s.dim[0] == x->dim[1])
        while (s.rank < x->rank - 1)
            s.dim[s.rank++] = 1;
    return s;
}

static bool infer_prelu(mlc_graph *g, mlc_node *node) {
    const mlc_value *x = node->in[0], *slope = node->in[1];
    if (x->dtype != slope->dtype)
        return mlc_error_at(g->diag, node, "the slope is %s, but the input is %s",
                            mlc_dtype_name(slope->dtype), mlc_dtype_name(x->dtype));
    const mlc_shape s = slope_shape(node);
    mlc_shape both;
    if (!mlc_shape_broadcast(&s, &x->shape, &both) || !mlc_shape_equal(&both, &x->shape))
        return mlc_error_at(g->diag, node, "slope of shape %s does not broadcast to the input's shape %s",
                            mlc_shape_str(g->arena, &slope->shape), mlc_shape_str(g->arena, &x->shape));
    return mlc_infer_same(g, node);
}

static double prelu_real(double x, double slope) {
    return x < 0 ? x * slope : x;
}
static int64_t prelu_int(int64_t x, int64_t slope) {
    return x < 0 ? mlc_wrap_mul(x, slope) : x;
}

static void eval_prelu(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    mlc_tensor slope = *in[1];
    slope.shape = slope_shape(node);
    mlc_eval_binary(in[0], &slope, out[0], prelu_real, prelu_int);
}

static bool quantize_prelu(mlc_quant *q, const mlc_node *node) {
    mlc_value *x = mlc_q_value(q, node->in[0]);
    const mlc_shape shape = slope_shape(node);
    if (!x)
        return false;
    if (!node->in[1]->constant || !mlc_dtype_is_float(node->in[1]->dtype)) {
        mlc_value *slope = mlc_q_value(q, node->in[1]);
        slope = slope ? mlc_q_reshape(q, slope, &shape) : NULL;
        return mlc_q_result(q, node, slope ? two_slopes(q, x, slope, 0) : NULL);
    }
    const double *slope = mlc_reals(q->arena, node->in[1]->constant);
    if (mlc_shape_elements(&shape) == 1)
        return mlc_q_result(q, node, two_slopes(q, x, NULL, slope[0]));
    mlc_value *above = mlc_q_at_least(q, x, 0), *below = mlc_q_at_most(q, x, 0);
    below = below ? mlc_q_mul_real(q, below, slope, &shape) : NULL;
    return mlc_q_result(q, node, above && below ? mlc_q_add(q, above, below) : NULL);
}

static double thresholded(double x, const void *alpha) {
    return x > *(const double *)alpha ? x : 0;
}

static void eval_thresholded(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    const double alpha = mlc_attr_float(node, "alpha", 1);
    mlc_eval_function(in[0], out[0], thresholded, &alpha);
}

/* The result jumps by alpha where x crosses it: an inexact x may land on the wrong side. */
static void widen_jump(mlc_quant *q, mlc_value *y, const mlc_value *x, double at, double height) {
    const int64_t n = mlc_shape_elements(&y->shape);
    double *err = MLC_NEW_ARRAY(q->arena, n, double);
    for (int64_t i = 0; i < n; i++) {
        const bool crosses = mlc_q_real_lo(x, i) <= at && mlc_q_real_hi(x, i) >= at;
        err[i] = mlc_q_err(y, i) + (crosses ? height : 0);
    }
    y->err = err;
}

static bool quantize_thresholded(mlc_quant *q, const mlc_node *node) {
    const double alpha = mlc_attr_float(node, "alpha", 1);
    const mlc_shape scalar = {0};
    mlc_value *x = mlc_q_value(q, node->in[0]);
    mlc_value *over = x ? mlc_q_shift_by(q, x, -alpha) : NULL;
    const int64_t nothing = 0;
    mlc_value *zero = mlc_q_constant(q, &nothing, &scalar);
    mlc_value *keep = over && zero ? mlc_q_less(q, zero, over) : NULL;
    mlc_value *y = keep ? mlc_q_where(q, keep, x, zero) : NULL;
    if (y)
        widen_jump(q, y, over, 0, alpha < 0 ? -alpha : alpha);
    return mlc_q_result(q, node, y);
}

#define ALPHA                                                              \
    (const mlc_attr_spec[]) {                                              \
        {"alpha", MLC_ATTR_FLOAT}, {"consumed_inputs", MLC_ATTR_INTS}, {0} \
    }
#define NO_ALPHA                                \
    (const mlc_attr_spec[]) {                   \
        {"consumed_inputs", MLC_ATTR_INTS}, {0} \
    }
#define ROW(NAME, FUNCTION, SINCE, INPUTS, INFER, ATTRS, DOC) \
    {.domain = "",                                            \
     .name = NAME,                                            \
     .since = SINCE,                                          \
     .doc = DOC,                                              \
     .min_in = INPUTS,                                        \
     .max_in = INPUTS,                                        \
     .min_out = 1,                                            \
     .max_out = 1,                                            \
     .attrs = ATTRS,                                          \
     .infer = INFER,                                          \
     .eval = eval_##FUNCTION,                                 \
     .quantize = quantize_##FUNCTION}

MLC_OPS(Relu, ROW("Relu", relu, 1, 1, mlc_infer_same, NO_ALPHA, "max(x, 0)"),
        ROW("LeakyRelu", leaky, 1, 1, mlc_infer_real, ALPHA, "x for x >= 0, alpha * x below"),
        ROW("PRelu", prelu, 1, 2, infer_prelu, NO_ALPHA, "x for x >= 0, slope * x below"),
        ROW("ThresholdedRelu", thresholded, 10, 1, mlc_infer_real, ALPHA, "x for x > alpha, 0 elsewhere"));
