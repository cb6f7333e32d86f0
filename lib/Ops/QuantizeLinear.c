#include "Form.h"

#include <math.h>

/* QuantizeLinear and DequantizeLinear. */
enum { X, SCALE, ZERO };

/* Axis of the parameters; any where there is but one. */
static int axis_of(const mlc_node *node, const mlc_shape *x) {
    if (mlc_shape_elements(&node->in[SCALE]->shape) == 1)
        return 0;
    return mlc_axis(mlc_attr_int(node, "axis", 1), x->rank);
}

static int64_t block_of(const mlc_node *node) {
    return mlc_attr_int(node, "block_size", 0);
}

/* Scale and zero point fit x: one element, one for each index of the axis, or one for each block. */
static bool check(mlc_graph *g, mlc_node *node) {
    const mlc_shape *x = &node->in[X]->shape, *s = &node->in[SCALE]->shape;
    const int64_t block = block_of(node), n = mlc_shape_elements(s);
    if (block < 0)
        return mlc_error_at(g->diag, node, "attribute 'block_size' is %lld", (long long)block);
    if (n != 1) {
        int axis;
        if (!mlc_infer_axis(g, node, mlc_attr_int(node, "axis", 1), x->rank, &axis))
            return false;
        bool fits = block ? s->rank == x->rank : s->rank == 1 && s->dim[0] == x->dim[axis];
        for (int d = 0; block && fits && d < x->rank; d++)
            fits = s->dim[d] == (d == axis ? x->dim[d] / block + (x->dim[d] % block != 0) : x->dim[d]);
        if (!fits)
            return mlc_error_at(g->diag, node, "scale '%s' has shape %s, which does not fit %s at axis %d",
                                mlc_escape(node->in[SCALE]->name), mlc_shape_str(g->arena, s),
                                mlc_shape_str(g->arena, x), axis);
    }
    const mlc_value *zero = mlc_input(node, ZERO);
    if (zero && mlc_shape_elements(&zero->shape) != n)
        return mlc_error_at(g->diag, node, "zero point '%s' has shape %s, the scale %s",
                            mlc_escape(zero->name), mlc_shape_str(g->arena, &zero->shape),
                            mlc_shape_str(g->arena, s));
    return mlc_grid_check(g, node, SCALE, ZERO, n);
}

static bool infer_quantize(mlc_graph *g, mlc_node *node) {
    const mlc_value *zero = mlc_input(node, ZERO);
    const mlc_dtype wanted = (mlc_dtype)mlc_attr_int(node, "output_dtype", MLC_UNDEFINED);
    if (!mlc_dtype_is_float(node->in[X]->dtype) && node->in[X]->dtype != MLC_INT32)
        return mlc_error_at(g->diag, node, "input '%s' is of type %s, a float type is needed",
                            mlc_escape(node->in[X]->name), mlc_dtype_name(node->in[X]->dtype));
    if (!check(g, node))
        return false;
    const mlc_dtype t = zero ? zero->dtype : wanted ? wanted : MLC_UINT8;
    if (wanted && wanted != t)
        return mlc_error_at(g->diag, node, "attribute 'output_dtype' says %s, the zero point is of type %s",
                            mlc_dtype_name(wanted), mlc_dtype_name(t));
    if (!mlc_dtype_is_integer(t) || t == MLC_BOOL)
        return mlc_error_at(g->diag, node, "results of type %s are not supported", mlc_dtype_name(t));
    return mlc_infer_set(g, node, 0, t, &node->in[X]->shape);
}

static void eval_quantize(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    const mlc_shape *x = &in[X]->shape;
    const mlc_tensor *zero = mlc_operand(node, in, ZERO);
    mlc_dtype precision = (mlc_dtype)mlc_attr_int(node, "precision", MLC_UNDEFINED);
    if (!mlc_dtype_is_float(precision))
        precision = mlc_dtype_is_float(in[X]->dtype) ? in[X]->dtype : MLC_FLOAT;
    const int64_t n = mlc_shape_elements(x);
    for (int64_t i = 0; i < n; i++) {
        const int64_t k = mlc_grid_index(&in[SCALE]->shape, x, axis_of(node, x), block_of(node), i);
        const double ratio =
            mlc_dtype_round(precision, mlc_dtype_round(precision, mlc_tensor_real(in[X], i)) /
                                           mlc_dtype_round(precision, in[SCALE]->f[k]));
        out[0]->i[i] = mlc_to_grid(out[0]->dtype, ratio, mlc_grid_zero(zero, k));
    }
}

