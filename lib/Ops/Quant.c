#include "Form.h"
#include "Whole.h"

#include <math.h>
#include <strings.h>

/* Quant and BipolarQuant of QONNX, Brevitas and FINN: a float tensor rounded to
 * integers of any width on a grid of scale and zero point. */
enum { X, SCALE, ZERO, WIDTH };

static const char *mode_of(const mlc_node *node) {
    return mlc_attr_string(node, "rounding_mode", "ROUND");
}

static double rounded(const char *mode, double x) {
    if (!strcasecmp(mode, "ROUND") || !strcasecmp(mode, "HALF_EVEN"))
        return rint(x);
    if (!strcasecmp(mode, "FLOOR"))
        return floor(x);
    if (!strcasecmp(mode, "CEIL"))
        return ceil(x);
    if (!strcasecmp(mode, "ROUND_TO_ZERO") || !strcasecmp(mode, "DOWN"))
        return trunc(x);
    if (!strcasecmp(mode, "UP"))
        return copysign(ceil(fabs(x)), x);
    if (!strcasecmp(mode, "HALF_UP"))
        return copysign(floor(fabs(x) + 0.5), x);
    if (!strcasecmp(mode, "HALF_DOWN"))
        return copysign(ceil(fabs(x) - 0.5), x);
    return NAN;
}

/* Smallest and largest integer of a signed or unsigned, full or narrow range. */
static void range_of(const mlc_node *node, double width, double *lo, double *hi) {
    const bool is_signed = mlc_attr_int(node, "signed", 1) != 0,
               narrow = mlc_attr_int(node, "narrow", 0) != 0;
    *lo = is_signed ? -exp2(width - 1) + narrow : 0;
    *hi = is_signed ? exp2(width - 1) - 1 : exp2(width) - 1 - narrow;
}

static bool infer(mlc_graph *g, mlc_node *node) {
    for (int k = 0; k < node->n_in; k++) {
        mlc_shape both;
        const mlc_value *v = node->in[k];
        if (!v || !mlc_need_float(g, node, k))
            return v || mlc_error_at(g->diag, node, "input %d is missing", k);
        if (!mlc_shape_broadcast(&v->shape, &node->in[X]->shape, &both) ||
            mlc_shape_elements(&both) != mlc_shape_elements(&node->in[X]->shape))
            return mlc_error_at(g->diag, node, "input '%s' of shape %s does not broadcast to %s",
                                mlc_escape(v->name), mlc_shape_str(g->arena, &v->shape),
                                mlc_shape_str(g->arena, &node->in[X]->shape));
        if (k == WIDTH && mlc_shape_elements(&v->shape) != 1)
            return mlc_error_at(g->diag, node, "the bit width '%s' has shape %s, a scalar is needed",
                                mlc_escape(v->name), mlc_shape_str(g->arena, &v->shape));
    }
    if (isnan(rounded(mode_of(node), 0)))
        return mlc_error_at(g->diag, node, "rounding_mode '%s' is not known", mlc_escape(mode_of(node)));
    return mlc_infer_same(g, node);
}

static void eval(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    const int64_t n = mlc_shape_elements(&out[0]->shape);
    double lo, hi;
    range_of(node, in[WIDTH]->f[0], &lo, &hi);
    mlc_walk w;
    mlc_walk_begin(&w, &out[0]->shape, 3,
                   (const mlc_shape *const[]){&in[X]->shape, &in[SCALE]->shape, &in[ZERO]->shape});
    for (int64_t i = 0; i < n; i++, mlc_walk_next(&w)) {
        const double scale = in[SCALE]->f[w.at[1]], zero = in[ZERO]->f[w.at[2]];
        const double y = mlc_f32(mlc_f32(in[X]->f[w.at[0]] / scale) + zero);
        out[0]->f[i] = mlc_f32(rounded(mode_of(node), fmin(fmax(y, lo), hi)) - zero) * scale;
    }
}

