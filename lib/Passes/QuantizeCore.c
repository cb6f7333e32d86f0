/* Builders of quantize.h: nodes, constants, scales. */
#include "Precision.h"
#include "Quant.h"

#include "mlc/form.h"

#include <assert.h>
#include <math.h>
#include <string.h>

int64_t mlc_q_elements(const mlc_value *v) {
    return mlc_shape_elements(&v->shape);
}

int64_t mlc_q_magnitude(const mlc_value *v) {
    uint64_t m = 0;
    int64_t n = mlc_q_elements(v);
    for (int64_t i = 0; i < n; i++) {
        uint64_t a = v->lo[i] < 0 ? -(uint64_t)v->lo[i] : (uint64_t)v->lo[i];
        uint64_t b = v->hi[i] < 0 ? -(uint64_t)v->hi[i] : (uint64_t)v->hi[i];
        if (a > m)
            m = a;
        if (b > m)
            m = b;
    }
    return m > INT64_MAX ? INT64_MAX : (int64_t)m;
}

int mlc_q_bits(uint64_t x) {
    return x ? 64 - __builtin_clzll(x) : 0;
}

double mlc_q_err(const mlc_value *v, int64_t i) {
    return v->err ? v->err[i] : 0;
}

double mlc_q_real_lo(const mlc_value *v, int64_t i) {
    return (double)v->lo[i] * v->scale - mlc_q_err(v, i);
}

double mlc_q_real_hi(const mlc_value *v, int64_t i) {
    return (double)v->hi[i] * v->scale + mlc_q_err(v, i);
}

double mlc_q_max_abs(const mlc_value *v) {
    double m = 0;
    int64_t n = mlc_q_elements(v);
    for (int64_t i = 0; i < n; i++)
        m = fmax(m, fmax(fabs(mlc_q_real_lo(v, i)), fabs(mlc_q_real_hi(v, i))));
    return m;
}

double *mlc_q_err_array(mlc_quant *q, mlc_value *v) {
    if (!v->err)
        v->err = MLC_NEW_ARRAY(q->arena, mlc_q_elements(v) + 1, double);
    return v->err;
}

/* An all-constant node is evaluated at once. */
static mlc_value *fold(mlc_quant *q, mlc_node *node) {
    mlc_value *out = node->out[0];
    for (int k = 0; k < node->n_in; k++)
        if (!node->in[k]->constant)
            return out;
    const int64_t **in = MLC_NEW_ARRAY(q->arena, node->n_in, const int64_t *);
    for (int k = 0; k < node->n_in; k++)
        in[k] = node->in[k]->constant->i;
    mlc_tensor *t = mlc_tensor_create(q->arena, MLC_INT64, &out->shape);
    node->op->eval_int(node, in, t->i);
    mlc_graph_remove(q->to, node);
    return mlc_graph_constant(q->to, NULL, t);
}

mlc_value *mlc_q_node(mlc_quant *q, const char *op, mlc_value *const *in, int n_in, const mlc_shape *shape,
                      const mlc_attr *attrs, int n_attrs) {
    for (int k = 0; k < n_in; k++)
        if (!in[k])
            return NULL; /* its builder has reported */
    mlc_value *out = mlc_graph_value(q->to, NULL);
    mlc_node *node = mlc_graph_insert(q->to, NULL, mlc_iop(op), NULL, in, n_in, &out, 1);
    out->dtype = MLC_INT64;
    if (shape) {
        out->shape = *shape;
        out->shaped = true;
    }
    if (q->node)
        node->origin = mlc_arena_printf(q->arena, "%s (%s)", q->node->name, q->node->op->name);
    if (n_attrs) {
        node->attr = MLC_NEW_ARRAY(q->arena, n_attrs, mlc_attr);
        memcpy(node->attr, attrs, (size_t)n_attrs * sizeof *attrs);
        node->n_attr = n_attrs;
    }
    if (!node->op->check(q->to, node))
        return NULL;
    int64_t n = mlc_q_elements(out);
    out->lo = MLC_NEW_ARRAY(q->arena, n + 1, int64_t);
    out->hi = MLC_NEW_ARRAY(q->arena, n + 1, int64_t);
    if (!node->op->interval(q->to, node))
        return NULL;
    return fold(q, node);
}

mlc_value *mlc_q_constant(mlc_quant *q, const int64_t *x, const mlc_shape *shape) {
    mlc_tensor *t = mlc_tensor_create(q->arena, MLC_INT64, shape);
    memcpy(t->i, x, (size_t)mlc_shape_elements(shape) * sizeof *x);
    return mlc_graph_constant(q->to, NULL, t);
}