/* The form of the quantized numbers: QuantizeLinear behind the form of its input. */
static mlc_form *quantized_form(mlc_quant *q, const mlc_node *node, const mlc_grid *grid) {
    const mlc_form *f = mlc_form_of(q, node->in[X]);
    if (!f || f->depth >= MLC_FORM_DEPTH)
        return NULL;
    const mlc_shape *x = &node->in[X]->shape;
    const int64_t n = mlc_shape_elements(x);
    int64_t *keys = MLC_NEW_ARRAY(q->arena, 2 * n + 1, int64_t), *first;
    for (int64_t i = 0; i < n; i++) {
        keys[2 * i] = f->cls ? f->cls[i] : 0;
        keys[2 * i + 1] = mlc_shape_broadcast_index(&grid->shape, x, i);
    }
    mlc_form *r = MLC_NEW(q->arena, mlc_form);
    *r = *f;
    r->cls = mlc_classes(q->arena, keys, n, 2, &r->n_cls, &first);
    if (!r->cls || n == 0)
        return NULL;
    mlc_dtype precision = (mlc_dtype)mlc_attr_int(node, "precision", MLC_UNDEFINED);
    if (!mlc_dtype_is_float(precision))
        precision = mlc_dtype_is_float(node->in[X]->dtype) ? node->in[X]->dtype : MLC_FLOAT;
    const mlc_chain **chains = MLC_NEW_ARRAY(q->arena, r->n_cls, const mlc_chain *);
    for (int c = 0; c < r->n_cls; c++) {
        const mlc_chain *prev = f->chain[keys[2 * first[c]]];
        const int64_t k = keys[2 * first[c] + 1];
        chains[c] = mlc_chain_quantize(q, prev, grid->scale[k], grid->zero ? grid->zero[k] : 0,
                                       node->out[0]->dtype, precision);
    }
    r->chain = chains;
    return r;
}

static bool quantize_quantize(mlc_quant *q, const mlc_node *node) {
    const mlc_shape *x = &node->in[X]->shape;
    mlc_grid grid;
    if (!mlc_q_grid(q, node, SCALE, ZERO, x, axis_of(node, x), block_of(node), &grid))
        return false;
    if (mlc_form_bind_step(q, node->out[0], quantized_form(q, node, &grid)))
        return true;
    return mlc_q_result(q, node, mlc_q_to_grid(q, mlc_q_value(q, node->in[X]), &grid, node->out[0]->dtype));
}

static bool infer_dequantize(mlc_graph *g, mlc_node *node) {
    const mlc_value *zero = mlc_input(node, ZERO);
    if (!mlc_dtype_is_integer(node->in[X]->dtype))
        return mlc_error_at(g->diag, node, "input '%s' is of type %s, an integer type is needed",
                            mlc_escape(node->in[X]->name), mlc_dtype_name(node->in[X]->dtype));
    if (zero && zero->dtype != node->in[X]->dtype)
        return mlc_error_at(g->diag, node, "zero point '%s' is of type %s, the input of type %s",
                            mlc_escape(zero->name), mlc_dtype_name(zero->dtype),
                            mlc_dtype_name(node->in[X]->dtype));
    if (!check(g, node))
        return false;
    const mlc_dtype wanted = (mlc_dtype)mlc_attr_int(node, "output_dtype", MLC_UNDEFINED);
    if (wanted && !mlc_dtype_is_float(wanted))
        return mlc_error_at(g->diag, node, "attribute 'output_dtype' is not a float type");
    return mlc_infer_set(g, node, 0, wanted ? wanted : node->in[SCALE]->dtype, &node->in[X]->shape);
}

