#include "Real.h"

#include <math.h>

typedef struct shrink {
    double lambda, bias;
} shrink;

static shrink shrink_of(const mlc_node *node) {
    return (shrink){mlc_attr_float(node, "lambd", 0.5), mlc_attr_float(node, "bias", 0)};
}

static double function(double x, const void *user) {
    const shrink *p = user;
    return x < -p->lambda ? x + p->bias : x > p->lambda ? x - p->bias : 0;
}

static void eval(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    const shrink p = shrink_of(node);
    mlc_eval_function(in[0], out[0], function, &p);
}

/* The part of soft shrinkage on one side of 0. */
static mlc_value *half(mlc_quant *q, mlc_value *x, double lambda, int sign) {
    mlc_value *v = mlc_q_shift_by(q, x, -sign * lambda);
    return !v ? NULL : sign > 0 ? mlc_q_at_least(q, v, 0) : mlc_q_at_most(q, v, 0);
}

static bool quantize(mlc_quant *q, const mlc_node *node) {
    const shrink p = shrink_of(node);
    if (!mlc_dtype_is_float(node->in[0]->dtype) || p.lambda < 0 || p.bias != p.lambda)
        return mlc_error_at(q->diag, node,
                            "only float inputs with bias = lambd >= 0 (soft shrinkage) are supported");
    mlc_value *x = mlc_q_value(q, node->in[0]);
    mlc_value *above = x ? half(q, x, p.lambda, 1) : NULL, *below = x ? half(q, x, p.lambda, -1) : NULL;
    return mlc_q_result(q, node, above && below ? mlc_q_add(q, above, below) : NULL);
}

MLC_OPS(Shrink, {.domain = "",
                 .name = "Shrink",
                 .since = 9,
                 .doc = "x + bias below -lambd, x - bias above lambd, 0 between",
                 .limits = "bias = lambd",
                 .min_in = 1,
                 .max_in = 1,
                 .min_out = 1,
                 .max_out = 1,
                 .attrs = (const mlc_attr_spec[]){{"lambd", MLC_ATTR_FLOAT}, {"bias", MLC_ATTR_FLOAT}, {0}},
                 .infer = mlc_infer_same,
                 .eval = eval,
                 .quantize = quantize});
