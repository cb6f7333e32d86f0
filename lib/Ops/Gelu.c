#include "Real.h"

#include <math.h>

/* Smooth activations that approach 0 on the left and x on the right. */

static double gelu(double x, const void *user) {
    (void)user;
    return 0.5 * x * erfc(-x * M_SQRT1_2);
}

static double gelu_tanh(double x, const void *user) {
    (void)user;
    return 0.5 * x * (1 + tanh(M_2_SQRTPI * M_SQRT1_2 * (x + 0.044715 * x * x * x)));
}

static double mish(double x, const void *user) {
    (void)user;
    return x * tanh(fmax(x, 0) + log1p(exp(-fabs(x))));
}

/* x * sigmoid(alpha * x), with alpha at `user`. */
static double swish(double x, const void *user) {
    return x / (1 + exp(-*(const double *)user * x));
}

/*
 * f(x) = f(clamp(x, -limit, limit)) + max(x - limit, 0), up to f's distance from
 * 0 and x beyond the limits, which only shrinks further out. All of these dip
 * below 0 left of it, where a search for the bend over a wide range would see
 * the value 0 on both sides.
 */
static mlc_value *function(mlc_quant *q, mlc_value *x, mlc_real_fn fn, const void *user, double slope,
                           double limit) {
    if (!x)
        return NULL;
    const double lo = mlc_q_min_real(x), hi = mlc_q_max_real(x);
    mlc_value *inner = mlc_q_clamp(q, x, -limit, limit);
    mlc_value *y = inner ? mlc_q_function(q, inner, fn, user, slope) : NULL;
    if (y && hi > limit) {
        mlc_value *over = mlc_q_shift_by(q, x, -limit);
        over = over ? mlc_q_at_least(q, over, 0) : NULL;
        y = over ? mlc_q_add(q, y, over) : NULL;
    }
    /* The clamp's bounds may lie up to a unit further out. */
    if (y && (lo < -limit || hi > limit))
        mlc_q_widen(q, y, fabs(fn(-limit, user)) + fabs(fn(limit, user) - limit) + inner->scale * slope);
    return y;
}

static mlc_real_fn gelu_of(const mlc_node *node) {
    return strcmp(mlc_attr_string(node, "approximate", "none"), "tanh") ? gelu : gelu_tanh;
}

static bool infer_gelu(mlc_graph *g, mlc_node *node) {
    const char *kind = mlc_attr_string(node, "approximate", "none");
    if (strcmp(kind, "none") && strcmp(kind, "tanh"))
        return mlc_error_at(g->diag, node, "attribute 'approximate' is '%s', not 'none' or 'tanh'",
                            mlc_escape(kind));
    return mlc_infer_real(g, node);
}

static void eval_gelu(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    mlc_eval_function(in[0], out[0], gelu_of(node), NULL);
}

static bool quantize_gelu(mlc_quant *q, const mlc_node *node) {
    mlc_value *x = mlc_q_value(q, node->in[0]);
    return mlc_q_result(q, node, function(q, x, gelu_of(node), NULL, 1.13, 7));
}

static void eval_mish(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    (void)node;
    mlc_eval_function(in[0], out[0], mish, NULL);
}

static bool quantize_mish(mlc_quant *q, const mlc_node *node) {
    mlc_value *x = mlc_q_value(q, node->in[0]);
    return mlc_q_result(q, node, function(q, x, mish, NULL, 1.09, 28));
}

static void eval_swish(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    const double alpha = mlc_attr_float(node, "alpha", 1);
    mlc_eval_function(in[0], out[0], swish, &alpha);
}

static bool quantize_swish(mlc_quant *q, const mlc_node *node) {
    const double alpha = mlc_attr_float(node, "alpha", 1);
    if (alpha <= 0)
        return mlc_error_at(q->diag, node, "attribute 'alpha' is %g; only positive ones are supported",
                            alpha);
    mlc_value *x = mlc_q_value(q, node->in[0]);
    return mlc_q_result(q, node, function(q, x, swish, &alpha, 1.1, 28 / alpha));
}

#define ROW(DOMAIN, NAME, FUNCTION, SINCE, INFER, DOC, ...) \
    {.domain = DOMAIN,                                      \
     .name = NAME,                                          \
     .since = SINCE,                                        \
     .doc = DOC,                                            \
     .min_in = 1,                                           \
     .max_in = 1,                                           \
     .min_out = 1,                                          \
     .max_out = 1,                                          \
     .attrs = (const mlc_attr_spec[]){__VA_ARGS__},         \
     .infer = INFER,                                        \
     .eval = eval_##FUNCTION,                               \
     .quantize = quantize_##FUNCTION}

MLC_OPS(Gelu,
        ROW("", "Gelu", gelu, 20, infer_gelu, "x * normal distribution function of x, exact or by tanh",
            {"approximate", MLC_ATTR_STRING}, {0}),
        ROW("com.microsoft", "Gelu", gelu, 1, mlc_infer_real, "x * normal distribution function of x", {0}),
        ROW("", "Mish", mish, 18, mlc_infer_real, "x * tanh(log(1 + exp(x)))", {0}),
        ROW("", "Swish", swish, 24, mlc_infer_real, "x / (1 + exp(-alpha * x))", {"alpha", MLC_ATTR_FLOAT},
            {0}));
