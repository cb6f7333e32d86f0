#include "Grid.h"
#include "Whole.h"

#include <math.h>

static bool infer(mlc_graph *g, mlc_node *node) {
    const mlc_shape scalar = {0};
    if (node->in[0]->dtype != MLC_FLOAT)
        return mlc_error_at(g->diag, node, "input '%s' is of type %s, float is needed",
                            mlc_escape(node->in[0]->name), mlc_dtype_name(node->in[0]->dtype));
    return mlc_infer_set(g, node, 0, MLC_UINT8, &node->in[0]->shape) &&
           mlc_infer_set(g, node, 1, MLC_FLOAT, &scalar) && mlc_infer_set(g, node, 2, MLC_UINT8, &scalar);
}

static void eval(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    (void)node;
    const int64_t n = mlc_shape_elements(&in[0]->shape);
    double lo = 0, hi = 0;
    for (int64_t i = 0; i < n; i++) {
        lo = fmin(lo, in[0]->f[i]);
        hi = fmax(hi, in[0]->f[i]);
    }
    const double scale = lo == hi ? mlc_f32(1.0 / 255) : mlc_f32(mlc_f32(hi - lo) / 255);
    const int64_t zero = mlc_to_grid(MLC_UINT8, mlc_f32(-lo / scale), 0);
    for (int64_t i = 0; i < n && out[0]; i++)
        out[0]->i[i] = mlc_to_grid(MLC_UINT8, mlc_f32(in[0]->f[i] / scale), zero);
    if (out[1])
        out[1]->f[0] = scale;
    if (out[2])
        out[2]->i[0] = zero;
}

/* v reduced over all elements, and 0. */
static mlc_value *extreme(mlc_quant *q, mlc_value *v, mlc_reduce kind) {
    const mlc_shape scalar = {0};
    const int64_t n = mlc_shape_elements(&v->shape);
    int64_t *index = MLC_NEW_ARRAY(q->arena, n, int64_t);
    for (int64_t i = 0; i < n; i++)
        index[i] = i;
    mlc_value *r = mlc_q_reduce(q, kind, v, index, n, &scalar);
    return mlc_q_exact(q, kind == MLC_REDUCE_MAX ? "Max" : "Min", r, mlc_q_scalar(q, 0));
}

static mlc_value *op(mlc_quant *q, const char *name, mlc_value *a, int64_t b) {
    return mlc_q_exact(q, name, a, mlc_q_scalar(q, b));
}

/* min(max(v, lo), hi). */
static mlc_value *known(mlc_quant *q, mlc_value *v, int64_t lo, int64_t hi) {
    v = op(q, "Max", v, lo);
    return op(q, "Min", v, hi);
}

/* The scale as a float: mantissa / power of the units of x, the mantissa having 24 bits. */
typedef struct scale {
    mlc_value *mantissa, *power;
} scale;

/* float(float(range) / 255) for 0 < range <= 2^31: `range` moved to 32 bits, and rounded to 24 of them. */
static scale scale_of(mlc_quant *q, mlc_value *range) {
    const int64_t most = (int64_t)1 << 32;
    mlc_value *bits = mlc_q_node(q, "BitLength", &range, 1, NULL, NULL, 0);
    scale s = {.power = mlc_q_exact(q, "ShiftRight", mlc_q_scalar(q, most), bits)};
    mlc_value *n = known(q, mlc_q_exact(q, "Mul", range, s.power), most / 2, most - 1);
    mlc_value *odd = op(q, "BitAnd", op(q, "ShiftRight", n, 8), 1);
    n = op(q, "Add", mlc_q_exact(q, "Add", n, odd), 127);
    n = op(q, "Mul", op(q, "ShiftRight", n, 8), 256);
    /* Above 2^24 floats have steps of 2. There is no tie: 255 is odd, and 255 + 510 k no multiple of 256. */
    mlc_value *fine = op(q, "Divide", op(q, "Add", op(q, "Mul", n, 2), 255), 510);
    mlc_value *coarse = op(q, "Mul", op(q, "Divide", op(q, "Add", n, 255), 510), 2);
    mlc_value *const in[3] = {op(q, "Less", n, 255 * (most >> 8)), fine, coarse};
    s.mantissa = mlc_q_node(q, "Where", in, 3, NULL, NULL, 0);
    return s;
}

/*
 * half-even(float(v / s)) for 0 <= v <= 255 s. Let j be the whole part of v / s. Near
 * j + 1/2, floats are d = 2^-24 or more apart, the power of two that is at most
 * (j + 1/2) / 2^23; what is within d/2 of j + 1/2 is rounded to it, and then to the
 * even one of j and j + 1. So j + 1 is the result where v / s - j exceeds 1/2 + d/2,
 * for odd j 1/2 - d/2. A table has these limits in units of 2^-25, for 0 <= j <= 255.
 */
