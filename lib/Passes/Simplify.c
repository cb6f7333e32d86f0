/*
 * SHAPED: removes nodes without effect, and folds constant factors and offsets
 * into the dot product before or behind them. In real numbers nothing changes.
 */
#include "Passes.h"

#include "mlc/op.h"

#include <math.h>
#include <string.h>

static bool is(const mlc_node *node, const char *name) {
    return node && strcmp(node->op->domain, "") == 0 && strcmp(node->op->name, name) == 0;
}

/* `uses` was counted before any node was added: values made since are not in it. */
static bool used_once(const int *uses, int n, const mlc_value *v) {
    return v->id < n && uses[v->id] == 1;
}

static bool no_effect(const mlc_node *node) {
    if (is(node, "Identity") || is(node, "Dropout"))
        return true;
    return is(node, "Cast") && mlc_dtype_is_float(node->in[0]->dtype) &&
           mlc_dtype_is_float(node->out[0]->dtype);
}

static void remove_no_ops(mlc_graph *g) {
    MLC_FOR_NODES_SAFE (g, node, following) {
        if (!no_effect(node) || mlc_graph_is_output(g, node->out[0]) || (node->n_out > 1 && node->out[1]))
            continue;
        mlc_graph_replace(g, node->out[0], node->in[0]);
        mlc_graph_remove(g, node);
    }
}

/* x*factor + offset with one constant per feature (the last axis), or one for all. */
typedef struct affine {
    mlc_value *x;
    int64_t n;
    double *factor, *offset;
} affine;

static const mlc_tensor *constant_operand(const mlc_node *node, int *other) {
    for (int k = 1; k >= 0; k--)
        if (node->in[k]->constant && mlc_dtype_is_float(node->in[k]->dtype)) {
            *other = 1 - k;
            return node->in[k]->constant;
        }
    return NULL;
}

/* A tensor whose elements go with the features: [n], [1,n], ..., or one for all. */
static bool per_feature(const mlc_tensor *t, int64_t n) {
    int64_t elements = mlc_shape_elements(&t->shape);
    return elements == 1 || (elements == n && t->shape.rank >= 1 && t->shape.dim[t->shape.rank - 1] == n);
}

/* Scaler of ai.onnx.ml: (x - offset) * scale, each of them one number or n. */
static bool scaler_affine(mlc_graph *g, const mlc_node *node, int64_t n, affine *a) {
    const mlc_attr *offset = mlc_attr_find(node, "offset"), *scale = mlc_attr_find(node, "scale");
    const mlc_attr *both[2] = {offset, scale};
    for (int k = 0; k < 2; k++)
        if (both[k] && both[k]->n > 1 && both[k]->n != n)
            return false;
    *a = (affine){.x = node->in[0],
                  .n = n,
                  .factor = MLC_NEW_ARRAY(g->arena, n + 1, double),
                  .offset = MLC_NEW_ARRAY(g->arena, n + 1, double)};
    for (int64_t i = 0; i < n; i++) {
        a->factor[i] = scale && scale->n ? scale->floats[i % scale->n] : 1;
        a->offset[i] = offset && offset->n ? -offset->floats[i % offset->n] * a->factor[i] : 0;
        if (!isfinite(a->factor[i]) || !isfinite(a->offset[i]))
            return false;
    }
    return true;
}

