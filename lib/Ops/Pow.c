#include "Legacy.h"
#include "Real.h"
#include "Whole.h"

#include <math.h>

static bool infer(mlc_graph *g, mlc_node *node) {
    const mlc_value *x = node->in[0], *y = node->in[1];
    if (node->opset < 12)
        return mlc_infer_legacy_broadcast(g, node);
    mlc_shape shape;
    for (int k = 0; k < 2; k++)
        if (node->in[k]->dtype == MLC_BOOL || node->in[k]->dtype == MLC_STRING)
            return mlc_error_at(g->diag, node, "input '%s' is of type %s, a number is needed",
                                mlc_escape(node->in[k]->name), mlc_dtype_name(node->in[k]->dtype));
    if (!mlc_shape_broadcast(&x->shape, &y->shape, &shape))
        return mlc_error_at(g->diag, node, "shapes %s and %s do not broadcast",
                            mlc_shape_str(g->arena, &x->shape), mlc_shape_str(g->arena, &y->shape));
    return mlc_infer_set(g, node, 0, x->dtype, &shape);
}

/* x^y modulo 2^64; for negative y the real power, truncated. */
static int64_t power_int(int64_t x, int64_t y) {
    if (y < 0)
        return x == 1 ? 1 : x == -1 ? (y % 2 ? -1 : 1) : 0;
    int64_t result = 1;
    for (; y; y >>= 1, x = mlc_wrap_mul(x, x))
        if (y & 1)
            result = mlc_wrap_mul(result, x);
    return result;
}

static void eval(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    mlc_tensor y = *in[1];
    mlc_legacy_align(NULL, node, &in[0]->shape, &in[1]->shape, &y.shape);
    mlc_eval_binary(in[0], &y, out[0], pow, power_int);
}

static double power(double x, const void *user) {
    return pow(x, *(const double *)user);
}

/* Any power, by table: where it is defined on the whole interval and not too steep. */
static mlc_value *table(mlc_quant *q, mlc_value *x, double p) {
    const double lo = mlc_q_min_real(x), hi = mlc_q_max_real(x);
    const double steep = p * fmax(pow(lo, p - 1), pow(hi, p - 1));
    if (lo < 0 || !(fabs(steep) < 1e12) || !isfinite(pow(lo, p))) {
        mlc_error_at(q->diag, q->node,
                     "the base may be anywhere in [%g, %g]; its power %g is not defined or too steep", lo, hi,
                     p);
        return NULL;
    }
    return mlc_q_function(q, x, power, &p, fabs(steep));
}

/* a * b: integers wrap around at the width of the result's type. */
static mlc_value *times(mlc_quant *q, mlc_value *a, mlc_value *b) {
    const mlc_dtype t = q->node->out[0]->dtype;
    if (mlc_dtype_is_float(t))
        return mlc_q_mul(q, a, b);
    mlc_value *y = mlc_q_exact(q, "Mul", a, b);
    return y ? mlc_q_wrap(q, y, t) : NULL;
}

/* x^n for a whole n >= 1, by squaring. */
static mlc_value *whole_power(mlc_quant *q, mlc_value *x, int n) {
    mlc_value *result = NULL;
    for (;; n >>= 1) {
        if (n & 1)
            result = result ? times(q, result, x) : x;
        if (n == 1 || ((n & 1) && !result))
            return result;
        x = times(q, x, x);
        if (!x)
            return NULL;
    }
}

/* Exponents so near to 1/2 are it, written with an error; the difference counts as error. */
#define NEAR 1e-3

/* The largest exponent that becomes multiplications. */
static const double most_factors = 16;

/* x^p for p near 1/2, x counting as 0 where it is negative. */
static mlc_value *root(mlc_quant *q, mlc_value *x, double p) {
    const double most = fmax(mlc_q_max_real(x), 0);
    mlc_value *y = mlc_q_sqrt(q, x);
    /* |x^p - sqrt(x)| is below |p - 1/2| up to 1, and grows beyond. */
    const double off = most > 1 ? fabs(pow(most, p) - sqrt(most)) : 0;
    if (y && p != 0.5)
        mlc_q_widen(q, y, fmax(off, fabs(p - 0.5)));
    return y;
}

