#include "Real.h"
#include "Spatial.h"

static const mlc_value *bias_of(const mlc_node *node) {
    return node->n_in > 2 ? node->in[2] : NULL;
}

static bool infer(mlc_graph *g, mlc_node *node) {
    const mlc_value *bias = bias_of(node);
    mlc_window w;
    if (!mlc_need_float(g, node, 0) || !mlc_need_float(g, node, 1) || !mlc_need_float(g, node, 2) ||
        !mlc_window_of(g, node, &node->in[0]->shape, &node->in[1]->shape, &w))
        return false;
    if (bias && (bias->shape.rank != 1 || bias->shape.dim[0] != w.geometry.channels_out))
        return mlc_error_at(g->diag, node, "bias '%s' has shape %s, expected [%lld]", mlc_escape(bias->name),
                            mlc_shape_str(g->arena, &bias->shape), (long long)w.geometry.channels_out);
    const mlc_shape shape = mlc_window_shape(&w, node->in[0]->shape.dim[0]);
    return mlc_infer_set(g, node, 0, node->in[0]->dtype, &shape);
}

static void eval(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    mlc_window w;
    mlc_window_of(NULL, node, &in[0]->shape, &in[1]->shape, &w);
    const mlc_tensor *bias = node->n_in > 2 ? in[2] : NULL;
    int64_t at = 0;
    for (int64_t n = 0; n < in[0]->shape.dim[0]; n++)
        for (int64_t m = 0; m < w.geometry.channels_out; m++)
            for (int64_t p = 0; p < w.positions; p++)
                out[0]->f[at++] =
                    mlc_window_convolve(&w, in[0], 0, in[1], 0, n, m, p) + (bias ? bias->f[m] : 0);
}

static bool quantize(mlc_quant *q, const mlc_node *node) {
    const mlc_value *bias = bias_of(node);
    if (!node->in[1]->constant || (bias && !bias->constant))
        return mlc_error_at(q->diag, node,
                            "'%s' is not constant; a convolution needs constant weights and bias",
                            mlc_escape(node->in[1]->constant ? bias->name : node->in[1]->name));
    mlc_window w;
    mlc_window_of(NULL, node, &node->in[0]->shape, &node->in[1]->shape, &w);
    mlc_value *x = mlc_q_value(q, node->in[0]);
    return mlc_q_result(q, node,
                        x ? mlc_q_window_convolve(q, &w, x, node->in[1]->constant,
                                                  bias ? bias->constant->f : NULL, node->in[0]->shape.dim[0])
                          : NULL);
}

MLC_OPS(Conv, {.domain = "",
               .name = "Conv",
               .since = 1,
               .doc = "Convolution in one to three dimensions",
               .limits = "constant weights and bias",
               .min_in = 2,
               .max_in = 3,
               .min_out = 1,
               .max_out = 1,
               .attrs = (const mlc_attr_spec[]){MLC_WINDOW_ATTRS,
                                                {"dilations", MLC_ATTR_INTS},
                                                {"group", MLC_ATTR_INT},
                                                {0}},
               .infer = infer,
               .eval = eval,
               .quantize = quantize});
