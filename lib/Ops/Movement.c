#include "Movement.h"

#include "Elementwise.h"

#include <math.h>

bool mlc_has_in(const mlc_node *node, int k) {
    return k < node->n_in && node->in[k];
}

bool mlc_has_out(const mlc_node *node, int k) {
    return k < node->n_out && node->out[k];
}

bool mlc_infer_integer(mlc_graph *g, mlc_node *node, int k) {
    if (!mlc_has_in(node, k))
        return mlc_error_at(g->diag, node, "input %d is missing", k);
    mlc_dtype t = node->in[k]->dtype;
    if (t != MLC_INT32 && t != MLC_INT64)
        return mlc_error_at(g->diag, node, "input %d, '%s', is %s and must be int32 or int64", k,
                            mlc_escape(node->in[k]->name), mlc_dtype_name(t));
    return true;
}

bool mlc_dtype_is_number(int64_t dtype) {
    return dtype > 0 && dtype <= MLC_INT4 &&
           (mlc_dtype_is_float((mlc_dtype)dtype) || mlc_dtype_is_integer((mlc_dtype)dtype));
}

bool mlc_infer_number(mlc_graph *g, mlc_node *node, int k) {
    if (!mlc_has_in(node, k))
        return mlc_error_at(g->diag, node, "input %d is missing", k);
    if (mlc_dtype_is_float(node->in[k]->dtype) || mlc_dtype_is_integer(node->in[k]->dtype))
        return true;
    return mlc_error_at(g->diag, node, "input %d, '%s', is %s and must be a number", k,
                        mlc_escape(node->in[k]->name), mlc_dtype_name(node->in[k]->dtype));
}

const mlc_tensor *mlc_infer_ints(mlc_graph *g, mlc_node *node, int k) {
    if (!mlc_infer_integer(g, node, k))
        return NULL;
    const mlc_tensor *t = mlc_infer_constant(g, node, k);
    if (t && t->shape.rank > 1) {
        mlc_error_at(g->diag, node, "input %d, '%s', has shape %s and must be a vector", k,
                     mlc_escape(node->in[k]->name), mlc_shape_str(g->arena, &t->shape));
        return NULL;
    }
    return t;
}

bool mlc_infer_int(mlc_graph *g, mlc_node *node, int k, int64_t *x) {
    if (!mlc_infer_integer(g, node, k))
        return false;
    const mlc_tensor *t = mlc_infer_constant(g, node, k);
    if (!t)
        return false;
    if (mlc_shape_elements(&t->shape) != 1)
        return mlc_error_at(g->diag, node, "input %d, '%s', has shape %s and must be one number", k,
                            mlc_escape(node->in[k]->name), mlc_shape_str(g->arena, &t->shape));
    *x = t->i[0];
    return true;
}

int64_t mlc_wrap_index(int64_t index, int64_t n) {
    if (index < 0)
        index = index < -n ? 0 : index + n;
    return index < n ? index : n - 1;
}

bool mlc_infer_indices(mlc_graph *g, mlc_node *node, int k, int64_t n) {
    if (!mlc_infer_integer(g, node, k))
        return false;
    const mlc_tensor *t = node->in[k]->constant;
    int64_t count = mlc_shape_elements(&node->in[k]->shape);
    if (n == 0 && count > 0)
        return mlc_error_at(g->diag, node, "input %d, '%s', indexes an empty axis", k,
                            mlc_escape(node->in[k]->name));
    for (int64_t i = 0; t && i < count; i++)
        if (t->i[i] < -n || t->i[i] >= n)
            return mlc_error_at(g->diag, node, "index %lld of input %d, '%s', is outside [%lld,%lld]",
                                (long long)t->i[i], k, mlc_escape(node->in[k]->name), (long long)-n,
                                (long long)n - 1);
    return true;
}