static mlc_value *steps(mlc_quant *q, mlc_value *v, const scale *s) {
    enum { ENTRIES = 256, UNITS = 24 };
    int64_t limit[ENTRIES];
    for (int64_t j = 0, d = 1; j < ENTRIES; j++) {
        d = j >= d ? 2 * d : d;
        limit[j] = ((int64_t)1 << UNITS) + (j % 2 ? -d : d);
    }
    const mlc_shape shape = {1, {ENTRIES}};
    mlc_value *t = op(q, "Mul", mlc_q_exact(q, "Mul", v, s->power), 2), *m = op(q, "Mul", s->mantissa, 2);
    mlc_value *j = op(q, "Min", mlc_q_exact(q, "Divide", t, m), ENTRIES - 1);
    mlc_value *rest = mlc_q_exact(q, "Sub", t, mlc_q_exact(q, "Mul", j, m));
    mlc_value *const in[2] = {j, mlc_q_constant(q, limit, &shape)};
    mlc_value *least = mlc_q_node(q, "Table", in, 2, &v->shape, NULL, 0);
    least = op(q, "ShiftRight", mlc_q_exact(q, "Mul", least, s->mantissa), UNITS);
    return mlc_q_exact(q, "Add", j, mlc_q_exact(q, "Less", least, rest));
}

/* The same for v of either sign. */
static mlc_value *signed_steps(mlc_quant *q, mlc_value *v, const scale *s) {
    bool negative = false;
    for (int64_t i = 0; i < mlc_shape_elements(&v->shape); i++)
        negative = negative || v->lo[i] < 0;
    if (!negative)
        return steps(q, v, s);
    mlc_value *minus = mlc_q_exact(q, "Sub", mlc_q_scalar(q, 0), v);
    mlc_value *r = steps(q, op(q, "Max", mlc_q_exact(q, "Max", v, minus), 0), s);
    mlc_value *below = op(q, "Less", v, 0), *mirrored = mlc_q_exact(q, "Sub", mlc_q_scalar(q, 0), r);
    mlc_value *const in[3] = {below, mirrored, r};
    return mlc_q_node(q, "Where", in, 3, NULL, NULL, 0);
}

/* v limited to 0..255. The real-valued model divides by another range: its distance may be all of that. */
static mlc_value *byte(mlc_quant *q, mlc_value *v) {
    v = known(q, v, 0, 255);
    if (!v || v->constant)
        return v;
    v->err = MLC_NEW_ARRAY(q->arena, mlc_shape_elements(&v->shape), double);
    for (int64_t i = 0; i < mlc_shape_elements(&v->shape); i++)
        v->err[i] = 255;
    return v;
}

/* ONNX's float arithmetic in integers: exact for x as it is in fixed point. */
static bool quantize(mlc_quant *q, const mlc_node *node) {
    enum { BITS = 31 };
    const mlc_shape scalar = {0};
    mlc_value *x = mlc_q_narrow(q, mlc_q_value(q, node->in[0]), BITS);
    if (!x || mlc_shape_elements(&x->shape) == 0)
        return false;
    mlc_value *lo = extreme(q, x, MLC_REDUCE_MIN), *hi = extreme(q, x, MLC_REDUCE_MAX);
    mlc_value *range = op(q, "Max", mlc_q_exact(q, "Sub", hi, lo), 1);
    if (!range)
        return false;
    const scale s = scale_of(q, range);
    mlc_value *zero = byte(q, steps(q, mlc_q_exact(q, "Sub", mlc_q_scalar(q, 0), lo), &s));
    mlc_value *y = byte(q, mlc_q_exact(q, "Add", signed_steps(q, x, &s), zero));
    if (!y || !zero)
        return false;
    double err = 0;
    for (int64_t i = 0; i < mlc_shape_elements(&x->shape); i++)
        err = fmax(err, mlc_q_err(x, i));
    mlc_value *real = mlc_q_reshape(q, range, &scalar);
    if (!real)
        return false;
    real->scale = x->scale / 255;
    real->err = MLC_NEW_ARRAY(q->arena, 1, double);
    real->err[0] = fmax(2 * err, x->scale) / 255;
    return mlc_q_bind(q, node->out[0], y) && (!node->out[1] || mlc_q_bind(q, node->out[1], real)) &&
           (!node->out[2] || mlc_q_bind(q, node->out[2], zero));
}

MLC_OPS(DynamicQuantizeLinear, {.domain = "",
                                .name = "DynamicQuantizeLinear",
                                .since = 11,
                                .doc = "Quantizes to uint8 with the range of the data",
                                .min_in = 1,
                                .max_in = 1,
                                .min_out = 3,
                                .max_out = 3,
                                .infer = infer,
                                .eval = eval,
                                .quantize = quantize});
