#include "Real.h"

#include <math.h>

/* The bounds of attributes (opsets 1 and 6) or of inputs 1 and 2 (opset 11), which may be missing. */
typedef struct bounds {
    double lo, hi;
} bounds;

static bool has_input(const mlc_node *node, int k) {
    return k < node->n_in && node->in[k];
}

static bounds attribute_bounds(const mlc_node *node) {
    return (bounds){mlc_attr_float(node, "min", -INFINITY), mlc_attr_float(node, "max", INFINITY)};
}

static bool infer(mlc_graph *g, mlc_node *node) {
    for (int k = 1; k < node->n_in; k++) {
        if (!has_input(node, k))
            continue;
        if (mlc_shape_elements(&node->in[k]->shape) != 1)
            return mlc_error_at(g->diag, node, "bound '%s' has shape %s, a scalar is needed",
                                mlc_escape(node->in[k]->name), mlc_shape_str(g->arena, &node->in[k]->shape));
        if (node->in[k]->dtype != node->in[0]->dtype)
            return mlc_error_at(g->diag, node, "bound '%s' is %s, but the input is %s",
                                mlc_escape(node->in[k]->name), mlc_dtype_name(node->in[k]->dtype),
                                mlc_dtype_name(node->in[0]->dtype));
    }
    return mlc_infer_same(g, node);
}

/* Where lo > hi, the result is hi. */
static double clip(double x, const void *user) {
    const bounds *b = user;
    if (x < b->lo)
        x = b->lo;
    return x > b->hi ? b->hi : x;
}

static void eval_attributes(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    const bounds b = attribute_bounds(node);
    mlc_eval_function(in[0], out[0], clip, &b);
}

static void eval_inputs(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    const mlc_tensor *lo = node->n_in > 1 ? in[1] : NULL, *hi = node->n_in > 2 ? in[2] : NULL;
    if (mlc_dtype_is_float(in[0]->dtype)) {
        const bounds b = {lo ? lo->f[0] : -INFINITY, hi ? hi->f[0] : INFINITY};
        mlc_eval_function(in[0], out[0], clip, &b);
        return;
    }
    const int64_t n = mlc_shape_elements(&out[0]->shape);
    for (int64_t i = 0; i < n; i++) {
        int64_t x = in[0]->i[i];
        if (lo && x < lo->i[0])
            x = lo->i[0];
        out[0]->i[i] = hi && x > hi->i[0] ? hi->i[0] : x;
    }
}

/* x clipped to real constants, infinite ones being no bounds. */
static mlc_value *clip_to(mlc_quant *q, mlc_value *x, bounds b) {
    b.lo = fmin(b.lo, b.hi);
    if (x && isfinite(b.lo))
        x = mlc_q_at_least(q, x, b.lo);
    if (x && isfinite(b.hi))
        x = mlc_q_at_most(q, x, b.hi);
    return x;
}

static bool quantize_attributes(mlc_quant *q, const mlc_node *node) {
    return mlc_q_result(q, node, clip_to(q, mlc_q_value(q, node->in[0]), attribute_bounds(node)));
}

static bool quantize_inputs(mlc_quant *q, const mlc_node *node) {
    mlc_value *x = mlc_q_value(q, node->in[0]);
    bool constant = mlc_dtype_is_float(node->in[0]->dtype);
    for (int k = 1; k < node->n_in; k++)
        constant = constant && (!node->in[k] || node->in[k]->constant);
    if (constant) {
        const bounds b = {has_input(node, 1) ? node->in[1]->constant->f[0] : -INFINITY,
                          has_input(node, 2) ? node->in[2]->constant->f[0] : INFINITY};
        return mlc_q_result(q, node, clip_to(q, x, b));
    }
    const mlc_shape scalar = {0};
    for (int k = 1; k < 3; k++) {
        if (!has_input(node, k))
            continue;
        mlc_value *bound = mlc_q_value(q, node->in[k]);
        bound = bound ? mlc_q_reshape(q, bound, &scalar) : NULL;
        if (!x || !bound)
            return false;
        x = k == 1 ? mlc_q_max(q, x, bound) : mlc_q_min(q, x, bound);
    }
    return mlc_q_result(q, node, x);
}

MLC_OPS(Clip,
        {.domain = "",
         .name = "Clip",
         .since = 1,
         .until = 10,
         .doc = "x clamped to [min, max]",
         .min_in = 1,
         .max_in = 1,
         .min_out = 1,
         .max_out = 1,
         .attrs = (const mlc_attr_spec[]){{"min", MLC_ATTR_FLOAT},
                                          {"max", MLC_ATTR_FLOAT},
                                          {"consumed_inputs", MLC_ATTR_INTS},
                                          {0}},
         .infer = mlc_infer_real,
         .eval = eval_attributes,
         .quantize = quantize_attributes},
        {.domain = "",
         .name = "Clip",
         .since = 11,
         .doc = "x clamped to [min, max]",
         .min_in = 1,
         .max_in = 3,
         .min_out = 1,
         .max_out = 1,
         .infer = infer,
         .eval = eval_inputs,
         .quantize = quantize_inputs});