static mlc_value *constant_power(mlc_quant *q, const mlc_node *node, mlc_value *x, double p) {
    const double least = mlc_q_least(q, node->in[0]);
    mlc_value *one = mlc_q_scalar(q, 1);
    if (p == 0) {
        const mlc_shape *shape = &node->in[0]->shape;
        int64_t *index = MLC_NEW_ARRAY(q->arena, mlc_shape_elements(shape), int64_t);
        return mlc_q_gather(q, &one, 1, index, 0, shape);
    }
    if (p == rint(p) && fabs(p) <= most_factors) {
        mlc_value *y = whole_power(q, x, (int)fabs(p));
        return p < 0 ? mlc_q_divide(q, one, y, pow(fmax(least, 0), -p)) : y;
    }
    if (p < 0 && fabs(p + 0.5) < NEAR)
        return mlc_q_divide(q, one, root(q, x, -p), sqrt(fmax(least, 0)) * 0.99);
    return fabs(p - 0.5) < NEAR ? root(q, x, p) : table(q, x, p);
}

/* The one value of all elements of a constant; NaN where they differ. */
static double uniform(const mlc_tensor *t) {
    const int64_t n = t ? mlc_shape_elements(&t->shape) : 0;
    for (int64_t i = 1; i < n; i++)
        if (mlc_tensor_real(t, i) != mlc_tensor_real(t, 0))
            return NAN;
    return n ? mlc_tensor_real(t, 0) : NAN;
}

static double exponential(double y, const void *base) {
    return pow(*(const double *)base, y);
}

/* c^y for a constant c > 0. */
static mlc_value *constant_base(mlc_quant *q, const mlc_node *node, double c) {
    mlc_value *y = mlc_q_value(q, node->in[1]);
    if (!y)
        return NULL;
    const double most = fmax(pow(c, mlc_q_min_real(y)), pow(c, mlc_q_max_real(y)));
    if (!(most < 1e37)) {
        mlc_error_at(q->diag, node, "the power may be as large as %g", most);
        return NULL;
    }
    return mlc_q_function(q, y, exponential, &c, most * fabs(log(c)));
}

static bool quantize(mlc_quant *q, const mlc_node *node) {
    const double p = uniform(node->in[1]->constant), c = uniform(node->in[0]->constant);
    const bool whole = mlc_dtype_is_integer(node->out[0]->dtype);
    mlc_value *r;
    if (!isnan(p) && (!whole || (p == rint(p) && p >= 0 && p <= most_factors))) {
        mlc_value *x = mlc_q_value(q, node->in[0]);
        r = x ? constant_power(q, node, x, p) : NULL;
    } else if (c > 0 && !whole) {
        r = constant_base(q, node, c);
    } else {
        return mlc_error_at(q->diag, node, "neither exponent nor base is one constant number");
    }
    /* The constant operand may have more dimensions than the other. */
    if (r && !mlc_shape_equal(&r->shape, &node->out[0]->shape)) {
        const mlc_shape *shape = &node->out[0]->shape;
        const int64_t n = mlc_shape_elements(shape);
        int64_t *index = MLC_NEW_ARRAY(q->arena, n, int64_t);
        for (int64_t i = 0; i < n; i++)
            index[i] = mlc_shape_broadcast_index(&r->shape, shape, i);
        r = mlc_q_gather(q, &r, 1, index, 0, shape);
    }
    return mlc_q_result(q, node, r);
}

#define ROW(SINCE, UNTIL, ATTRS)                                       \
    {.domain = "",                                                     \
     .name = "Pow",                                                    \
     .since = SINCE,                                                   \
     .until = UNTIL,                                                   \
     .attrs = ATTRS,                                                   \
     .doc = "x^y",                                                     \
     .limits = "one constant exponent, or one constant positive base", \
     .min_in = 2,                                                      \
     .max_in = 2,                                                      \
     .min_out = 1,                                                     \
     .max_out = 1,                                                     \
     .infer = infer,                                                   \
     .eval = eval,                                                     \
     .quantize = quantize}

MLC_OPS(Pow, ROW(1, 6, MLC_LEGACY_BROADCAST_ATTRS), ROW(7, 0, NULL));
