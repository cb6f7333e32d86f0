#include "Real.h"

#include <math.h>

enum { SCALE = 1, BIAS, MEAN, VARIANCE };

/* spatial = 0 (before opset 9): one set of parameters for each element, not each channel. */
static bool per_element(const mlc_node *node) {
    return mlc_attr_int(node, "spatial", 1) == 0;
}

/* The shape of the parameters, with which they broadcast to x. */
static mlc_shape parameter_shape(const mlc_node *node, const mlc_shape *x) {
    mlc_shape s = {.rank = x->rank > 1 ? x->rank - 1 : 1, .dim = {1}};
    for (int d = 1; d < x->rank; d++)
        s.dim[d - 1] = d == 1 || per_element(node) ? x->dim[d] : 1;
    return s;
}

static bool infer(mlc_graph *g, mlc_node *node) {
    const mlc_shape *x = &node->in[0]->shape;
    if (mlc_attr_int(node, "training_mode", 0))
        return mlc_error_at(g->diag, node, "training_mode is set; export the model for inference");
    for (int k = 1; k < node->n_out; k++)
        if (node->out[k])
            return mlc_error_at(g->diag, node,
                                "output '%s' exists in training only; export the model for inference",
                                mlc_escape(node->out[k]->name));
    if (x->rank < 1)
        return mlc_error_at(g->diag, node, "input '%s' is a scalar", mlc_escape(node->in[0]->name));
    const mlc_shape want = parameter_shape(node, x);
    for (int k = 0; k <= VARIANCE; k++) {
        if (!mlc_need_float(g, node, k))
            return false;
        const mlc_shape *have = &node->in[k]->shape;
        if (k > 0 && ((have->rank != 1 && !per_element(node)) ||
                      mlc_shape_elements(have) != mlc_shape_elements(&want)))
            return mlc_error_at(
                g->diag, node, "input '%s' has shape %s, which does not fit an input of shape %s",
                mlc_escape(node->in[k]->name), mlc_shape_str(g->arena, have), mlc_shape_str(g->arena, x));
    }
    return mlc_infer_same(g, node);
}

static double epsilon(const mlc_node *node) {
    return mlc_attr_float(node, "epsilon", (double)1e-5f);
}

static void eval(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    const mlc_shape shape = parameter_shape(node, &in[0]->shape);
    const int64_t n = mlc_shape_elements(&in[0]->shape);
    mlc_walk w;
    mlc_walk_begin(&w, &in[0]->shape, 1, (const mlc_shape *const[]){&shape});
    for (int64_t i = 0; i < n; i++, mlc_walk_next(&w)) {
        const int64_t p = w.at[0];
        const double centered = in[0]->f[i] - in[MEAN]->f[p];
        out[0]->f[i] = centered / sqrt(in[VARIANCE]->f[p] + epsilon(node)) * in[SCALE]->f[p] + in[BIAS]->f[p];
    }
}

static bool quantize(mlc_quant *q, const mlc_node *node) {
    for (int k = SCALE; k <= VARIANCE; k++)
        if (!node->in[k]->constant)
            return mlc_error_at(q->diag, node, "input '%s' is not constant", mlc_escape(node->in[k]->name));
    const double *scale = node->in[SCALE]->constant->f, *bias = node->in[BIAS]->constant->f;
    const double *mean = node->in[MEAN]->constant->f, *variance = node->in[VARIANCE]->constant->f;
    const mlc_shape shape = parameter_shape(node, &node->in[0]->shape);
    const int64_t n = mlc_shape_elements(&shape);
    double *factor = MLC_NEW_ARRAY(q->arena, n, double), *addend = MLC_NEW_ARRAY(q->arena, n, double);
    for (int64_t p = 0; p < n; p++) {
        factor[p] = scale[p] / sqrt(variance[p] + epsilon(node));
        addend[p] = bias[p] - mean[p] * factor[p];
        if (!isfinite(factor[p]) || !isfinite(addend[p]))
            return mlc_error_at(q->diag, node, "channel %lld has variance %g, scale %g, mean %g and bias %g",
                                (long long)p, variance[p], scale[p], mean[p], bias[p]);
    }
    mlc_value *y = mlc_q_value(q, node->in[0]);
    y = y ? mlc_q_mul_real(q, y, factor, &shape) : NULL;
    return mlc_q_result(q, node, y ? mlc_q_add_real(q, y, addend, &shape) : NULL);
}

#define ROW(SINCE, UNTIL, OUTPUTS, ...)                                                                   \
    {.domain = "",                                                                                        \
     .name = "BatchNormalization",                                                                        \
     .since = SINCE,                                                                                      \
     .until = UNTIL,                                                                                      \
     .doc = "(x - mean) / sqrt(variance + epsilon) * scale + bias, for each channel",                     \
     .limits = "inference only; constant parameters",                                                     \
     .min_in = 5,                                                                                         \
     .max_in = 5,                                                                                         \
     .min_out = 1,                                                                                        \
     .max_out = OUTPUTS,                                                                                  \
     .attrs =                                                                                             \
         (const mlc_attr_spec[]){{"epsilon", MLC_ATTR_FLOAT}, {"momentum", MLC_ATTR_FLOAT}, __VA_ARGS__}, \
     .infer = infer,                                                                                      \
     .eval = eval,                                                                                        \
     .quantize = quantize}

MLC_OPS(BatchNormalization,
        ROW(1, 8, 5, {"spatial", MLC_ATTR_INT}, {"is_test", MLC_ATTR_INT}, {"consumed_inputs", MLC_ATTR_INTS},
            {0}),
        ROW(9, 13, 5, {0}), ROW(14, 0, 3, {"training_mode", MLC_ATTR_INT}, {0}));
