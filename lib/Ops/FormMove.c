#include "Form.h"

mlc_value *mlc_form_take(mlc_quant *q, mlc_value *x, const int64_t *index, const mlc_shape *shape) {
    return mlc_q_gather(q, &x, 1, index, 0, shape);
}

/*
 * Where each element of output k comes from, counted through all data inputs; -1:
 * a fill. The op's eval is run on the numbers of the elements, from 1 on.
 */
static int64_t *sources(mlc_quant *q, const mlc_node *node, int n_data, int k) {
    const mlc_tensor **in = MLC_NEW_ARRAY(q->arena, node->n_in, const mlc_tensor *);
    mlc_tensor **out = MLC_NEW_ARRAY(q->arena, node->n_out, mlc_tensor *);
    const mlc_shape scalar = {0};
    int64_t number = 0;
    for (int j = 0; j < node->n_in; j++) {
        const mlc_value *v = node->in[j];
        if (!v)
            continue;
        if (j >= n_data) { /* a float among them is the fill */
            in[j] =
                mlc_dtype_is_float(v->dtype) ? mlc_tensor_create(q->arena, MLC_INT64, &scalar) : v->constant;
            continue;
        }
        mlc_tensor *t = mlc_tensor_create(q->arena, MLC_INT64, &v->shape);
        for (int64_t i = 0; i < mlc_shape_elements(&v->shape); i++)
            t->i[i] = ++number;
        in[j] = t;
    }
    for (int j = 0; j < node->n_out; j++)
        if (node->out[j])
            out[j] = mlc_tensor_create(q->arena, MLC_INT64, &node->out[j]->shape);
    node->op->eval(node, in, out);
    for (int64_t i = 0; i < mlc_shape_elements(&out[k]->shape); i++)
        out[k]->i[i]--;
    return out[k]->i;
}

/* The fill is the real number 0: of an affine form, its zero point. */
static bool fills_zero(const mlc_node *node, int n_data) {
    for (int k = n_data; k < node->n_in; k++)
        if (node->in[k] && mlc_dtype_is_float(node->in[k]->dtype) &&
            mlc_tensor_real(node->in[k]->constant, 0) != 0)
            return false;
    return mlc_attr_float(node, "value", 0) == 0;
}

static mlc_value *take_or_fill(mlc_quant *q, mlc_value *x, int64_t *index, int64_t n, int64_t fill,
                               const mlc_shape *shape) {
    const int64_t outside = mlc_shape_elements(&x->shape);
    bool filled = false;
    for (int64_t i = 0; i < n; i++)
        if (index[i] < 0) {
            index[i] = outside;
            filled = true;
        }
    if (!filled)
        return mlc_form_take(q, x, index, shape);
    mlc_value *const in[3] = {x, mlc_q_scalar(q, fill), mlc_q_constant(q, index, shape)};
    return x->err ? NULL : mlc_q_node(q, "Gather", in, 3, shape, NULL, 0);
}

static bool move_output(mlc_quant *q, const mlc_node *node, const mlc_form *f, int k) {
    const mlc_shape *shape = &node->out[k]->shape;
    const int64_t n = mlc_shape_elements(shape);
    int64_t *index = sources(q, node, 1, k), zero = 0;
    double scale;
    bool filled = false;
    for (int64_t i = 0; i < n; i++)
        filled = filled || index[i] < 0;
    if (filled && (!mlc_form_affine(f, &scale, &zero) || !fills_zero(node, 1)))
        return false;
    mlc_form *r = MLC_NEW(q->arena, mlc_form);
    *r = *f;
    if (f->cls) {
        int *cls = MLC_NEW_ARRAY(q->arena, n + 1, int);
        for (int64_t i = 0; i < n; i++)
            cls[i] = index[i] < 0 ? 0 : f->cls[index[i]];
        r->cls = cls;
    }
    r->x = take_or_fill(q, f->x, index, n, zero, shape);
    r->y = f->y ? mlc_form_take(q, f->y, index, shape) : NULL;
    r->depth++;
    return r->x && (!f->y || r->y) && mlc_form_set(q, node->out[k], r);
}

bool mlc_form_movement(mlc_quant *q, const mlc_node *node) {
    const mlc_form *f = node->in[0] ? mlc_form_of(q, node->in[0]) : NULL;
    if (!f || f->depth >= MLC_FORM_DEPTH || !mlc_dtype_is_float(node->in[0]->dtype))
        return false;
    for (int k = 1; k < node->n_in; k++)
        if (node->in[k] && !node->in[k]->constant)
            return false;
    for (int k = 0; k < node->n_out; k++)
        if (node->out[k] && !move_output(q, node, f, k))
            return false;
    return true;
}

bool mlc_form_concat(mlc_quant *q, const mlc_node *node) {
    const mlc_value *y = node->out[0];
    const int64_t n = mlc_shape_elements(&y->shape);
    mlc_value **all = MLC_NEW_ARRAY(q->arena, node->n_in + 1, mlc_value *);
    int n_cls = 0, depth = 0;
    if (!mlc_dtype_is_float(y->dtype))
        return false;
    for (int k = 0; k < node->n_in; k++) {
        const mlc_form *f = node->in[k] ? mlc_form_of(q, node->in[k]) : NULL;
        if (!f || f->y || f->x->err || f->depth >= MLC_FORM_DEPTH)
            return false;
        all[k] = f->x;
        n_cls += f->n_cls;
        depth = f->depth > depth ? f->depth : depth;
        if (n_cls > MLC_FORM_CLASSES)
            return false;
    }
    const int64_t *index = sources(q, node, node->n_in, 0);
    int *cls = MLC_NEW_ARRAY(q->arena, n + 1, int), base = 0;
    const mlc_chain **chains = MLC_NEW_ARRAY(q->arena, n_cls, const mlc_chain *);
    int64_t first = 0;
    bool quantized = true;
    for (int k = 0; k < node->n_in; k++) {
        const mlc_form *f = mlc_form_of(q, node->in[k]);
        const int64_t count = mlc_shape_elements(&f->x->shape);
        for (int64_t i = 0; i < n; i++)
            if (index[i] >= first && index[i] < first + count)
                cls[i] = base + (f->cls ? f->cls[index[i] - first] : 0);
        for (int c = 0; c < f->n_cls; c++)
            chains[base + c] = f->chain[c];
        quantized = quantized && f->quantized;
        base += f->n_cls;
        first += count;
    }
    all[node->n_in] = mlc_q_constant(q, index, &y->shape);
    mlc_form *r = MLC_NEW(q->arena, mlc_form);
    *r = (mlc_form){.x = mlc_q_node(q, "Gather", all, node->n_in + 1, &y->shape, NULL, 0),
                    .n_cls = n_cls,
                    .cls = cls,
                    .chain = chains,
                    .quantized = quantized,
                    .depth = depth + 1};
    return r->x && mlc_form_set(q, y, r);
}
