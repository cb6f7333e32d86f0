#include "Movement.h"
#include "Real.h"

#include <math.h>

/* Values of fixed point are finite numbers: the results are known. */
static bool infer(mlc_graph *g, mlc_node *node) {
    return mlc_need_float(g, node, 0) && mlc_infer_set(g, node, 0, MLC_BOOL, &node->in[0]->shape);
}

static void eval_nan(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    (void)node;
    const int64_t n = mlc_shape_elements(&in[0]->shape);
    for (int64_t i = 0; i < n; i++)
        out[0]->i[i] = isnan(in[0]->f[i]);
}

static void eval_inf(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    const bool positive = mlc_attr_int(node, "detect_positive", 1) != 0;
    const bool negative = mlc_attr_int(node, "detect_negative", 1) != 0;
    const int64_t n = mlc_shape_elements(&in[0]->shape);
    for (int64_t i = 0; i < n; i++)
        out[0]->i[i] = isinf(in[0]->f[i]) && (in[0]->f[i] > 0 ? positive : negative);
}

static bool quantize(mlc_quant *q, const mlc_node *node) {
    const mlc_shape *shape = &node->out[0]->shape;
    return mlc_q_result(
        q, node, mlc_q_constant(q, MLC_NEW_ARRAY(q->arena, mlc_shape_elements(shape), int64_t), shape));
}

#define ROW(NAME, KIND, SINCE, DOC, ATTRS) \
    {.domain = "",                         \
     .name = NAME,                         \
     .since = SINCE,                       \
     .doc = DOC,                           \
     .min_in = 1,                          \
     .max_in = 1,                          \
     .min_out = 1,                         \
     .max_out = 1,                         \
     .attrs = ATTRS,                       \
     .infer = infer,                       \
     .eval = eval_##KIND,                  \
     .quantize = quantize}

static const mlc_attr_spec inf_attrs[] = {
    {"detect_positive", MLC_ATTR_INT}, {"detect_negative", MLC_ATTR_INT}, {0}};

MLC_OPS(IsNaN, ROW("IsNaN", nan, 9, "Whether x is not a number: false of everything computed", NULL),
        ROW("IsInf", inf, 10, "Whether x is infinite: false of everything computed", inf_attrs));