mlc_value *mlc_q_scalar(mlc_quant *q, int64_t x) {
    mlc_shape scalar = {0};
    return mlc_q_constant(q, &x, &scalar);
}

/* The smallest number of fraction bits, up to `most`, that holds x exactly; `most` when none does. */
static int fraction_bits(double x, int most) {
    int f = 0;
    while (f < most && ldexp(x, f) != rint(ldexp(x, f)))
        f++;
    return f;
}

mlc_value *mlc_q_real_constant(mlc_quant *q, const double *x, const mlc_shape *shape, int bits) {
    int64_t n = mlc_shape_elements(shape);
    double max = 0;
    for (int64_t i = 0; i < n; i++) {
        if (!isfinite(x[i])) {
            mlc_error_at(q->diag, q->node,
                         "a constant operand is %g; only finite numbers can be lowered to integers", x[i]);
            return NULL;
        }
        max = fmax(max, fabs(x[i]));
    }
    int exponent = 0; /* max < 2^exponent */
    if (max > 0)
        frexp(max, &exponent);
    int most = bits - exponent, f = most > 0 ? 0 : most;
    for (int64_t i = 0; i < n && most > 0 && f < most; i++) {
        int own = fraction_bits(x[i], most);
        if (own > f)
            f = own;
    }
    mlc_tensor *t = mlc_tensor_create(q->arena, MLC_INT64, shape);
    double *err = NULL;
    for (int64_t i = 0; i < n; i++) {
        double scaled = ldexp(x[i], f);
        t->i[i] = (int64_t)rint(scaled);
        if ((double)t->i[i] == scaled)
            continue;
        if (!err)
            err = MLC_NEW_ARRAY(q->arena, n + 1, double);
        err[i] = fabs(ldexp((double)t->i[i], -f) - x[i]);
    }
    mlc_value *v = mlc_graph_constant(q->to, NULL, t);
    v->scale = ldexp(1, -f);
    v->err = err;
    return v;
}

mlc_value *mlc_q_value(mlc_quant *q, const mlc_value *v) {
    if (q->map[v->id])
        return q->map[v->id];
    if (!v->constant)
        return q->form[v->id] ? mlc_form_value(q, v) : NULL;
    const mlc_tensor *t = v->constant;
    mlc_value *integer;
    if (mlc_dtype_is_float(t->dtype)) {
        integer = mlc_q_real_constant(q, t->f, &t->shape, MLC_WORK_BITS);
    } else if (mlc_dtype_is_integer(t->dtype)) {
        integer = mlc_q_constant(q, t->i, &t->shape);
    } else {
        mlc_error_at(q->diag, q->node, "a constant of type %s cannot be lowered to integers",
                     mlc_dtype_name(t->dtype));
        return NULL;
    }
    return q->map[v->id] = integer;
}

mlc_value *mlc_q_shift_left(mlc_quant *q, mlc_value *v, int bits) {
    if (!v || bits == 0)
        return v;
    mlc_value *in[3] = {v, mlc_q_scalar(q, (int64_t)1 << bits), mlc_q_scalar(q, 0)};
    mlc_attr shift = {.name = "shift", .kind = MLC_ATTR_INT, .i = 0};
    mlc_value *r = mlc_q_node(q, "Rescale", in, 3, NULL, &shift, 1);
    if (!r)
        return NULL;
    r->scale = ldexp(v->scale, -bits);
    r->err = v->err;
    return r;
}

/* Rounds half up; err grows by half a unit of the new scale. */
mlc_value *mlc_q_shift_right(mlc_quant *q, mlc_value *v, int bits) {
    if (!v || bits == 0)
        return v;
    if (bits > MLC_ACCUMULATOR_BITS)
        bits = MLC_ACCUMULATOR_BITS;
    mlc_value *in[3] = {v, mlc_q_scalar(q, 1), mlc_q_scalar(q, (int64_t)1 << (bits - 1))};
    mlc_attr shift = {.name = "shift", .kind = MLC_ATTR_INT, .i = bits};
    mlc_value *r = mlc_q_node(q, "Rescale", in, 3, NULL, &shift, 1);
    if (!r)
        return NULL;
    r->scale = ldexp(v->scale, bits);
    double *err = mlc_q_err_array(q, r);
    for (int64_t i = 0; i < mlc_q_elements(r); i++)
        err[i] = mlc_q_err(v, i) + 0.5 * r->scale;
    return r;
}

mlc_value *mlc_q_narrow(mlc_quant *q, mlc_value *v, int bits) {
    if (!v)
        return NULL;
    int has = mlc_q_bits((uint64_t)mlc_q_magnitude(v));
    return has <= bits ? v : mlc_q_shift_right(q, v, has - bits);
}