static void eval_dequantize(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    const mlc_shape *x = &in[X]->shape;
    const mlc_tensor *zero = mlc_operand(node, in, ZERO);
    const int64_t n = mlc_shape_elements(x);
    for (int64_t i = 0; i < n; i++) {
        const int64_t k = mlc_grid_index(&in[SCALE]->shape, x, axis_of(node, x), block_of(node), i);
        out[0]->f[i] = mlc_f32((double)in[X]->i[i] - (double)mlc_grid_zero(zero, k)) * in[SCALE]->f[k];
    }
}

static bool quantize_dequantize(mlc_quant *q, const mlc_node *node) {
    const mlc_shape *x = &node->in[X]->shape;
    mlc_grid grid;
    if (!mlc_q_grid(q, node, SCALE, ZERO, x, axis_of(node, x), block_of(node), &grid))
        return false;
    return mlc_q_result(q, node, mlc_q_from_grid(q, mlc_q_value(q, node->in[X]), &grid));
}

bool mlc_form_dequantize(mlc_quant *q, const mlc_node *node) {
    const mlc_shape *x = &node->in[X]->shape;
    const mlc_form *f = mlc_form_of(q, node->in[X]);
    const mlc_value *scale = node->in[SCALE], *zero = mlc_input(node, ZERO);
    const int64_t n = mlc_shape_elements(x);
    mlc_grid grid;
    double unit;
    int64_t offset, *first;
    if (!f || !mlc_form_affine(f, &unit, &offset) || unit != 1 || offset != 0 || n == 0 || !scale->constant ||
        (zero && !zero->constant) ||
        !mlc_q_grid(q, node, SCALE, ZERO, x, axis_of(node, x), block_of(node), &grid))
        return false;
    int64_t *keys = MLC_NEW_ARRAY(q->arena, n, int64_t);
    for (int64_t i = 0; i < n; i++)
        keys[i] = mlc_shape_broadcast_index(&grid.shape, x, i);
    mlc_form *r = MLC_NEW(q->arena, mlc_form);
    *r = (mlc_form){.x = f->x, .quantized = true};
    r->cls = mlc_classes(q->arena, keys, n, 1, &r->n_cls, &first);
    if (!r->cls)
        return false;
    const mlc_chain **chains = MLC_NEW_ARRAY(q->arena, r->n_cls, const mlc_chain *);
    for (int c = 0; c < r->n_cls; c++) {
        const int64_t k = keys[first[c]];
        chains[c] = mlc_chain_linear(q, grid.scale[k], grid.zero ? grid.zero[k] : 0, 0, node->out[0]->dtype);
    }
    r->chain = chains;
    return mlc_form_set(q, node->out[0], r);
}

#define ROW(DOMAIN, NAME, FUNCTION, SINCE, DOC, ...)                                                      \
    {.domain = DOMAIN,                                                                                    \
     .name = NAME,                                                                                        \
     .since = SINCE,                                                                                      \
     .doc = DOC,                                                                                          \
     .limits = "constant scales and zero points",                                                         \
     .min_in = 2,                                                                                         \
     .max_in = 3,                                                                                         \
     .min_out = 1,                                                                                        \
     .max_out = 1,                                                                                        \
     .attrs = (const mlc_attr_spec[]){{"axis", MLC_ATTR_INT}, {"block_size", MLC_ATTR_INT}, __VA_ARGS__}, \
     .infer = infer_##FUNCTION,                                                                           \
     .eval = eval_##FUNCTION,                                                                             \
     .quantize = quantize_##FUNCTION}
#define QUANTIZE(DOMAIN, SINCE)                                                         \
    ROW(DOMAIN, "QuantizeLinear", quantize, SINCE, "saturate(round(x / scale) + zero)", \
        {"saturate", MLC_ATTR_INT}, {"output_dtype", MLC_ATTR_INT}, {"precision", MLC_ATTR_INT}, {0})
#define DEQUANTIZE(DOMAIN, SINCE)                                                                            \
    ROW(DOMAIN, "DequantizeLinear", dequantize, SINCE, "(x - zero) * scale", {"output_dtype", MLC_ATTR_INT}, \
        {0})

MLC_OPS(QuantizeLinear, QUANTIZE("", 10), DEQUANTIZE("", 10), QUANTIZE("com.microsoft", 1),
        DEQUANTIZE("com.microsoft", 1));