/* Reads Add, Sub, Mul, Div by constants, and Scaler, as an affine map of a row of n features. */
static bool as_affine(mlc_graph *g, const mlc_node *node, int64_t n, affine *a) {
    int other;
    if (strcmp(node->op->domain, "ai.onnx.ml") == 0 && strcmp(node->op->name, "Scaler") == 0 &&
        mlc_dtype_is_float(node->in[0]->dtype))
        return scaler_affine(g, node, n, a);
    if (!(is(node, "Add") || is(node, "Sub") || is(node, "Mul") || is(node, "Div")))
        return false;
    const mlc_tensor *c = constant_operand(node, &other);
    if (!c || !per_feature(c, n))
        return false;
    mlc_value *x = node->in[other];
    if (!mlc_shape_equal(&x->shape, &node->out[0]->shape) || !mlc_dtype_is_float(x->dtype))
        return false;
    if (is(node, "Div") && other == 1)
        return false; /* c / x */
    *a = (affine){.x = x,
                  .n = n,
                  .factor = MLC_NEW_ARRAY(g->arena, n + 1, double),
                  .offset = MLC_NEW_ARRAY(g->arena, n + 1, double)};
    for (int64_t i = 0; i < n; i++) {
        double k = c->f[mlc_shape_elements(&c->shape) == 1 ? 0 : i];
        if (!isfinite(k) || (is(node, "Div") && k == 0))
            return false;
        a->factor[i] = is(node, "Mul") ? k : is(node, "Div") ? 1 / k : is(node, "Sub") && other == 1 ? -1 : 1;
        a->offset[i] = is(node, "Add") ? k : is(node, "Sub") ? (other == 1 ? k : -k) : 0;
        if (!isfinite(a->factor[i]))
            return false;
    }
    return true;
}

/* Weights of Gemm or MatMul with a constant right side, as [K,N] accessed by strides. */
typedef struct dense {
    int64_t K, N, row, column;
    const mlc_tensor *w;
    const mlc_tensor *bias; /* NULL: none */
    double alpha, beta;
} dense;

static bool as_dense(const mlc_node *node, dense *d) {
    bool gemm = is(node, "Gemm");
    if (!gemm && !is(node, "MatMul"))
        return false;
    const mlc_value *w = node->in[1];
    if (!w->constant || w->shape.rank != 2 || node->in[0]->shape.rank != 2)
        return false;
    bool transposed = gemm && mlc_attr_int(node, "transB", 0);
    if (gemm && mlc_attr_int(node, "transA", 0))
        return false;
    *d = (dense){.w = w->constant, .alpha = 1, .beta = 1};
    d->K = w->shape.dim[transposed ? 1 : 0];
    d->N = w->shape.dim[transposed ? 0 : 1];
    d->row = transposed ? 1 : d->N;
    d->column = transposed ? d->K : 1;
    if (gemm) {
        d->alpha = mlc_attr_float(node, "alpha", 1);
        d->beta = mlc_attr_float(node, "beta", 1);
        if (node->n_in > 2 && node->in[2]) {
            if (!node->in[2]->constant || !per_feature(node->in[2]->constant, d->N))
                return false;
            d->bias = node->in[2]->constant;
        }
    }
    return node->in[0]->shape.dim[1] == d->K;
}

static double bias_of(const dense *d, int64_t n) {
    if (!d->bias)
        return 0;
    return d->beta * d->bias->f[mlc_shape_elements(&d->bias->shape) == 1 ? 0 : n];
}

static double weight_of(const dense *d, int64_t k, int64_t n) {
    return d->alpha * d->w->f[k * d->row + n * d->column];
}

/* A Gemm with new weights [K,N] and bias in place of `node`. They are of type
 * DOUBLE, so that folding does not round to float. */
static void replace_dense(mlc_graph *g, mlc_node *node, mlc_value *x, mlc_value *out, const dense *d,
                          const double *w, const double *bias) {
    mlc_shape w_shape = {.rank = 2, .dim = {d->K, d->N}}, b_shape = {.rank = 1, .dim = {d->N}};
    mlc_tensor *wt = mlc_tensor_create(g->arena, MLC_DOUBLE, &w_shape);
    mlc_tensor *bt = mlc_tensor_create(g->arena, MLC_DOUBLE, &b_shape);
    memcpy(wt->f, w, (size_t)(d->K * d->N) * sizeof *w);
    memcpy(bt->f, bias, (size_t)d->N * sizeof *bias);
    mlc_value *in[3] = {x, mlc_graph_constant(g, "weight", wt), mlc_graph_constant(g, "bias", bt)};
    const char *name = node->name;
    mlc_node *before = node->next;
    mlc_graph_remove(g, node);
    mlc_graph_insert(g, before, mlc_op_find("", "Gemm", 13), name, in, 3, &out, 1);
}

