#include "Real.h"

#include <math.h>

bool mlc_need_float(mlc_graph *g, const mlc_node *node, int k) {
    if (k >= node->n_in || !node->in[k] || mlc_dtype_is_float(node->in[k]->dtype))
        return true;
    return mlc_error_at(g->diag, node, "input %d ('%s') is of type %s, a float type is needed", k,
                        mlc_escape(node->in[k]->name), mlc_dtype_name(node->in[k]->dtype));
}

bool mlc_infer_real(mlc_graph *g, mlc_node *node) {
    return mlc_need_float(g, node, 0) && mlc_infer_same(g, node);
}

bool mlc_q_result(mlc_quant *q, const mlc_node *node, mlc_value *v) {
    return v && mlc_q_bind(q, node->out[0], v);
}

double mlc_q_min_real(const mlc_value *v) {
    double least = INFINITY;
    const int64_t n = mlc_shape_elements(&v->shape);
    for (int64_t i = 0; i < n; i++)
        least = fmin(least, mlc_q_real_lo(v, i));
    return least;
}

double mlc_q_max_real(const mlc_value *v) {
    double most = -INFINITY;
    const int64_t n = mlc_shape_elements(&v->shape);
    for (int64_t i = 0; i < n; i++)
        most = fmax(most, mlc_q_real_hi(v, i));
    return most;
}

void mlc_q_widen(mlc_quant *q, mlc_value *v, double amount) {
    const int64_t n = mlc_shape_elements(&v->shape);
    double *err = MLC_NEW_ARRAY(q->arena, n, double);
    for (int64_t i = 0; i < n; i++)
        err[i] = mlc_q_err(v, i) + amount;
    v->err = err;
}

static const mlc_shape scalar = {0};

mlc_value *mlc_q_scale_by(mlc_quant *q, mlc_value *v, double c) {
    if (c == 0)
        return mlc_q_constant(q, MLC_NEW_ARRAY(q->arena, mlc_shape_elements(&v->shape), int64_t), &v->shape);
    return mlc_q_mul_real(q, v, &c, &scalar);
}

mlc_value *mlc_q_shift_by(mlc_quant *q, mlc_value *v, double c) {
    return mlc_q_add_real(q, v, &c, &scalar);
}

/* A bound between two integers is moved outward to one of them: the error of that. */
static mlc_value *bounded(mlc_quant *q, mlc_value *v, double lo, double hi, double bound) {
    mlc_value *r = mlc_q_clamp(q, v, lo, hi);
    const double units = bound / v->scale;
    if (r && r != v && units != rint(units))
        mlc_q_widen(q, r, v->scale);
    return r;
}

mlc_value *mlc_q_at_least(mlc_quant *q, mlc_value *v, double c) {
    return bounded(q, v, c, fmax(c, mlc_q_max_real(v)), c);
}

mlc_value *mlc_q_at_most(mlc_quant *q, mlc_value *v, double c) {
    return bounded(q, v, fmin(c, mlc_q_min_real(v)), c, c);
}

mlc_value *mlc_q_within(mlc_quant *q, mlc_value *v, double most) {
    mlc_value *r = mlc_q_clamp(q, v, -most, most);
    if (!r || !r->err)
        return r;
    const int64_t n = mlc_shape_elements(&r->shape);
    double *err = MLC_NEW_ARRAY(q->arena, n, double);
    for (int64_t i = 0; i < n; i++)
        err[i] = fmin(r->err[i], 2 * most + r->scale);
    r->err = err;
    return r;
}

mlc_value *mlc_q_signs(mlc_quant *q, const mlc_value *v) {
    const int64_t n = mlc_shape_elements(&v->shape);
    int64_t *sign = MLC_NEW_ARRAY(q->arena, n, int64_t);
    for (int64_t i = 0; i < n; i++) {
        const bool positive = v->lo[i] > 0 && mlc_q_real_lo(v, i) > 0;
        if (!positive && !(v->hi[i] < 0 && mlc_q_real_hi(v, i) < 0))
            return NULL;
        sign[i] = positive ? 1 : -1;
    }
    return mlc_q_constant(q, sign, &v->shape);
}

mlc_value *mlc_q_times_sign(mlc_quant *q, mlc_value *v, mlc_value *sign) {
    const int64_t n = mlc_shape_elements(&sign->shape);
    bool positive = true, negative = true;
    for (int64_t i = 0; i < n; i++) {
        positive = positive && sign->lo[i] > 0;
        negative = negative && sign->lo[i] < 0;
    }
    if (positive || !v)
        return v;
    return negative ? mlc_q_neg(q, v) : mlc_q_mul(q, v, sign);
}

/*
 * a / b for b >= least. Where the interval of b says less than that, mlc_q_div
 * takes one unit for the smallest divisor, which may be too much, and moves
 * smaller ones up to it: the error grows accordingly.
 */