bool mlc_infer_same_dtype(mlc_graph *g, mlc_node *node, int a, int b) {
    const mlc_value *x = node->in[a], *y = node->in[b];
    if (x->dtype == y->dtype)
        return true;
    return mlc_error_at(
        g->diag, node, "inputs %d, '%s', and %d, '%s', are %s and %s; they must have one type", a,
        mlc_escape(x->name), b, mlc_escape(y->name), mlc_dtype_name(x->dtype), mlc_dtype_name(y->dtype));
}

bool mlc_quantize_movement(mlc_quant *q, const mlc_node *node, int control, int n_control, double fill) {
    const mlc_tensor **in = MLC_NEW_ARRAY(q->arena, node->n_in, const mlc_tensor *);
    mlc_tensor **out = MLC_NEW_ARRAY(q->arena, node->n_out, mlc_tensor *);
    mlc_value **source = MLC_NEW_ARRAY(q->arena, node->n_in, mlc_value *);
    int n_sources = 0;
    int64_t number = 0;

    for (int k = 0; k < node->n_in; k++) {
        const mlc_value *v = node->in[k];
        if (!v)
            continue;
        if (k >= control && k < control + n_control) {
            if (!v->constant)
                return mlc_error_at(q->diag, node, "input %d, '%s', must be a constant", k,
                                    mlc_escape(v->name));
            in[k] = v->constant;
            continue;
        }
        source[n_sources] = mlc_q_value(q, v);
        if (!source[n_sources++])
            return false;
        mlc_tensor *t = mlc_tensor_create(q->arena, MLC_INT64, &v->shape);
        int64_t n = mlc_shape_elements(&v->shape);
        for (int64_t i = 0; i < n; i++)
            t->i[i] = ++number;
        in[k] = t;
    }
    for (int k = 0; k < node->n_out; k++)
        if (node->out[k])
            out[k] = mlc_tensor_create(q->arena, MLC_INT64, &node->out[k]->shape);
    node->op->eval(node, in, out);

    for (int k = 0; k < node->n_out; k++) {
        if (!node->out[k])
            continue;
        const mlc_shape *shape = &node->out[k]->shape;
        int64_t n = mlc_shape_elements(shape);
        for (int64_t i = 0; i < n; i++)
            out[k]->i[i]--;
        mlc_value *v = mlc_q_gather(q, source, n_sources, out[k]->i, fill, shape);
        if (!v || !mlc_q_bind(q, node->out[k], v))
            return false;
    }
    return true;
}

bool mlc_quantize_move(mlc_quant *q, const mlc_node *node) {
    return mlc_quantize_movement(q, node, 1, node->n_in - 1, 0);
}

bool mlc_quantize_static(mlc_quant *q, const mlc_node *node) {
    const mlc_tensor **in = MLC_NEW_ARRAY(q->arena, node->n_in, const mlc_tensor *);
    mlc_tensor **out = MLC_NEW_ARRAY(q->arena, node->n_out, mlc_tensor *);
    for (int k = 0; k < node->n_in; k++) {
        const mlc_value *v = node->in[k];
        if (v)
            in[k] = v->constant ? v->constant : mlc_tensor_create(q->arena, v->dtype, &v->shape);
    }
    for (int k = 0; k < node->n_out; k++)
        if (node->out[k])
            out[k] = mlc_tensor_create(q->arena, node->out[k]->dtype, &node->out[k]->shape);
    node->op->eval(node, in, out);
    for (int k = 0; k < node->n_out; k++) {
        if (!node->out[k])
            continue;
        int64_t n = mlc_shape_elements(&out[k]->shape);
        int64_t *x = MLC_NEW_ARRAY(q->arena, n, int64_t);
        for (int64_t i = 0; i < n; i++)
            x[i] = mlc_real_to_int(MLC_INT64, mlc_tensor_real(out[k], i));
        mlc_value *v = mlc_q_constant(q, x, &out[k]->shape);
        if (!v || !mlc_q_bind(q, node->out[k], v))
            return false;
    }
    return true;
}

