#include "Movement.h"
#include "Real.h"

#include <float.h>
#include <math.h>

/* Normalizer of ai.onnx.ml: each row divided by its norm, or left as it is where that is 0. */
typedef enum norm { NORM_MAX, NORM_L1, NORM_L2 } norm;

static norm norm_of(const mlc_node *node) {
    const char *name = mlc_attr_string(node, "norm", "MAX");
    return !strcmp(name, "L1") ? NORM_L1 : !strcmp(name, "L2") ? NORM_L2 : NORM_MAX;
}

static bool infer(mlc_graph *g, mlc_node *node) {
    const mlc_shape *x = &node->in[0]->shape;
    const char *name = mlc_attr_string(node, "norm", "MAX");
    if (strcmp(name, "MAX") != 0 && norm_of(node) == NORM_MAX)
        return mlc_error_at(g->diag, node, "norm '%s' is none of MAX, L1 and L2", mlc_escape(name));
    if (x->rank < 1 || x->rank > 2)
        return mlc_error_at(g->diag, node, "input '%s' has shape %s; rows of features are needed",
                            mlc_escape(node->in[0]->name), mlc_shape_str(g->arena, x));
    return mlc_infer_number(g, node, 0) && mlc_infer_set(g, node, 0, MLC_FLOAT, x);
}

static double norm_real(norm kind, const mlc_tensor *t, int64_t start, int64_t n) {
    double r = kind == NORM_MAX ? -INFINITY : 0;
    for (int64_t j = 0; j < n; j++) {
        const double x = mlc_tensor_real(t, start + j);
        r = kind == NORM_MAX ? fmax(r, x) : r + (kind == NORM_L1 ? fabs(x) : x * x);
    }
    return kind == NORM_L2 ? sqrt(r) : r;
}

static void eval(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    const int64_t total = mlc_shape_elements(&in[0]->shape), n = in[0]->shape.dim[in[0]->shape.rank - 1];
    for (int64_t start = 0; start < total; start += n) {
        const double divisor = norm_real(norm_of(node), in[0], start, n);
        for (int64_t j = start; j < start + n; j++)
            out[0]->f[j] = mlc_tensor_real(in[0], j) / (divisor != 0 ? divisor : 1);
    }
}

/* x with one row in each row of its shape, and reductions of rows. */
static mlc_value *reduce(mlc_quant *q, mlc_reduce kind, mlc_value *x) {
    const int64_t total = mlc_shape_elements(&x->shape);
    int64_t *index = MLC_NEW_ARRAY(q->arena, total, int64_t);
    for (int64_t i = 0; i < total; i++)
        index[i] = i;
    return mlc_q_reduce(q, kind, x, index, x->shape.dim[1], &(mlc_shape){2, {x->shape.dim[0], 1}});
}

/* Divisors of 0 become one unit: the row is 0 then. */
static mlc_value *at_least_one_unit(mlc_quant *q, mlc_value *v) {
    mlc_value *unit = mlc_q_scalar(q, 1);
    unit->scale = v->scale;
    return mlc_q_max(q, v, unit);
}

/* L1 and L2: no element exceeds its row's norm. */
static mlc_value *by_length(mlc_quant *q, mlc_value *x, bool squares) {
    mlc_value *v = mlc_q_abs(q, x);
    if (v && squares)
        v = mlc_q_mul(q, v, v);
    v = v ? reduce(q, MLC_REDUCE_SUM, v) : NULL;
    if (v && squares)
        v = mlc_q_sqrt(q, v);
    v = v ? at_least_one_unit(q, v) : NULL;
    mlc_value *y = v ? mlc_q_quotient(q, x, v, 1) : NULL;
    return y ? mlc_q_settle(q, mlc_q_within(q, y, 1)) : NULL;
}

/*
 * By the largest element, which may be negative. The quotient has no bound where it
 * may be 0: such a result's error bound is the largest float.
 */
static mlc_value *by_maximum(mlc_quant *q, mlc_value *x) {
    mlc_value *max = reduce(q, MLC_REDUCE_MAX, x);
    if (!max)
        return NULL;
    mlc_value *signs = mlc_q_signs(q, max);
    if (signs)
        return mlc_q_divide_seen(q, q->node->out[0], x, max, 0);
    mlc_value *negative = mlc_q_less(q, max, mlc_q_scalar(q, 0));
    mlc_value *size = mlc_q_abs(q, max);
    size = size ? at_least_one_unit(q, size) : NULL;
    mlc_value *minus = negative ? mlc_q_neg(q, x) : NULL;
    mlc_value *y =
        minus && size ? mlc_q_quotient(q, mlc_q_where(q, negative, minus, x), size, INFINITY) : NULL;
    if (!y)
        return NULL;
    const int64_t total = mlc_shape_elements(&y->shape), n = y->shape.dim[1];
    bool nonnegative = mlc_q_min_real(x) >= 0;
    double *err = MLC_NEW_ARRAY(q->arena, total, double);
    for (int64_t i = 0; i < total; i++) {
        const bool near_zero = mlc_q_real_lo(max, i / n) <= 0 && mlc_q_real_hi(max, i / n) >= 0;
        err[i] = near_zero && !nonnegative ? FLT_MAX : mlc_q_err(y, i);
    }
    y->err = err;
    return nonnegative ? mlc_q_settle(q, mlc_q_within(q, y, 1)) : mlc_q_settle_seen(q, q->node->out[0], y);
}

static bool quantize(mlc_quant *q, const mlc_node *node) {
    const mlc_shape *shape = &node->in[0]->shape;
    const int64_t n = shape->dim[shape->rank - 1];
    const mlc_shape rows = {2, {n ? mlc_shape_elements(shape) / n : 0, n}};
    mlc_value *x = mlc_q_value(q, node->in[0]);
    x = x ? mlc_q_reshape(q, x, &rows) : NULL;
    if (!x)
        return false;
    const norm kind = norm_of(node);
    return mlc_q_result(q, node, kind == NORM_MAX ? by_maximum(q, x) : by_length(q, x, kind == NORM_L2));
}

MLC_OPS(Normalizer, {.domain = "ai.onnx.ml",
                     .name = "Normalizer",
                     .since = 1,
                     .doc = "Rows divided by their norm: the largest element, L1 or L2",
                     .min_in = 1,
                     .max_in = 1,
                     .min_out = 1,
                     .max_out = 1,
                     .attrs = (const mlc_attr_spec[]){{"norm", MLC_ATTR_STRING}, {0}},
                     .infer = infer,
                     .eval = eval,
                     .quantize = quantize});