static void eval_bipolar(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    (void)node;
    const int64_t n = mlc_shape_elements(&out[0]->shape);
    for (int64_t i = 0; i < n; i++) {
        const double scale = in[SCALE]->f[mlc_shape_broadcast_index(&in[SCALE]->shape, &out[0]->shape, i)];
        out[0]->f[i] = in[X]->f[i] >= 0 ? scale : -scale;
    }
}

/* Input k as an array of reals; NULL after reporting that it is not constant. */
static const double *constant(mlc_quant *q, const mlc_node *node, int k) {
    if (node->in[k]->constant)
        return mlc_reals(q->arena, node->in[k]->constant);
    mlc_error_at(q->diag, node, "'%s' is not constant", mlc_escape(node->in[k]->name));
    return NULL;
}

static mlc_value *round_by(mlc_quant *q, mlc_value *v, const char *mode) {
    if (!strcasecmp(mode, "ROUND") || !strcasecmp(mode, "HALF_EVEN"))
        return mlc_q_round(q, v, MLC_ROUND_HALF_EVEN);
    if (!strcasecmp(mode, "FLOOR"))
        return mlc_q_round(q, v, MLC_ROUND_FLOOR);
    if (!strcasecmp(mode, "CEIL"))
        return mlc_q_round(q, v, MLC_ROUND_CEIL);
    mlc_error_at(q->diag, q->node,
                 "rounding_mode '%s' cannot be lowered to integers; ROUND, FLOOR and CEIL can",
                 mlc_escape(mode));
    return NULL;
}

/*
 * The integers behind the result, of which it is (n - zero) * scale: eval's
 * result divided by the scale is so close to a whole number that rounding finds it.
 */
static bool exact(mlc_quant *q, const mlc_node *node, const double *scale, const double *zero, double width) {
    const mlc_form *f = mlc_form_of(q, node->in[X]);
    mlc_form *g = f && width <= 16 ? mlc_form_through(q, node, X, f) : NULL;
    const mlc_shape *s = &node->in[SCALE]->shape, *y = &node->out[0]->shape;
    if (!g)
        return false;
    int64_t *first = MLC_NEW_ARRAY(q->arena, g->n_cls, int64_t);
    for (int64_t i = mlc_shape_elements(y) - 1; i >= 0; i--)
        first[g->cls[i]] = i;
    const mlc_chain **integers = MLC_NEW_ARRAY(q->arena, g->n_cls, const mlc_chain *),
                    **reals = MLC_NEW_ARRAY(q->arena, g->n_cls, const mlc_chain *);
    for (int c = 0; c < g->n_cls; c++) {
        const double unit = scale[mlc_shape_broadcast_index(s, y, first[c])],
                     z = zero[mlc_shape_broadcast_index(&node->in[ZERO]->shape, y, first[c])];
        if (z != rint(z) || fabs(z) > 0x1p16)
            return false;
        mlc_chain *step = MLC_NEW(q->arena, mlc_chain);
        *step = *g->chain[c];
        step->direction = g->chain[c]->prev->direction;
        integers[c] = mlc_chain_quantize(q, step, unit, (int64_t)z, MLC_INT32, MLC_FLOAT);
        reals[c] = mlc_chain_linear(q, unit, (int64_t)z, 0, node->out[0]->dtype);
    }
    g->chain = integers;
    mlc_form *r = MLC_NEW(q->arena, mlc_form);
    *r = (mlc_form){
        .x = mlc_q_step(q, g), .n_cls = g->n_cls, .cls = g->cls, .chain = reals, .quantized = true};
    return r->x && mlc_form_set(q, node->out[0], r);
}