mlc_value *mlc_q_settle(mlc_quant *q, mlc_value *v) {
    if (!v)
        return NULL;
    int range = 0;
    frexp((double)mlc_q_magnitude(v) * v->scale, &range);
    int bits = range + MLC_WORK_FRACTION;
    if (bits < MLC_WORK_BITS)
        bits = MLC_WORK_BITS;
    if (bits > MLC_WIDE_BITS)
        bits = MLC_WIDE_BITS;
    return mlc_q_narrow(q, v, bits);
}

mlc_value *mlc_q_rescale(mlc_quant *q, mlc_value *v, double scale) {
    if (!v || v->scale == scale)
        return v;
    int exponent;
    double ratio = v->scale / scale, mantissa = frexp(ratio, &exponent);
    int have = mlc_q_bits((uint64_t)mlc_q_magnitude(v));
    if (have + exponent > MLC_ACCUMULATOR_BITS) {
        mlc_error_at(q->diag, q->node, "the scales of two operands are too far apart (%g and %g)", v->scale,
                     scale);
        return NULL;
    }
    mlc_value *r;
    if (mantissa == 0.5) { /* a power of two */
        r = exponent > 0 ? mlc_q_shift_left(q, v, exponent - 1) : mlc_q_shift_right(q, v, 1 - exponent);
        if (r)
            r->scale = scale;
        return r;
    }
    /* multiplier * 2^-shift ~ ratio, with as many bits as fit beside the value. */
    int bits = MLC_ACCUMULATOR_BITS - have;
    if (bits > MLC_WEIGHT_BITS)
        bits = MLC_WEIGHT_BITS;
    int shift = bits - exponent;
    if (shift > MLC_ACCUMULATOR_BITS)
        shift = MLC_ACCUMULATOR_BITS;
    if (shift < 0)
        shift = 0;
    int64_t multiplier = (int64_t)rint(ldexp(ratio, shift));
    mlc_value *in[3] = {v, mlc_q_scalar(q, multiplier),
                        mlc_q_scalar(q, shift ? (int64_t)1 << (shift - 1) : 0)};
    mlc_attr attr = {.name = "shift", .kind = MLC_ATTR_INT, .i = shift};
    r = mlc_q_node(q, "Rescale", in, 3, NULL, &attr, 1);
    if (!r)
        return NULL;
    r->scale = scale;
    double off = fabs(ldexp((double)multiplier, -shift) - ratio), *err = mlc_q_err_array(q, r);
    for (int64_t i = 0; i < mlc_q_elements(r); i++) {
        double magnitude = fmax(fabs((double)v->lo[i]), fabs((double)v->hi[i]));
        err[i] = mlc_q_err(v, i) + (magnitude * off + 0.5) * scale;
    }
    return r;
}

/* The finer of the two scales, unless a value would outgrow the accumulator. */
bool mlc_q_align(mlc_quant *q, mlc_value **a, mlc_value **b) {
    if (!*a || !*b)
        return false;
    if ((*a)->scale == (*b)->scale)
        return true;
    enum { ROOM = MLC_ACCUMULATOR_BITS - 2 };
    double scale = fmin((*a)->scale, (*b)->scale), ratio = fmax((*a)->scale, (*b)->scale) / scale;
    double most = fmax((double)mlc_q_magnitude(*a) * (*a)->scale, (double)mlc_q_magnitude(*b) * (*b)->scale);
    while (most / scale > ldexp(1, ROOM))
        scale *= 2;
    /* One of them has to be rounded: to the working precision, not to a coarse scale of the other. */
    while (ratio != rint(ratio) && most / scale < ldexp(1, MLC_WORK_BITS - 1))
        scale /= 2;
    *a = mlc_q_rescale(q, *a, scale);
    *b = mlc_q_rescale(q, *b, scale);
    return *a && *b;
}

mlc_value *mlc_q_binary(mlc_quant *q, const char *op, mlc_value *a, mlc_value *b) {
    mlc_value *in[2] = {a, b};
    return mlc_q_node(q, op, in, 2, NULL, NULL, 0);
}

bool mlc_q_bind(mlc_quant *q, const mlc_value *v, mlc_value *integer) {
    if (!integer)
        return false;
    if (!mlc_shape_equal(&v->shape, &integer->shape)) {
        integer = mlc_q_reshape(q, integer, &v->shape);
        if (!integer)
            return false;
    }
    if (!mlc_dtype_is_float(v->dtype) && integer->scale != 1)
        integer = mlc_q_rescale(q, integer, 1);
    if (!integer)
        return false;
    q->map[v->id] = integer;
    if (q->seen && !integer->constant)
        mlc_q_set_seen(q, integer, q->seen[v->id]);
    return true;
}
