#include "Real.h"

#include <math.h>

/*
 * Functions that become tables. For each: f, and a bound on |f'| over [lo,hi],
 * INFINITY where f is not defined on all of it or has a vertical tangent.
 */

static double larger(double lo, double hi) {
    return fmax(fabs(lo), fabs(hi));
}

static double one(double lo, double hi) {
    (void)lo, (void)hi;
    return 1;
}

static double log_slope(double lo, double hi) {
    (void)hi;
    return lo > 0 ? 1 / lo : INFINITY;
}

static double tan_slope(double lo, double hi) {
    const double t = tan(larger(lo, hi));
    return larger(lo, hi) < M_PI_2 ? 1 + t * t : INFINITY;
}

/* Of asin and acos. */
static double arc_slope(double lo, double hi) {
    const double m = larger(lo, hi);
    return m < 1 ? 1 / sqrt(1 - m * m) : INFINITY;
}

/* Of sinh and cosh. */
static double hyperbolic_slope(double lo, double hi) {
    return cosh(larger(lo, hi));
}

static double acosh_slope(double lo, double hi) {
    (void)hi;
    return lo > 1 ? 1 / sqrt(lo * lo - 1) : INFINITY;
}

static double atanh_slope(double lo, double hi) {
    const double m = larger(lo, hi);
    return m < 1 ? 1 / (1 - m * m) : INFINITY;
}

static bool quantize(mlc_quant *q, const mlc_node *node, mlc_real_fn fn,
                     double (*slope)(double lo, double hi)) {
    mlc_value *x = mlc_q_value(q, node->in[0]);
    if (!x)
        return false;
    const double lo = mlc_q_min_real(x), hi = mlc_q_max_real(x), bound = slope(lo, hi);
    if (!(bound < 1e12))
        return mlc_error_at(
            q->diag, node,
            "input '%s' may be anywhere in [%g, %g], where the function is not defined or too steep",
            mlc_escape(node->in[0]->name), lo, hi);
    return mlc_q_result(q, node, mlc_q_function(q, x, fn, NULL, bound));
}

#define FUNCTION(NAME, SLOPE)                                                                            \
    static double real_##NAME(double x, const void *user) {                                              \
        (void)user;                                                                                      \
        return NAME(x);                                                                                  \
    }                                                                                                    \
    static void eval_##NAME(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) { \
        (void)node;                                                                                      \
        mlc_eval_unary(in[0], out[0], NAME, NULL);                                                       \
    }                                                                                                    \
    static bool quantize_##NAME(mlc_quant *q, const mlc_node *node) {                                    \
        return quantize(q, node, real_##NAME, SLOPE);                                                    \
    }

FUNCTION(log, log_slope)
FUNCTION(sin, one)
FUNCTION(cos, one)
FUNCTION(tan, tan_slope)
FUNCTION(asin, arc_slope)
FUNCTION(acos, arc_slope)
FUNCTION(atan, one)
FUNCTION(sinh, hyperbolic_slope)
FUNCTION(cosh, hyperbolic_slope)
FUNCTION(asinh, one)
FUNCTION(acosh, acosh_slope)
FUNCTION(atanh, atanh_slope)

static double real_exp(double x, const void *user) {
    (void)user;
    return exp(x);
}

static void eval_exp(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    (void)node;
    mlc_eval_unary(in[0], out[0], exp, NULL);
}

static bool quantize_exp(mlc_quant *q, const mlc_node *node) {
    mlc_value *x = mlc_q_value(q, node->in[0]);
    if (!x)
        return false;
    /* Where data shows that results stay far below what the interval allows, the
     * argument saturates well above that. */
    const double margin = 4, gain = 7;
    if (mlc_minus_maximum(node->in[0]))
        x = mlc_q_at_most(q, x, 0);
    if (!x)
        return false;
    double most = mlc_q_max_real(x);
    const double seen = q->seen_hi ? log(fmax(q->seen_hi[node->out[0]->id], 1e-6)) + margin : INFINITY;
    if (most > seen + gain) {
        x = mlc_q_clamp(q, x, -INFINITY, seen);
        most = seen;
    }
    if (!x)
        return false;
    if (most > 85)
        return mlc_error_at(q->diag, node,
                            "input '%s' may be as large as %g, and its exponential exceeds float",
                            mlc_escape(node->in[0]->name), most);
    return mlc_q_result(q, node, mlc_q_function(q, x, real_exp, NULL, exp(most)));
}

static double real_erf(double x, const void *user) {
    (void)user;
    return erf(x);
}

static double erf_real(double x) {
    return erf(x);
}

static void eval_erf(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    (void)node;
    mlc_eval_unary(in[0], out[0], erf_real, NULL);
}

static bool quantize_erf(mlc_quant *q, const mlc_node *node) {
    mlc_value *x = mlc_q_value(q, node->in[0]);
    return mlc_q_result(q, node, x ? mlc_q_bounded_function(q, x, real_erf, NULL, M_2_SQRTPI, -1, 1) : NULL);
}

static void eval_sqrt(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    (void)node;
    mlc_eval_unary(in[0], out[0], sqrt, NULL);
}

static bool quantize_sqrt(mlc_quant *q, const mlc_node *node) {
    mlc_value *x = mlc_q_value(q, node->in[0]);
    return mlc_q_result(q, node, x ? mlc_q_sqrt(q, x) : NULL);
}

#define ROW(NAME, FN, SINCE, LIMITS, DOC)                                       \
    {.domain = "",                                                              \
     .name = NAME,                                                              \
     .since = SINCE,                                                            \
     .doc = DOC,                                                                \
     .limits = LIMITS,                                                          \
     .min_in = 1,                                                               \
     .max_in = 1,                                                               \
     .min_out = 1,                                                              \
     .max_out = 1,                                                              \
     .attrs = (const mlc_attr_spec[]){{"consumed_inputs", MLC_ATTR_INTS}, {0}}, \
     .infer = mlc_infer_real,                                                   \
     .eval = eval_##FN,                                                         \
     .quantize = quantize_##FN}

MLC_OPS(Functions, ROW("Exp", exp, 1, "x of at most 85", "exp(x)"),
        ROW("Log", log, 1, "x must be proved positive", "Natural logarithm of x"),
        ROW("Sqrt", sqrt, 1, "negative x count as 0", "Square root of x"),
        ROW("Erf", erf, 9, NULL, "Error function"), ROW("Sin", sin, 7, NULL, "sin(x)"),
        ROW("Cos", cos, 7, NULL, "cos(x)"),
        ROW("Tan", tan, 7, "x must be proved to lie in (-pi/2, pi/2)", "tan(x)"),
        ROW("Asin", asin, 7, "x must be proved to lie in (-1, 1)", "asin(x)"),
        ROW("Acos", acos, 7, "x must be proved to lie in (-1, 1)", "acos(x)"),
        ROW("Atan", atan, 7, NULL, "atan(x)"), ROW("Sinh", sinh, 9, NULL, "sinh(x)"),
        ROW("Cosh", cosh, 9, NULL, "cosh(x)"), ROW("Asinh", asinh, 9, NULL, "asinh(x)"),
        ROW("Acosh", acosh, 9, "x must be proved to exceed 1", "acosh(x)"),
        ROW("Atanh", atanh, 9, "x must be proved to lie in (-1, 1)", "atanh(x)"));
