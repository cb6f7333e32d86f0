#include "Real.h"

#include <math.h>

/* gamma * (x for x > 0, alpha * (exp(x / rate) - 1) below): Elu, Selu and Celu. */
typedef struct elu {
    double gamma, alpha, rate;
} elu;

static elu elu_of(const mlc_node *node) {
    return (elu){1, mlc_attr_float(node, "alpha", 1), 1};
}

static elu selu_of(const mlc_node *node) {
    /* Opset 1 rounds its defaults to four digits. */
    const double alpha = node->opset < 6 ? (double)1.6732f : (double)1.67326319217681884765625f;
    const double gamma = node->opset < 6 ? (double)1.0507f : (double)1.05070102214813232421875f;
    return (elu){mlc_attr_float(node, "gamma", gamma), mlc_attr_float(node, "alpha", alpha), 1};
}

static elu celu_of(const mlc_node *node) {
    const double alpha = mlc_attr_float(node, "alpha", 1);
    return (elu){1, alpha, alpha};
}

static double curve(double x, const void *user) {
    const elu *p = user;
    return p->gamma * p->alpha * expm1(x / p->rate);
}

static double whole(double x, const void *user) {
    return x > 0 ? ((const elu *)user)->gamma * x : curve(x, user);
}

static bool infer_celu(mlc_graph *g, mlc_node *node) {
    if (mlc_attr_float(node, "alpha", 1) == 0)
        return mlc_error_at(g->diag, node, "attribute 'alpha' is 0");
    return mlc_infer_real(g, node);
}

static void eval_elu(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    const elu p = elu_of(node);
    mlc_eval_function(in[0], out[0], whole, &p);
}

static void eval_selu(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    const elu p = selu_of(node);
    mlc_eval_function(in[0], out[0], whole, &p);
}

static void eval_celu(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    const elu p = celu_of(node);
    mlc_eval_function(in[0], out[0], whole, &p);
}

/* The two halves are taken apart, because the slope jumps at 0. */
static bool quantize(mlc_quant *q, const mlc_node *node, const elu *p) {
    if (p->rate < 0)
        return mlc_error_at(q->diag, node, "a negative alpha is not supported");
    mlc_value *x = mlc_q_value(q, node->in[0]);
    mlc_value *above = x ? mlc_q_at_least(q, x, 0) : NULL, *below = x ? mlc_q_at_most(q, x, 0) : NULL;
    if (above && p->gamma != 1)
        above = mlc_q_scale_by(q, above, p->gamma);
    const double slope = fabs(p->gamma * p->alpha / p->rate);
    below = below ? mlc_q_function(q, below, curve, p, slope) : NULL;
    return mlc_q_result(q, node, above && below ? mlc_q_add(q, above, below) : NULL);
}

static bool quantize_elu(mlc_quant *q, const mlc_node *node) {
    const elu p = elu_of(node);
    return quantize(q, node, &p);
}

static bool quantize_selu(mlc_quant *q, const mlc_node *node) {
    const elu p = selu_of(node);
    return quantize(q, node, &p);
}

static bool quantize_celu(mlc_quant *q, const mlc_node *node) {
    const elu p = celu_of(node);
    return quantize(q, node, &p);
}

#define ROW(NAME, FUNCTION, SINCE, INFER, DOC, ...)      \
    {.domain = "",                                       \
     .name = NAME,                                       \
     .since = SINCE,                                     \
     .doc = DOC,                                         \
     .min_in = 1,                                        \
     .max_in = 1,                                        \
     .min_out = 1,                                       \
     .max_out = 1,                                       \
     .attrs = (const mlc_attr_spec[]){__VA_ARGS__, {0}}, \
     .infer = INFER,                                     \
     .eval = eval_##FUNCTION,                            \
     .quantize = quantize_##FUNCTION}

MLC_OPS(Elu,
        ROW("Elu", elu, 1, mlc_infer_real, "x for x >= 0, alpha * (exp(x) - 1) below",
            {"alpha", MLC_ATTR_FLOAT}, {"consumed_inputs", MLC_ATTR_INTS}),
        ROW("Selu", selu, 1, mlc_infer_real, "gamma * (x for x >= 0, alpha * (exp(x) - 1) below)",
            {"alpha", MLC_ATTR_FLOAT}, {"gamma", MLC_ATTR_FLOAT}, {"consumed_inputs", MLC_ATTR_INTS}),
        ROW("Celu", celu, 12, infer_celu, "max(x, 0) + min(0, alpha * (exp(x / alpha) - 1))",
            {"alpha", MLC_ATTR_FLOAT}));