bool mlc_quantize_reshape(mlc_quant *q, const mlc_node *node) {
    mlc_value *v = mlc_q_value(q, node->in[0]);
    v = v ? mlc_q_reshape(q, v, &node->out[0]->shape) : NULL;
    return v && mlc_q_bind(q, node->out[0], v);
}

mlc_value *mlc_q_wrap_index(mlc_quant *q, mlc_value *index, int64_t n) {
    mlc_value *v = mlc_q_rescale(q, index, 1);
    if (!v)
        return NULL;
    bool negative = false, outside = false;
    int64_t elements = mlc_shape_elements(&v->shape);
    for (int64_t i = 0; i < elements; i++) {
        negative |= v->lo[i] < 0;
        outside |= v->lo[i] < -n || v->hi[i] >= n;
    }
    if (outside)
        v = mlc_q_clamp(q, v, (double)-n, (double)(n - 1));
    if (v && negative) {
        mlc_value *zero = mlc_q_scalar(q, 0), *size = mlc_q_scalar(q, n);
        mlc_value *below = zero ? mlc_q_less(q, v, zero) : NULL;
        mlc_value *moved = size ? mlc_q_add(q, v, size) : NULL;
        v = below && moved ? mlc_q_where(q, below, moved, v) : NULL;
        v = v ? mlc_q_clamp(q, v, 0, (double)(n - 1)) : NULL;
    }
    return v;
}

mlc_value *mlc_q_take(mlc_quant *q, const mlc_value *table, const int64_t *order, mlc_value *index,
                      int64_t row, const mlc_shape *shape) {
    mlc_value *t = mlc_q_value(q, table);
    if (!t || !index)
        return NULL;
    if (order) {
        int64_t n = mlc_shape_elements(&t->shape);
        int64_t *x = MLC_NEW_ARRAY(q->arena, n, int64_t);
        double *err = t->err ? MLC_NEW_ARRAY(q->arena, n, double) : NULL;
        for (int64_t i = 0; i < n; i++) {
            x[i] = t->constant->i[order[i]];
            if (err)
                err[i] = t->err[order[i]];
        }
        double scale = t->scale;
        t = mlc_q_constant(q, x, &(mlc_shape){.rank = 1, .dim = {n}});
        if (!t)
            return NULL;
        t->scale = scale;
        t->err = err;
    }
    mlc_attr attr = {.name = "row", .kind = MLC_ATTR_INT, .n = 1, .i = row};
    mlc_value *v = mlc_q_node(q, "Take", (mlc_value *[]){t, index}, 2, shape, &attr, 1);
    if (!v)
        return NULL;
    v->scale = t->scale;
    bool inexact = false;
    int64_t m = mlc_shape_elements(shape);
    for (int64_t i = 0; i < m; i++)
        inexact |= t->err || mlc_q_err(index, i / row) > 0;
    if (!inexact)
        return v;
    /* Any row may be meant: the largest error in each column. Where the index is
     * inexact, any element in reach may stand for any other. */
    v->err = MLC_NEW_ARRAY(q->arena, m, double);
    int64_t n = t->err && row <= m ? mlc_shape_elements(&t->shape) : 0;
    for (int64_t i = 0; i < n; i++)
        if (t->err[i] > v->err[i % row])
            v->err[i % row] = t->err[i];
    for (int64_t i = row; i < m; i++)
        v->err[i] = v->err[i % row];
    double lo = INFINITY, hi = -INFINITY;
    n = mlc_shape_elements(&t->shape);
    for (int64_t i = 0; i < n; i++) {
        lo = fmin(lo, (double)t->constant->i[i] * t->scale);
        hi = fmax(hi, (double)t->constant->i[i] * t->scale);
    }
    for (int64_t i = 0; i < m; i++)
        if (mlc_q_err(index, i / row) > 0)
            v->err[i] += hi - lo;
    return v;
}
