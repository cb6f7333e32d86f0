#include "Real.h"

#include <math.h>

static double sigmoid(double x, const void *user) {
    (void)user;
    return 1 / (1 + exp(-x));
}

static void eval_sigmoid(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    (void)node;
    mlc_eval_function(in[0], out[0], sigmoid, NULL);
}

static bool quantize_sigmoid(mlc_quant *q, const mlc_node *node) {
    mlc_value *x = mlc_q_value(q, node->in[0]);
    return mlc_q_result(q, node, x ? mlc_q_bounded_function(q, x, sigmoid, NULL, 0.25, 0, 1) : NULL);
}

static double tangent(double x, const void *user) {
    (void)user;
    return tanh(x);
}

static void eval_tanh(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    (void)node;
    mlc_eval_function(in[0], out[0], tangent, NULL);
}

static bool quantize_tanh(mlc_quant *q, const mlc_node *node) {
    mlc_value *x = mlc_q_value(q, node->in[0]);
    return mlc_q_result(q, node, x ? mlc_q_bounded_function(q, x, tangent, NULL, 1, -1, 1) : NULL);
}

static double softplus(double x, const void *user) {
    (void)user;
    return fmax(x, 0) + log1p(exp(-fabs(x)));
}

static void eval_softplus(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    (void)node;
    mlc_eval_function(in[0], out[0], softplus, NULL);
}

static bool quantize_softplus(mlc_quant *q, const mlc_node *node) {
    mlc_value *x = mlc_q_value(q, node->in[0]);
    return mlc_q_result(q, node, x ? mlc_q_function(q, x, softplus, NULL, 1) : NULL);
}

static double softsign(double x, const void *user) {
    (void)user;
    return x / (1 + fabs(x));
}

static void eval_softsign(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    (void)node;
    mlc_eval_function(in[0], out[0], softsign, NULL);
}

/* Its tails fall off too slowly for a table, so it is divided out. */
static bool quantize_softsign(mlc_quant *q, const mlc_node *node) {
    mlc_value *x = mlc_q_value(q, node->in[0]);
    mlc_value *size = x ? mlc_q_abs(q, x) : NULL;
    mlc_value *divisor = size ? mlc_q_shift_by(q, size, 1) : NULL;
    divisor = divisor ? mlc_q_at_least(q, divisor, 1) : NULL;
    return mlc_q_result(q, node, mlc_q_divide_within(q, x, divisor, 1, 1));
}

#define ROW(NAME, FUNCTION, DOC)                                                \
    {.domain = "",                                                              \
     .name = NAME,                                                              \
     .since = 1,                                                                \
     .doc = DOC,                                                                \
     .min_in = 1,                                                               \
     .max_in = 1,                                                               \
     .min_out = 1,                                                              \
     .max_out = 1,                                                              \
     .attrs = (const mlc_attr_spec[]){{"consumed_inputs", MLC_ATTR_INTS}, {0}}, \
     .infer = mlc_infer_real,                                                   \
     .eval = eval_##FUNCTION,                                                   \
     .quantize = quantize_##FUNCTION}

MLC_OPS(Sigmoid, ROW("Sigmoid", sigmoid, "1 / (1 + exp(-x))"), ROW("Tanh", tanh, "tanh(x)"),
        ROW("Softplus", softplus, "log(1 + exp(x))"), ROW("Softsign", softsign, "x / (1 + |x|)"));
