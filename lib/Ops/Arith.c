#include "Legacy.h"
#include "Real.h"
#include "Whole.h"

#include <math.h>

static double add_real(double a, double b) {
    return a + b;
}
static double sub_real(double a, double b) {
    return a - b;
}
static double mul_real(double a, double b) {
    return a * b;
}
static double div_real(double a, double b) {
    return a / b;
}

/* Truncates toward zero. A division by zero, which ONNX leaves undefined, is 0. */
static int64_t div_int(int64_t a, int64_t b) {
    if (b == 0)
        return 0;
    return b == -1 ? mlc_wrap_sub(0, a) : a / b;
}

static bool infer(mlc_graph *g, mlc_node *node) {
    if (node->in[0]->dtype == MLC_BOOL || node->in[0]->dtype == MLC_STRING)
        return mlc_error_at(g->diag, node, "input '%s' is of type %s, a number is needed",
                            mlc_escape(node->in[0]->name), mlc_dtype_name(node->in[0]->dtype));
    return mlc_infer_legacy_broadcast(g, node);
}

static void eval(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out, mlc_real2 real,
                 mlc_int2 integer) {
    mlc_tensor b = *in[1];
    mlc_legacy_align(NULL, node, &in[0]->shape, &in[1]->shape, &b.shape);
    mlc_eval_binary(in[0], &b, out[0], real, integer);
}

static void eval_add(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    eval(node, in, out, add_real, mlc_wrap_add);
}
static void eval_sub(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    eval(node, in, out, sub_real, mlc_wrap_sub);
}
static void eval_mul(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    eval(node, in, out, mul_real, mlc_wrap_mul);
}
static void eval_div(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    eval(node, in, out, div_real, div_int);
}

/* Operand k, with the shape that numpy's rule needs. */
static mlc_value *operand(mlc_quant *q, const mlc_node *node, int k) {
    mlc_value *v = mlc_q_value(q, node->in[k]);
    if (!v || k == 0)
        return v;
    mlc_shape aligned;
    mlc_legacy_align(NULL, node, &node->in[0]->shape, &node->in[1]->shape, &aligned);
    return mlc_shape_equal(&aligned, &v->shape) ? v : mlc_q_reshape(q, v, &aligned);
}

/* The constant operand of a float op: k is its input, -1 where there is none. */
typedef struct constant {
    int k;
    const double *x;
    int64_t n;
    mlc_shape shape;
} constant;

static constant constant_of(mlc_quant *q, const mlc_node *node) {
    constant c = {.k = -1};
    if (!mlc_dtype_is_float(node->in[0]->dtype))
        return c;
    for (int k = 0; k < 2; k++)
        if (node->in[k]->constant) {
            c.k = k;
            c.x = mlc_reals(q->arena, node->in[k]->constant);
            c.n = mlc_shape_elements(&node->in[k]->shape);
            c.shape = node->in[k]->shape;
        }
    if (c.k == 1)
        mlc_legacy_align(NULL, node, &node->in[0]->shape, &node->in[1]->shape, &c.shape);
    return c;
}

typedef mlc_value *(*builder)(mlc_quant *q, mlc_value *a, mlc_value *b);

/* Integers are computed exactly by integer op `op`, and wrap around at their type's width. */
static bool quantize_binary(mlc_quant *q, const mlc_node *node, builder real, const char *op) {
    mlc_value *a = operand(q, node, 0), *b = operand(q, node, 1);
    if (!a || !b)
        return false;
    if (mlc_dtype_is_float(node->out[0]->dtype))
        return mlc_q_result(q, node, real(q, a, b));
    mlc_value *y = mlc_q_exact(q, op, a, b);
    return mlc_q_result(q, node, y ? mlc_q_wrap(q, y, node->out[0]->dtype) : NULL);
}

