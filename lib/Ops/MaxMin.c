#include "Elementwise.h"
#include "Movement.h"
#include "Real.h"

#include <math.h>

static double first_real(double a, double b) {
    (void)b;
    return a;
}
static int64_t first_int(int64_t a, int64_t b) {
    (void)b;
    return a;
}
static double max_real(double a, double b) {
    return isnan(a) || a > b ? a : b;
}
static int64_t max_int(int64_t a, int64_t b) {
    return a > b ? a : b;
}
static double min_real(double a, double b) {
    return isnan(a) || a < b ? a : b;
}
static int64_t min_int(int64_t a, int64_t b) {
    return a < b ? a : b;
}
static double add_real(double a, double b) {
    return a + b;
}

static bool infer(mlc_graph *g, mlc_node *node) {
    for (int k = 0; k < node->n_in; k++)
        if (!mlc_infer_number(g, node, k))
            return false;
    return mlc_infer_broadcast(g, node);
}

static void fold(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *out, mlc_real2 real,
                 mlc_int2 integer) {
    mlc_eval_binary(in[0], in[0], out, first_real, first_int);
    for (int k = 1; k < node->n_in; k++)
        mlc_eval_binary(out, in[k], out, real, integer);
}

static void eval_max(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    fold(node, in, out[0], max_real, max_int);
}
static void eval_min(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    fold(node, in, out[0], min_real, min_int);
}
static void eval_sum(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    fold(node, in, out[0], add_real, mlc_wrap_add);
}
static void eval_mean(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    fold(node, in, out[0], add_real, mlc_wrap_add);
    int64_t n = mlc_shape_elements(&out[0]->shape);
    for (int64_t i = 0; i < n; i++) {
        if (mlc_dtype_is_float(out[0]->dtype))
            out[0]->f[i] /= node->n_in;
        else
            out[0]->i[i] /= node->n_in;
    }
}

static mlc_value *combine(mlc_quant *q, const mlc_node *node,
                          mlc_value *(*build)(mlc_quant *q, mlc_value *a, mlc_value *b)) {
    mlc_value *v = mlc_q_value(q, node->in[0]);
    for (int k = 1; v && k < node->n_in; k++) {
        mlc_value *x = mlc_q_value(q, node->in[k]);
        v = x ? build(q, v, x) : NULL;
    }
    return v;
}

/* Bits that a constant of magnitude `most` needs to have the scale of v, and no fewer than usual:
 * beside integers it may be a fraction. */
static int bits_beside(const mlc_value *v, double most) {
    enum { USUAL = 31, MOST = 60 };
    int exponent, scale;
    if (!(most > 0) || frexp(v->scale, &scale) != 0.5)
        return USUAL;
    frexp(most, &exponent);
    const int bits = exponent - (scale - 1);
    return bits < USUAL ? USUAL : bits > MOST ? MOST : bits;
}

/*
 * Constants to compare v with. Beyond the range of v they decide as its ends do: so
 * one scale serves limits of features of very different sizes, and infinite ones.
 */
static mlc_value *limits(mlc_quant *q, const mlc_value *v, const mlc_tensor *c) {
    const int64_t n = mlc_shape_elements(&c->shape);
    const double lo = mlc_q_min_real(v), hi = mlc_q_max_real(v);
    double *x = MLC_NEW_ARRAY(q->arena, n + 1, double), most = 0;
    for (int64_t i = 0; i < n; i++) {
        x[i] = isnan(c->f[i]) ? NAN : fmin(fmax(c->f[i], lo), hi);
        most = fmax(most, fabs(x[i]));
    }
    return mlc_q_real_constant(q, x, &c->shape, bits_beside(v, most));
}

/* The constants last. */
static mlc_value *extreme(mlc_quant *q, const mlc_node *node,
                          mlc_value *(*build)(mlc_quant *q, mlc_value *a, mlc_value *b)) {
    mlc_value *v = NULL;
    for (int pass = 0; pass < 2; pass++)
        for (int k = 0; k < node->n_in; k++) {
            const mlc_tensor *c = node->in[k]->constant;
            if ((c != NULL) != (pass == 1))
                continue;
            mlc_value *x =
                c && v && mlc_dtype_is_float(c->dtype) ? limits(q, v, c) : mlc_q_value(q, node->in[k]);
            v = v && x ? build(q, v, x) : x;
            if (!v)
                return NULL;
        }
    return v;
}

static bool quantize_max(mlc_quant *q, const mlc_node *node) {
    return mlc_q_result(q, node, extreme(q, node, mlc_q_max));
}
static bool quantize_min(mlc_quant *q, const mlc_node *node) {
    return mlc_q_result(q, node, extreme(q, node, mlc_q_min));
}
static bool quantize_sum(mlc_quant *q, const mlc_node *node) {
    return mlc_q_result(q, node, combine(q, node, mlc_q_add));
}
static bool quantize_mean(mlc_quant *q, const mlc_node *node) {
    mlc_value *v = combine(q, node, mlc_q_add);
    return mlc_q_result(q, node, v ? mlc_q_scale_by(q, v, 1.0 / node->n_in) : NULL);
}

#define ROW(NAME, SINCE, UNTIL, ATTRS, DOC, EVAL, QUANTIZE) \
    {                                                       \
        .domain = "",                                       \
        .name = NAME,                                       \
        .since = SINCE,                                     \
        .until = UNTIL,                                     \
        .doc = DOC,                                         \
        .min_in = 1,                                        \
        .max_in = -1,                                       \
        .min_out = 1,                                       \
        .max_out = 1,                                       \
        .attrs = ATTRS,                                     \
        .infer = infer,                                     \
        .eval = EVAL,                                       \
        .quantize = QUANTIZE,                               \
    }
#define BOTH(NAME, DOC, EVAL, QUANTIZE) \
    ROW(NAME, 1, 5, attrs_1, DOC, EVAL, QUANTIZE), ROW(NAME, 6, 0, NULL, DOC, EVAL, QUANTIZE)

static const mlc_attr_spec attrs_1[] = {{"consumed_inputs", MLC_ATTR_INTS}, {0}};

MLC_OPS(MaxMin, BOTH("Max", "The largest of its inputs, element by element.", eval_max, quantize_max),
        BOTH("Min", "The smallest of its inputs, element by element.", eval_min, quantize_min),
        BOTH("Sum", "The sum of its inputs, element by element.", eval_sum, quantize_sum),
        BOTH("Mean", "The mean of its inputs, element by element.", eval_mean, quantize_mean));