static bool quantize(mlc_quant *q, const mlc_node *node) {
    const double *scale = constant(q, node, SCALE), *zero = constant(q, node, ZERO),
                 *width = constant(q, node, WIDTH);
    if (!scale || !zero || !width)
        return false;
    const mlc_shape *s = &node->in[SCALE]->shape, *z = &node->in[ZERO]->shape;
    const int64_t n = mlc_shape_elements(s);
    double *inverse = MLC_NEW_ARRAY(q->arena, n, double);
    for (int64_t i = 0; i < n; i++) {
        inverse[i] = 1 / scale[i];
        if (!isfinite(inverse[i]) || scale[i] <= 0)
            return mlc_error_at(q->diag, node, "scale '%s' has element %g; scales must be positive",
                                mlc_escape(node->in[SCALE]->name), scale[i]);
    }
    if (!(width[0] >= 1 && width[0] <= 32))
        return mlc_error_at(q->diag, node, "the bit width is %g; supported are 1 to 32", width[0]);
    if (exact(q, node, scale, zero, width[0]))
        return true;
    mlc_value *v = mlc_q_value(q, node->in[X]);
    if (!v)
        return false;
    double lo, hi;
    range_of(node, width[0], &lo, &hi);
    bool centered = true;
    const int64_t n_zero = mlc_shape_elements(z);
    double *negated = MLC_NEW_ARRAY(q->arena, n_zero, double);
    for (int64_t i = 0; i < n_zero; i++) {
        centered = centered && zero[i] == 0;
        negated[i] = -zero[i];
    }
    v = mlc_q_mul_real(q, v, inverse, s);
    if (v && !centered)
        v = mlc_q_add_real(q, v, zero, z);
    v = v ? mlc_q_clamp(q, v, lo, hi) : NULL;
    v = v ? round_by(q, v, mode_of(node)) : NULL;
    v = v ? mlc_q_clamp(q, v, lo, hi) : NULL;
    if (v && !centered)
        v = mlc_q_add_real(q, v, negated, z);
    return mlc_q_result(q, node, v ? mlc_q_mul_real(q, v, scale, s) : NULL);
}

/* 2 * (x >= 0) - 1, times the scale. */
static bool quantize_bipolar(mlc_quant *q, const mlc_node *node) {
    const double *scale = constant(q, node, SCALE);
    mlc_value *v = mlc_q_value(q, node->in[X]);
    v = v && scale ? mlc_q_less_equal(q, mlc_q_scalar(q, 0), v) : NULL;
    v = v ? mlc_q_mul(q, v, mlc_q_scalar(q, 2)) : NULL;
    v = v ? mlc_q_sub(q, v, mlc_q_scalar(q, 1)) : NULL;
    return mlc_q_result(q, node, v ? mlc_q_mul_real(q, v, scale, &node->in[SCALE]->shape) : NULL);
}

#define QUANT(DOMAIN)                                                                                       \
    {.domain = DOMAIN,                                                                                      \
     .name = "Quant",                                                                                       \
     .since = 1,                                                                                            \
     .doc = "Rounds to integers of any width on a grid",                                                    \
     .limits = "constant parameters; rounding_mode ROUND, FLOOR or CEIL",                                   \
     .min_in = 4,                                                                                           \
     .max_in = 4,                                                                                           \
     .min_out = 1,                                                                                          \
     .max_out = 1,                                                                                          \
     .attrs =                                                                                               \
         (const mlc_attr_spec[]){                                                                           \
             {"signed", MLC_ATTR_INT}, {"narrow", MLC_ATTR_INT}, {"rounding_mode", MLC_ATTR_STRING}, {0}},  \
     .infer = infer,                                                                                        \
     .eval = eval,                                                                                          \
     .quantize = quantize},                                                                                 \
    {                                                                                                       \
        .domain = DOMAIN, .name = "BipolarQuant", .since = 1, .doc = "scale for x >= 0, -scale below",      \
        .limits = "a constant scale", .min_in = 2, .max_in = 2, .min_out = 1, .max_out = 1, .infer = infer, \
        .eval = eval_bipolar, .quantize = quantize_bipolar                                                  \
    }

MLC_OPS(Quant, QUANT("qonnx.custom_op.general"), QUANT("onnx.brevitas"), QUANT("finn.custom_op.general"));
