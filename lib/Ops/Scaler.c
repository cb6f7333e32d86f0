/* Element-wise preprocessing of ai.onnx.ml: Scaler, Binarizer, Imputer. */
#include "Movement.h"
#include "Real.h"

#include <math.h>

static const double *floats(const mlc_node *node, const char *name, int64_t *n) {
    const mlc_attr *a = mlc_attr_find(node, name);
    *n = a ? a->n : 0;
    return a ? a->floats : NULL;
}

/* Attribute `name` has one number, or one for each feature: the last dimension. */
static bool fits_features(mlc_graph *g, const mlc_node *node, const char *name, int64_t n) {
    const mlc_shape *x = &node->in[0]->shape;
    if (n == 1 || (x->rank > 0 && n == x->dim[x->rank - 1]))
        return true;
    return mlc_error_at(g->diag, node, "%lld numbers in attribute %s do not fit '%s' of shape %s",
                        (long long)n, name, mlc_escape(node->in[0]->name), mlc_shape_str(g->arena, x));
}

/* --- Scaler: (x - offset) * scale --- */

static double number_of(const double *x, int64_t n, int64_t i, double missing) {
    return n ? x[i % n] : missing;
}

static bool infer_scaler(mlc_graph *g, mlc_node *node) {
    static const char *const names[] = {"offset", "scale"};
    for (int k = 0; k < 2; k++) {
        int64_t n;
        const double *x = floats(node, names[k], &n);
        if (n && !fits_features(g, node, names[k], n))
            return false;
        for (int64_t i = 0; i < n; i++)
            if (!isfinite(x[i]))
                return mlc_error_at(g->diag, node, "attribute %s holds %g", names[k], x[i]);
    }
    return mlc_infer_number(g, node, 0) && mlc_infer_set(g, node, 0, MLC_FLOAT, &node->in[0]->shape);
}

static void eval_scaler(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    int64_t n_offset, n_scale, n = mlc_shape_elements(&out[0]->shape);
    const double *offset = floats(node, "offset", &n_offset), *scale = floats(node, "scale", &n_scale);
    for (int64_t i = 0; i < n; i++)
        out[0]->f[i] =
            (mlc_tensor_real(in[0], i) - number_of(offset, n_offset, i, 0)) * number_of(scale, n_scale, i, 1);
}

static bool quantize_scaler(mlc_quant *q, const mlc_node *node) {
    int64_t n_offset, n_scale;
    const double *offset = floats(node, "offset", &n_offset), *scale = floats(node, "scale", &n_scale);
    mlc_value *x = mlc_q_value(q, node->in[0]);
    if (x && n_offset) {
        double *addend = MLC_NEW_ARRAY(q->arena, n_offset, double);
        for (int64_t i = 0; i < n_offset; i++)
            addend[i] = -offset[i];
        x = mlc_q_add_real(q, x, addend, &(mlc_shape){1, {n_offset}});
    }
    if (x && n_scale)
        x = mlc_q_mul_real(q, x, scale, &(mlc_shape){1, {n_scale}});
    return mlc_q_result(q, node, x);
}

/* --- Binarizer: 1 above the threshold, else 0 --- */

static bool infer_binarizer(mlc_graph *g, mlc_node *node) {
    return mlc_infer_number(g, node, 0) && mlc_infer_same(g, node);
}

static void eval_binarizer(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    const double threshold = mlc_attr_float(node, "threshold", 0);
    const int64_t n = mlc_shape_elements(&out[0]->shape);
    for (int64_t i = 0; i < n; i++) {
        const bool above = mlc_tensor_real(in[0], i) > threshold;
        if (mlc_dtype_is_float(out[0]->dtype))
            out[0]->f[i] = above;
        else
            out[0]->i[i] = above;
    }
}

static bool quantize_binarizer(mlc_quant *q, const mlc_node *node) {
    const double threshold = mlc_attr_float(node, "threshold", 0);
    const mlc_shape scalar = {0};
    mlc_value *x = mlc_q_value(q, node->in[0]), *limit = mlc_q_real_constant(q, &threshold, &scalar, 31);
    return mlc_q_result(q, node, x && limit ? mlc_q_less(q, limit, x) : NULL);
}

