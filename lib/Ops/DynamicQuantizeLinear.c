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

/* round(255 * v / range) for |v| <= range, in integers: half up. */
static mlc_value *share(mlc_quant *q, mlc_value *v, mlc_value *range) {
    mlc_value *up =
        mlc_q_exact(q, "Mul", range, mlc_q_scalar(q, 511)); /* 2*255 range to be positive, range to round */
    mlc_value *sum = mlc_q_exact(q, "Add", mlc_q_exact(q, "Mul", v, mlc_q_scalar(q, 510)), up);
    sum = mlc_q_exact(q, "Max", sum, mlc_q_scalar(q, 0));
    mlc_value *r = mlc_q_exact(q, "Divide", sum, mlc_q_exact(q, "Mul", range, mlc_q_scalar(q, 2)));
    return mlc_q_exact(q, "Sub", r, mlc_q_scalar(q, 255));
}

/* v limited to 0..255. The real-valued model divides by another range: the bound of the error is all of that.
 */
static mlc_value *byte(mlc_quant *q, mlc_value *v) {
    v = mlc_q_exact(q, "Max", v, mlc_q_scalar(q, 0));
    v = mlc_q_exact(q, "Min", v, mlc_q_scalar(q, 255));
    if (!v || v->constant)
        return v;
    v->err = MLC_NEW_ARRAY(q->arena, mlc_shape_elements(&v->shape), double);
    for (int64_t i = 0; i < mlc_shape_elements(&v->shape); i++)
        v->err[i] = 255;
    return v;
}

/*
 * The arithmetic is that of real numbers on x in fixed point: where float rounding
 * decides a tie, the result may be one step from that of eval.
 */
static bool quantize(mlc_quant *q, const mlc_node *node) {
    enum { BITS = 31 };
    const mlc_shape scalar = {0};
    mlc_value *x = mlc_q_narrow(q, mlc_q_value(q, node->in[0]), BITS);
    if (!x || mlc_shape_elements(&x->shape) == 0)
        return false;
    mlc_value *lo = extreme(q, x, MLC_REDUCE_MIN), *hi = extreme(q, x, MLC_REDUCE_MAX);
    mlc_value *range = mlc_q_exact(q, "Sub", hi, lo);
    range = mlc_q_exact(q, "Max", range, mlc_q_scalar(q, 1));
    mlc_value *zero = byte(q, share(q, mlc_q_exact(q, "Sub", mlc_q_scalar(q, 0), lo), range));
    mlc_value *y = byte(q, mlc_q_exact(q, "Add", share(q, x, range), zero));
    if (!y || !zero)
        return false;
    double err = 0;
    for (int64_t i = 0; i < mlc_shape_elements(&x->shape); i++)
        err = fmax(err, mlc_q_err(x, i));
    mlc_value *scale = mlc_q_reshape(q, range, &scalar);
    if (!scale)
        return false;
    scale->scale = x->scale / 255;
    scale->err = MLC_NEW_ARRAY(q->arena, 1, double);
    scale->err[0] = fmax(2 * err, x->scale) / 255;
    return mlc_q_bind(q, node->out[0], y) && (!node->out[1] || mlc_q_bind(q, node->out[1], scale)) &&
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
