/* Functions of integers (form.h): evaluation and grouping. */
#include "mlc/form.h"

#include <math.h>
#include <string.h>

static int64_t to_grid(double x, int64_t zero, mlc_dtype t) {
    int64_t lo, hi;
    mlc_dtype_range(t, &lo, &hi);
    double y = rint(x) + (double)zero;
    if (isnan(y))
        return zero;
    return y <= (double)lo ? lo : y >= (double)hi ? hi : (int64_t)y;
}

static void eval_linear(const mlc_chain *c, const int64_t *x, int64_t n, mlc_tensor *out) {
    if (!mlc_dtype_is_float(c->dtype)) { /* the integers themselves */
        memcpy(out->i, x, (size_t)n * sizeof *x);
        return;
    }
    for (int64_t i = 0; i < n; i++)
        out->f[i] = mlc_dtype_round(c->dtype, fma((double)(x[i] - c->zero), c->scale, c->offset));
}

static void eval_grid(const mlc_chain *c, const mlc_tensor *prev, int64_t n, mlc_tensor *out) {
    for (int64_t i = 0; i < n; i++) {
        double x = mlc_dtype_round(MLC_FLOAT, mlc_tensor_real(prev, i));
        out->i[i] = to_grid(mlc_dtype_round(MLC_FLOAT, x * c->scale), c->zero, c->dtype);
    }
}

static void eval_quantize(const mlc_chain *c, const mlc_tensor *prev, int64_t n, mlc_tensor *out) {
    for (int64_t i = 0; i < n; i++) {
        double x = mlc_dtype_round(c->precision, mlc_tensor_real(prev, i));
        out->i[i] = to_grid(mlc_dtype_round(c->precision, x / c->scale), c->zero, c->dtype);
    }
}

static void eval_node(mlc_arena *arena, const mlc_chain *c, const mlc_tensor *prev, const mlc_tensor *other,
                      int64_t n, mlc_tensor *out) {
    const mlc_tensor **in = MLC_NEW_ARRAY(arena, c->node->n_in + 1, const mlc_tensor *);
    for (int k = 0; k < c->node->n_in; k++)
        in[k] = c->constants[k];
    in[c->at] = prev;
    if (other)
        in[c->other_at] = other;
    mlc_tensor **outs = MLC_NEW_ARRAY(arena, c->node->n_out + 1, mlc_tensor *);
    outs[0] = out;
    c->node->op->eval(c->node, in, outs);
    for (int64_t i = 0; i < n && mlc_dtype_is_float(c->dtype) && c->dtype != MLC_DOUBLE; i++)
        out->f[i] = mlc_dtype_round(c->dtype, out->f[i]);
}

/* Depth is bounded by MLC_FORM_DEPTH. */
mlc_tensor *mlc_chain_eval(mlc_arena *arena, const mlc_chain *c, const int64_t *x, const int64_t *y,
                           int64_t n) {
    mlc_shape shape = {2, {n, 1}};
    mlc_tensor *out = mlc_tensor_create(arena, c->dtype, &shape);
    if (c->kind == MLC_CHAIN_LINEAR) {
        eval_linear(c, x, n, out);
        return out;
    }
    const mlc_tensor *prev = mlc_chain_eval(arena, c->prev, x, y, n);
    const mlc_tensor *other = c->other ? mlc_chain_eval(arena, c->other, y ? y : x, NULL, n) : NULL;
    if (c->kind == MLC_CHAIN_GRID)
        eval_grid(c, prev, n, out);
    else if (c->kind == MLC_CHAIN_QUANTIZE)
        eval_quantize(c, prev, n, out);
    else
        eval_node(arena, c, prev, other, n, out);
    return out;
}

const mlc_chain *mlc_chain_linear(mlc_quant *q, double scale, int64_t zero, double offset, mlc_dtype dtype) {
    mlc_chain *c = MLC_NEW(q->arena, mlc_chain);
    *c = (mlc_chain){.kind = MLC_CHAIN_LINEAR,
                     .depth = 1,
                     .direction = scale < 0 ? -1 : 1,
                     .dtype = dtype,
                     .scale = scale,
                     .zero = zero,
                     .offset = offset};
    return c;
}

const mlc_chain *mlc_chain_grid(mlc_quant *q, const mlc_chain *prev, double scale, int64_t zero,
                                mlc_dtype dtype) {
    mlc_chain *c = MLC_NEW(q->arena, mlc_chain);
    *c = (mlc_chain){.kind = MLC_CHAIN_GRID,
                     .depth = prev->depth + 1,
                     .direction = prev->direction,
                     .dtype = dtype,
                     .scale = scale,
                     .zero = zero,
                     .prev = prev};
    return c;
}

const mlc_chain *mlc_chain_quantize(mlc_quant *q, const mlc_chain *prev, double scale, int64_t zero,
                                    mlc_dtype dtype, mlc_dtype precision) {
    mlc_chain *c = MLC_NEW(q->arena, mlc_chain);
    *c = (mlc_chain){.kind = MLC_CHAIN_QUANTIZE,
                     .depth = prev->depth + 1,
                     .direction = prev->direction,
                     .dtype = dtype,
                     .precision = precision,
                     .scale = mlc_dtype_round(precision, scale),
                     .zero = zero,
                     .prev = prev};
    return c;
}

mlc_form *mlc_form_simple(mlc_quant *q, mlc_value *x, const mlc_chain *chain) {
    mlc_form *f = MLC_NEW(q->arena, mlc_form);
    const mlc_chain **all = MLC_NEW_ARRAY(q->arena, 1, const mlc_chain *);
    all[0] = chain;
    *f = (mlc_form){.x = x, .n_cls = 1, .chain = all};
    return f;
}

static uint64_t hash(const int64_t *key, int width) {
    uint64_t h = 0x9E3779B97F4A7C15;
    for (int i = 0; i < width; i++) {
        h = (h ^ (uint64_t)key[i]) * 0xBF58476D1CE4E5B9;
        h ^= h >> 29;
    }
    return h;
}

int *mlc_classes(mlc_arena *arena, const int64_t *keys, int64_t n, int width, int *n_cls, int64_t **first) {
    enum { SLOTS = 4 * MLC_FORM_CLASSES };
    int *cls = MLC_NEW_ARRAY(arena, n + 1, int), *slot = MLC_NEW_ARRAY(arena, SLOTS, int), count = 0;
    int64_t *seen = MLC_NEW_ARRAY(arena, MLC_FORM_CLASSES, int64_t);
    for (int64_t i = 0; i < n; i++) {
        const int64_t *key = keys + i * width;
        uint64_t at = hash(key, width) % SLOTS; /* slots hold class + 1 */
        while (slot[at] && memcmp(keys + seen[slot[at] - 1] * width, key, (size_t)width * sizeof *key) != 0)
            at = (at + 1) % SLOTS;
        if (!slot[at]) {
            if (count == MLC_FORM_CLASSES)
                return NULL;
            seen[count++] = i;
            slot[at] = count;
        }
        cls[i] = slot[at] - 1;
    }
    *n_cls = count;
    *first = seen;
    return cls;
}