/* --- Imputer: replaces one number by another. NaN does not occur in integers. --- */

static bool is_whole(const mlc_node *node) {
    return mlc_dtype_is_integer(node->in[0]->dtype);
}

static int64_t imputed_count(const mlc_node *node) {
    int64_t n;
    if (is_whole(node))
        mlc_attr_ints(node, "imputed_value_int64s", &n);
    else
        floats(node, "imputed_value_floats", &n);
    return n;
}

static double imputed(const mlc_node *node, int64_t i) {
    int64_t n;
    const int64_t *whole = mlc_attr_ints(node, "imputed_value_int64s", &n);
    if (is_whole(node))
        return (double)whole[i % n];
    const double *x = floats(node, "imputed_value_floats", &n);
    return x[i % n];
}

static double replaced(const mlc_node *node) {
    return is_whole(node) ? (double)mlc_attr_int(node, "replaced_value_int64", 0)
                          : mlc_attr_float(node, "replaced_value_float", 0);
}

static bool infer_imputer(mlc_graph *g, mlc_node *node) {
    if (!mlc_infer_number(g, node, 0))
        return false;
    const char *name = is_whole(node) ? "imputed_value_int64s" : "imputed_value_floats";
    const int64_t n = imputed_count(node);
    if (n == 0)
        return mlc_error_at(g->diag, node, "attribute %s is missing", name);
    return fits_features(g, node, name, n) && mlc_infer_same(g, node);
}

static void eval_imputer(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    const double what = replaced(node);
    const int64_t n = mlc_shape_elements(&out[0]->shape);
    for (int64_t i = 0; i < n; i++) {
        const double x = mlc_tensor_real(in[0], i);
        const bool replace = isnan(what) ? isnan(x) : x == what;
        if (!replace)
            mlc_move(out[0], i, in[0], i);
        else if (mlc_dtype_is_float(out[0]->dtype))
            out[0]->f[i] = imputed(node, i);
        else
            out[0]->i[i] = (int64_t)imputed(node, i);
    }
}

static bool quantize_imputer(mlc_quant *q, const mlc_node *node) {
    const double what = replaced(node);
    mlc_value *x = mlc_q_value(q, node->in[0]);
    if (!x || isnan(what))
        return mlc_q_result(q, node, x);
    const int64_t n = imputed_count(node);
    const mlc_shape scalar = {0}, shape = {n > 1, {n}};
    double *values = MLC_NEW_ARRAY(q->arena, n, double);
    for (int64_t i = 0; i < n; i++)
        values[i] = imputed(node, i);
    mlc_value *key = mlc_q_real_constant(q, &what, &scalar, 31);
    mlc_value *other = mlc_q_real_constant(q, values, &shape, 31);
    mlc_value *same = key && other ? mlc_q_equal(q, x, key) : NULL;
    return mlc_q_result(q, node, same ? mlc_q_where(q, same, other, x) : NULL);
}

#define ROW(NAME, KIND, DOC, ...)                        \
    {.domain = "ai.onnx.ml",                             \
     .name = NAME,                                       \
     .since = 1,                                         \
     .doc = DOC,                                         \
     .min_in = 1,                                        \
     .max_in = 1,                                        \
     .min_out = 1,                                       \
     .max_out = 1,                                       \
     .attrs = (const mlc_attr_spec[]){__VA_ARGS__, {0}}, \
     .infer = infer_##KIND,                              \
     .eval = eval_##KIND,                                \
     .quantize = quantize_##KIND}

MLC_OPS(Scaler,
        ROW("Scaler", scaler, "(x - offset) * scale", {"offset", MLC_ATTR_FLOATS},
            {"scale", MLC_ATTR_FLOATS}),
        ROW("Binarizer", binarizer, "1 where x exceeds the threshold, else 0", {"threshold", MLC_ATTR_FLOAT}),
        ROW("Imputer", imputer, "Replaces one number by another; inputs are taken to hold no NaN",
            {"imputed_value_floats", MLC_ATTR_FLOATS}, {"imputed_value_int64s", MLC_ATTR_INTS},
            {"replaced_value_float", MLC_ATTR_FLOAT}, {"replaced_value_int64", MLC_ATTR_INT}));