/* (x*f + o) W + b  =  x (f W) + (o W + b) */
static bool fold_before(mlc_graph *g, mlc_node *node, const int *uses, int n_uses) {
    dense d;
    affine a;
    if (!as_dense(node, &d))
        return false;
    mlc_node *producer = node->in[0]->producer;
    if (!producer || !used_once(uses, n_uses, node->in[0]) || !as_affine(g, producer, d.K, &a))
        return false;
    double *w = MLC_NEW_ARRAY(g->arena, d.K * d.N + 1, double), *b = MLC_NEW_ARRAY(g->arena, d.N + 1, double);
    for (int64_t n = 0; n < d.N; n++) {
        b[n] = bias_of(&d, n);
        for (int64_t k = 0; k < d.K; k++) {
            w[k * d.N + n] = weight_of(&d, k, n) * a.factor[k];
            b[n] += weight_of(&d, k, n) * a.offset[k];
        }
    }
    replace_dense(g, node, a.x, node->out[0], &d, w, b);
    mlc_graph_remove(g, producer);
    return true;
}

static bool batch_norm_affine(mlc_graph *g, const mlc_node *node, int64_t n, affine *a) {
    if (!is(node, "BatchNormalization") || node->in[0]->shape.rank != 2 || node->in[0]->shape.dim[1] != n)
        return false;
    for (int k = 1; k < 5; k++)
        if (!node->in[k]->constant || mlc_shape_elements(&node->in[k]->shape) != n)
            return false;
    *a = (affine){.x = node->in[0],
                  .n = n,
                  .factor = MLC_NEW_ARRAY(g->arena, n + 1, double),
                  .offset = MLC_NEW_ARRAY(g->arena, n + 1, double)};
    double epsilon = mlc_attr_float(node, "epsilon", 1e-5);
    for (int64_t i = 0; i < n; i++) {
        double scale = node->in[1]->constant->f[i], bias = node->in[2]->constant->f[i];
        double mean = node->in[3]->constant->f[i], variance = node->in[4]->constant->f[i];
        a->factor[i] = scale / sqrt(variance + epsilon);
        a->offset[i] = bias - mean * a->factor[i];
        if (!isfinite(a->factor[i]) || !isfinite(a->offset[i]))
            return false;
    }
    return true;
}

/* (x W + b)*f + o  =  x (W f) + (b f + o) */
static bool fold_behind(mlc_graph *g, mlc_node *node, const int *uses, int n_uses) {
    dense d;
    affine a;
    if (!as_dense(node, &d))
        return false;
    mlc_value *y = node->out[0];
    if (mlc_graph_is_output(g, y) || !used_once(uses, n_uses, y))
        return false;
    mlc_node *reader = node->next;
    while (reader && reader->in[0] != y && (reader->n_in < 2 || reader->in[1] != y))
        reader = reader->next;
    if (!reader || (!as_affine(g, reader, d.N, &a) && !batch_norm_affine(g, reader, d.N, &a)) || a.x != y)
        return false;
    double *w = MLC_NEW_ARRAY(g->arena, d.K * d.N + 1, double), *b = MLC_NEW_ARRAY(g->arena, d.N + 1, double);
    for (int64_t n = 0; n < d.N; n++) {
        b[n] = bias_of(&d, n) * a.factor[n] + a.offset[n];
        for (int64_t k = 0; k < d.K; k++)
            w[k * d.N + n] = weight_of(&d, k, n) * a.factor[n];
    }
    mlc_value *out = reader->out[0];
    mlc_graph_remove(g, reader);
    replace_dense(g, node, node->in[0], out, &d, w, b);
    return true;
}

static const mlc_tensor *clip_bound(const mlc_node *node, int k) {
    return node->n_in > k && node->in[k] ? node->in[k]->constant : NULL;
}

/* Bounds of a Clip, from its inputs or (up to opset 10) its attributes; false when they are computed. */
static bool clip_bounds(const mlc_node *node, double *lo, double *hi) {
    for (int k = 1; k < node->n_in; k++)
        if (node->in[k] && !node->in[k]->constant)
            return false;
    const mlc_tensor *least = clip_bound(node, 1), *most = clip_bound(node, 2);
    *lo = least ? mlc_tensor_real(least, 0) : mlc_attr_float(node, "min", -INFINITY);
    *hi = most ? mlc_tensor_real(most, 0) : mlc_attr_float(node, "max", INFINITY);
    return isfinite(*lo) && isfinite(*hi) && *lo <= *hi;
}

