#include "Real.h"

#include <math.h>

typedef struct hard {
    double alpha, beta;
} hard;

static hard hard_of(const mlc_node *node) {
    return (hard){mlc_attr_float(node, "alpha", (double)0.2f), mlc_attr_float(node, "beta", 0.5)};
}

static double hard_sigmoid(double x, const void *user) {
    const hard *p = user;
    return fmin(fmax(p->alpha * x + p->beta, 0), 1);
}

static double hard_swish(double x, const void *user) {
    return x * hard_sigmoid(x, user);
}

static const hard swish_gate = {1.0 / 6, 0.5};

static void eval_sigmoid(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    const hard p = hard_of(node);
    mlc_eval_function(in[0], out[0], hard_sigmoid, &p);
}

static void eval_swish(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    (void)node;
    mlc_eval_function(in[0], out[0], hard_swish, &swish_gate);
}

static mlc_value *gate(mlc_quant *q, mlc_value *x, const hard *p) {
    x = mlc_q_scale_by(q, x, p->alpha);
    x = x ? mlc_q_shift_by(q, x, p->beta) : NULL;
    return x ? mlc_q_clamp(q, x, 0, 1) : NULL;
}

static bool quantize_sigmoid(mlc_quant *q, const mlc_node *node) {
    const hard p = hard_of(node);
    mlc_value *x = mlc_q_value(q, node->in[0]);
    return mlc_q_result(q, node, x ? gate(q, x, &p) : NULL);
}

/* With c = max(-3, min(3, x)): c * (c + 3) / 6 + max(0, x - 3). No factor is large, and no error multiplied.
 */
static bool quantize_swish(mlc_quant *q, const mlc_node *node) {
    const double end = 3;
    mlc_value *x = mlc_q_value(q, node->in[0]);
    mlc_value *c = x ? mlc_q_clamp(q, x, -end, end) : NULL;
    mlc_value *factor = c ? gate(q, c, &swish_gate) : NULL;
    mlc_value *y = factor ? mlc_q_mul(q, c, factor) : NULL;
    if (y && mlc_q_max_real(x) > end) {
        mlc_value *over = mlc_q_shift_by(q, x, -end);
        over = over ? mlc_q_at_least(q, over, 0) : NULL;
        y = over ? mlc_q_add(q, y, over) : NULL;
    }
    return mlc_q_result(q, node, y);
}

#define ROW(NAME, FUNCTION, SINCE, DOC, ...)        \
    {.domain = "",                                  \
     .name = NAME,                                  \
     .since = SINCE,                                \
     .doc = DOC,                                    \
     .min_in = 1,                                   \
     .max_in = 1,                                   \
     .min_out = 1,                                  \
     .max_out = 1,                                  \
     .attrs = (const mlc_attr_spec[]){__VA_ARGS__}, \
     .infer = mlc_infer_real,                       \
     .eval = eval_##FUNCTION,                       \
     .quantize = quantize_##FUNCTION}

MLC_OPS(HardSigmoid,
        ROW("HardSigmoid", sigmoid, 1, "max(0, min(1, alpha * x + beta))", {"alpha", MLC_ATTR_FLOAT},
            {"beta", MLC_ATTR_FLOAT}, {"consumed_inputs", MLC_ATTR_INTS}, {0}),
        ROW("HardSwish", swish, 14, "x * max(0, min(1, x / 6 + 1 / 2))", {0}));