static mlc_value *divide_positive(mlc_quant *q, mlc_value *a, mlc_value *b, double least, double most) {
    b = mlc_q_at_least(q, b, least);
    mlc_value *r = b ? mlc_q_quotient(q, a, b, most) : NULL;
    if (!r)
        return NULL;
    const int64_t n = mlc_shape_elements(&r->shape);
    double *err = MLC_NEW_ARRAY(q->arena, n, double);
    for (int64_t i = 0; i < n; i++) {
        const int64_t k = mlc_shape_broadcast_index(&b->shape, &r->shape, i);
        const double quotient = fmin(fmax(fabs((double)r->lo[i]), fabs((double)r->hi[i])) * r->scale, most);
        err[i] = mlc_q_err(r, i);
        if (mlc_q_real_lo(b, k) < b->scale)
            err[i] = (err[i] + quotient) * fmax(b->scale / least, 1);
    }
    r->err = err;
    return r;
}

/* A divisor that stays that far above what was proved keeps its distance in the model. */
#define DIVISOR_GAIN 1024.0
#define DIVISOR_MARGIN 4.0

mlc_value *mlc_q_divisor(mlc_quant *q, const mlc_value *v, mlc_value *b) {
    const double seen = q->seen_lo ? q->seen_lo[v->id] : NAN;
    if (!b || v->constant || !(seen > 0) || !isfinite(seen))
        return b;
    if (fmax(mlc_q_least(q, v), mlc_q_min_real(b)) * DIVISOR_GAIN > seen)
        return b;
    return mlc_q_saturate(q, b, seen / DIVISOR_MARGIN, fmax(seen, mlc_q_max_real(b)));
}

/* a / b, known to be in [-most, most], with all its bits. */
static mlc_value *divide(mlc_quant *q, mlc_value *a, mlc_value *b, double least, double most) {
    if (!a || !b)
        return NULL;
    mlc_value *sign = mlc_q_signs(q, b);
    if (sign) {
        a = mlc_q_times_sign(q, a, sign);
        return mlc_q_quotient(q, a, mlc_q_times_sign(q, b, sign), most);
    }
    if (least > 0)
        return divide_positive(q, a, b, least, most);
    mlc_error_at(q->diag, q->node, "the divisor lies in [%g, %g] and is not proved to keep away from 0",
                 mlc_q_min_real(b), mlc_q_max_real(b));
    mlc_note(q->diag, "bound the divisor in the model, e.g. with Clip or by adding a positive constant");
    return NULL;
}

mlc_value *mlc_q_divide(mlc_quant *q, mlc_value *a, mlc_value *b, double least) {
    return mlc_q_settle(q, divide(q, a, b, least, INFINITY));
}

mlc_value *mlc_q_divide_within(mlc_quant *q, mlc_value *a, mlc_value *b, double least, double most) {
    mlc_value *r = divide(q, a, b, least, most);
    return r ? mlc_q_settle(q, mlc_q_within(q, r, most)) : NULL;
}

mlc_value *mlc_q_divide_seen(mlc_quant *q, const mlc_value *of, mlc_value *a, mlc_value *b, double least) {
    return mlc_q_settle_seen(q, of, divide(q, a, b, least, INFINITY));
}

mlc_value *mlc_q_sqrt(mlc_quant *q, mlc_value *v) {
    v = mlc_q_at_least(q, v, 0);
    if (!v)
        return NULL;
    /* As many bits as fit, and an even exponent, so that the root's scale is a power of two if v's is. */
    int used = 0, exponent;
    frexp(mlc_q_max_abs(v) / v->scale, &used);
    frexp(v->scale, &exponent);
    int bits = used < 61 ? 61 - used : 0;
    if ((exponent - 1 - bits) % 2 != 0 && bits > 0)
        bits--;
    v = mlc_q_rescale(q, v, ldexp(v->scale, -bits));
    mlc_value *root = v ? mlc_q_node(q, "Sqrt", &v, 1, NULL, NULL, 0) : NULL;
    if (!root)
        return NULL;
    root->scale = sqrt(v->scale);
    const int64_t n = mlc_shape_elements(&root->shape);
    double *err = MLC_NEW_ARRAY(q->arena, n, double);
    for (int64_t i = 0; i < n; i++) {
        /* |sqrt(a) - sqrt(b)| = |a - b| / (sqrt(a) + sqrt(b)), and at most sqrt|a - b|. */
        const double e = mlc_q_err(v, i), least = sqrt((double)v->lo[i] * v->scale);
        err[i] = fmin(sqrt(e), least > 0 ? e / least : INFINITY) + root->scale;
    }
    root->err = err;
    return root;
}

const double *mlc_reals(mlc_arena *arena, const mlc_tensor *t) {
    const int64_t n = mlc_shape_elements(&t->shape);
    double *x = MLC_NEW_ARRAY(arena, n, double);
    for (int64_t i = 0; i < n; i++)
        x[i] = mlc_tensor_real(t, i);
    return x;
}