static mlc_value *extreme(mlc_graph *g, mlc_node *before, const char *op, mlc_value *x, const double *bound,
                          int64_t n) {
    mlc_shape shape = {.rank = 1, .dim = {n}};
    mlc_tensor *t = mlc_tensor_create(g->arena, MLC_DOUBLE, &shape);
    memcpy(t->f, bound, (size_t)n * sizeof *bound);
    mlc_value *out = mlc_graph_value(g, NULL), *in[2] = {x, mlc_graph_constant(g, "bound", t)};
    out->dtype = x->dtype;
    out->shape = x->shape;
    out->shaped = true;
    mlc_graph_insert(g, before, mlc_op_find("", op, 13), NULL, in, 2, &out, 1);
    return out;
}

/* The first of the affine nodes that lead up to `v` one after the other, and their
 * product; NULL where there is none. */
static mlc_node *affine_chain(mlc_graph *g, const mlc_value *v, int64_t n, const int *uses, int n_uses,
                              affine *whole) {
    mlc_node *first = NULL;
    affine a;
    while (v->producer && used_once(uses, n_uses, v) && as_affine(g, v->producer, n, &a)) {
        for (int64_t i = 0; first && i < n; i++) { /* (x*f + o)*F + O */
            a.offset[i] = a.offset[i] * whole->factor[i] + whole->offset[i];
            a.factor[i] *= whole->factor[i];
        }
        *whole = a;
        first = v->producer;
        v = a.x;
    }
    return first;
}

/*
 * Clip(x*f + o, lo, hi)  =  Clip(x, (lo - o)/f, (hi - o)/f)*f + o: the range is
 * bounded as early as possible, often by what is known of the input, and factors
 * and offsets can go on into the dot product behind.
 */
static bool hoist_clip(mlc_graph *g, mlc_node *node, const int *uses, int n_uses) {
    affine a;
    double lo, hi;
    if (!is(node, "Clip") || !mlc_dtype_is_float(node->in[0]->dtype) || node->in[0]->shape.rank < 1 ||
        !clip_bounds(node, &lo, &hi))
        return false;
    mlc_value *x = node->in[0];
    int64_t n = x->shape.dim[x->shape.rank - 1];
    mlc_node *first = affine_chain(g, x, n, uses, n_uses, &a);
    if (!first)
        return false;
    double *least = MLC_NEW_ARRAY(g->arena, n + 1, double), *most = MLC_NEW_ARRAY(g->arena, n + 1, double);
    for (int64_t i = 0; i < n; i++) {
        if (a.factor[i] == 0 && lo <= a.offset[i] && a.offset[i] <= hi)
            continue; /* any bounds do: 0 */
        double p = (lo - a.offset[i]) / a.factor[i], q = (hi - a.offset[i]) / a.factor[i];
        if (!isfinite(p) || !isfinite(q))
            return false;
        least[i] = fmin(p, q);
        most[i] = fmax(p, q);
    }
    mlc_value *clipped = extreme(g, first, "Max", a.x, least, n);
    clipped = extreme(g, first, "Min", clipped, most, n);
    for (int k = 0; k < first->n_in; k++)
        if (first->in[k] == a.x)
            first->in[k] = clipped;
    mlc_node *last = x->producer;
    mlc_value *out = node->out[0];
    mlc_graph_remove(g, node);
    last->out[0] = out;
    out->producer = last;
    return true;
}

mlc_graph *mlc_pass_simplify(mlc_graph *g, mlc_pass_context *context) {
    (void)context;
    remove_no_ops(g);
    mlc_fuse(g);
    remove_no_ops(g);
    bool changed = true;
    while (changed) {
        changed = false;
        int n = g->n_values;
        const int *uses = mlc_graph_uses(g, g->arena);
        for (mlc_node *node = g->first; node && !changed; node = node->next)
            changed = hoist_clip(g, node, uses, n) || fold_before(g, node, uses, n) ||
                      fold_behind(g, node, uses, n);
    }
    mlc_graph_sweep(g);
    return g;
}