/* a + b, or a - b. */
static bool quantize_sum(mlc_quant *q, const mlc_node *node, bool minus) {
    const constant c = constant_of(q, node);
    if (c.k < 0)
        return minus ? quantize_binary(q, node, mlc_q_sub, "Sub")
                     : quantize_binary(q, node, mlc_q_add, "Add");
    mlc_value *v = operand(q, node, 1 - c.k);
    if (v && minus && c.k == 0)
        v = mlc_q_neg(q, v);
    const double *addend = c.x;
    if (minus && c.k == 1) {
        double *negated = MLC_NEW_ARRAY(q->arena, c.n, double);
        for (int64_t i = 0; i < c.n; i++)
            negated[i] = -c.x[i];
        addend = negated;
    }
    if (v)
        addend = mlc_q_mask(q, node, addend, c.n, v);
    return mlc_q_result(q, node, v ? mlc_q_add_real(q, v, addend, &c.shape) : NULL);
}

static bool quantize_add(mlc_quant *q, const mlc_node *node) {
    return quantize_sum(q, node, false);
}

static bool quantize_sub(mlc_quant *q, const mlc_node *node) {
    return quantize_sum(q, node, true);
}

static bool quantize_mul(mlc_quant *q, const mlc_node *node) {
    const constant c = constant_of(q, node);
    if (c.k < 0)
        return quantize_binary(q, node, mlc_q_mul, "Mul");
    mlc_value *v = operand(q, node, 1 - c.k);
    return mlc_q_result(q, node, v ? mlc_q_mul_real(q, v, c.x, &c.shape) : NULL);
}

static bool quantize_div(mlc_quant *q, const mlc_node *node) {
    const constant c = constant_of(q, node);
    if (c.k != 1) {
        mlc_value *a = operand(q, node, 0), *b = operand(q, node, 1);
        if (!a || !b)
            return false;
        if (mlc_dtype_is_float(node->out[0]->dtype)) {
            b = mlc_q_divisor(q, node->in[1], b);
            return mlc_q_result(q, node,
                                mlc_q_divide_seen(q, node->out[0], a, b, mlc_q_least(q, node->in[1])));
        }
        mlc_value *y = mlc_q_truncated(q, a, b);
        return mlc_q_result(q, node, y ? mlc_q_wrap(q, y, node->out[0]->dtype) : NULL);
    }
    double *inverse = MLC_NEW_ARRAY(q->arena, c.n, double);
    for (int64_t i = 0; i < c.n; i++) {
        inverse[i] = 1 / c.x[i];
        if (!isfinite(inverse[i]))
            return mlc_error_at(q->diag, node, "element %lld of the divisor '%s' is %g", (long long)i,
                                mlc_escape(node->in[1]->name), c.x[i]);
    }
    mlc_value *v = operand(q, node, 1 - c.k);
    return mlc_q_result(q, node, v ? mlc_q_mul_real(q, v, inverse, &c.shape) : NULL);
}

#define ARITH(NAME, FUNCTION, SINCE, UNTIL, ATTRS, DOC) \
    {.domain = "",                                      \
     .name = NAME,                                      \
     .since = SINCE,                                    \
     .until = UNTIL,                                    \
     .attrs = ATTRS,                                    \
     .doc = DOC,                                        \
     .min_in = 2,                                       \
     .max_in = 2,                                       \
     .min_out = 1,                                      \
     .max_out = 1,                                      \
     .infer = infer,                                    \
     .eval = eval_##FUNCTION,                           \
     .quantize = quantize_##FUNCTION}
#define ARITH_VERSIONS(NAME, FUNCTION, DOC) \
    ARITH(NAME, FUNCTION, 1, 6, MLC_LEGACY_BROADCAST_ATTRS, DOC), ARITH(NAME, FUNCTION, 7, 0, NULL, DOC)

MLC_OPS(Arith, ARITH_VERSIONS("Add", add, "a + b"), ARITH_VERSIONS("Sub", sub, "a - b"),
        ARITH_VERSIONS("Mul", mul, "a * b"),
        ARITH_VERSIONS("Div", div, "a / b; integers truncate toward zero"));
