/* Categories of ai.onnx.ml: OneHotEncoder, LabelEncoder, FeatureVectorizer. */
#include "Movement.h"
#include "Real.h"

#include <math.h>

/* --- OneHotEncoder: a new last dimension, 1 at the category that x equals --- */

static bool infer_one_hot(mlc_graph *g, mlc_node *node) {
    const mlc_attr *cats = mlc_attr_find(node, "cats_int64s");
    mlc_shape shape = node->in[0]->shape;
    if (!mlc_infer_number(g, node, 0))
        return false;
    if (!cats || cats->n == 0)
        return mlc_error_at(g->diag, node, "attribute cats_int64s is missing; categories must be numbers");
    if (shape.rank == MLC_MAX_RANK)
        return mlc_error_at(g->diag, node, "input '%s' has too many dimensions",
                            mlc_escape(node->in[0]->name));
    shape.dim[shape.rank++] = cats->n;
    return mlc_infer_set(g, node, 0, MLC_FLOAT, &shape);
}

static void eval_one_hot(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    const mlc_attr *cats = mlc_attr_find(node, "cats_int64s");
    const int64_t n = mlc_shape_elements(&out[0]->shape);
    for (int64_t i = 0; i < n; i++)
        out[0]->f[i] = trunc(mlc_tensor_real(in[0], i / cats->n)) == (double)cats->ints[i % cats->n];
}

static bool quantize_one_hot(mlc_quant *q, const mlc_node *node) {
    const mlc_attr *cats = mlc_attr_find(node, "cats_int64s");
    if (mlc_attr_int(node, "zeros", 1) == 0)
        return mlc_error_at(q->diag, node, "unknown categories are errors here; set attribute zeros to 1");
    if (mlc_dtype_is_float(node->in[0]->dtype))
        return mlc_error_at(q->diag, node, "input '%s' is of type %s; categories must be integers",
                            mlc_escape(node->in[0]->name), mlc_dtype_name(node->in[0]->dtype));
    mlc_shape shape = node->in[0]->shape;
    shape.dim[shape.rank++] = 1;
    mlc_value *x = mlc_q_value(q, node->in[0]),
              *all = mlc_q_constant(q, cats->ints, &(mlc_shape){1, {cats->n}});
    x = x ? mlc_q_reshape(q, x, &shape) : NULL;
    return mlc_q_result(q, node, x ? mlc_q_equal(q, x, all) : NULL);
}

/* --- LabelEncoder: a map between numbers --- */

typedef struct map {
    int64_t n;
    double (*key)(const mlc_attr *a, int64_t i), (*value)(const mlc_attr *a, int64_t i);
    const mlc_attr *keys, *values;
    double missing;
    mlc_dtype dtype;
} map;

static double from_int(const mlc_attr *a, int64_t i) {
    return (double)a->ints[i];
}

static double from_float(const mlc_attr *a, int64_t i) {
    return a->floats[i];
}

static double from_tensor(const mlc_attr *a, int64_t i) {
    return mlc_tensor_real(a->t, i);
}

static int64_t count_of(const mlc_attr *a) {
    return !a ? 0 : a->kind == MLC_ATTR_TENSOR ? mlc_shape_elements(&a->t->shape) : a->n;
}

static bool read_map(const mlc_node *node, map *m) {
    static const struct source {
        const char *keys, *values, *missing;
        double (*at)(const mlc_attr *a, int64_t i);
        double value;
        mlc_dtype dtype;
    } sources[] = {{"keys_int64s", "values_int64s", "default_int64", from_int, -1, MLC_INT64},
                   {"keys_floats", "values_floats", "default_float", from_float, 0, MLC_FLOAT},
                   {"keys_tensor", "values_tensor", "default_tensor", from_tensor, 0, MLC_UNDEFINED}};
    *m = (map){0};
    for (int k = 0; k < 3; k++) {
        const struct source *s = &sources[k];
        const mlc_attr *keys = mlc_attr_find(node, s->keys), *values = mlc_attr_find(node, s->values);
        const mlc_attr *missing = mlc_attr_find(node, s->missing);
        if (count_of(keys) > 0) {
            m->keys = keys;
            m->key = s->at;
        }
        if (count_of(values) == 0)
            continue;
        m->values = values;
        m->value = s->at;
        m->dtype = k == 2 ? values->t->dtype : s->dtype;
        m->missing = k == 0                              ? (double)mlc_attr_int(node, s->missing, -1)
                     : k == 1                            ? mlc_attr_float(node, s->missing, 0)
                     : missing && count_of(missing) == 1 ? from_tensor(missing, 0)
                     : mlc_dtype_is_float(m->dtype)      ? 0
                                                         : -1;
    }
    m->n = count_of(m->keys);
    return m->n > 0 && m->n == count_of(m->values) && m->dtype != MLC_STRING &&
           (m->key != from_tensor || m->keys->t->dtype != MLC_STRING);
}

static bool infer_label(mlc_graph *g, mlc_node *node) {
    map m;
    if (!mlc_infer_number(g, node, 0))
        return false;
    if (!read_map(node, &m))
        return mlc_error_at(g->diag, node, "keys and values must be numbers, as many of one as of the other");
    return mlc_infer_set(g, node, 0, m.dtype, &node->in[0]->shape);
}

static double look_up(const map *m, double x) {
    for (int64_t i = 0; i < m->n; i++) {
        const double key = m->key(m->keys, i);
        if (key == x || (isnan(key) && isnan(x)))
            return m->value(m->values, i);
    }
    return m->missing;
}

static void eval_label(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    map m;
    read_map(node, &m);
    const int64_t n = mlc_shape_elements(&out[0]->shape);
    for (int64_t i = 0; i < n; i++) {
        const double y = look_up(&m, mlc_tensor_real(in[0], i));
        if (mlc_dtype_is_float(out[0]->dtype))
            out[0]->f[i] = y;
        else
            out[0]->i[i] = (int64_t)y;
    }
}

/* A table from one below the least key to one above the largest, where the default stands. */
static bool quantize_label(mlc_quant *q, const mlc_node *node) {
    enum { MOST_SPAN = 1 << 16 };
    map m;
    read_map(node, &m);
    double lo = INFINITY, hi = -INFINITY;
    bool whole = true;
    for (int64_t i = 0; i < m.n; i++) {
        const double key = m.key(m.keys, i);
        whole = whole && key == rint(key) && fabs(key) < 0x1p52;
        lo = fmin(lo, key);
        hi = fmax(hi, key);
    }
    if (!whole || hi - lo > MOST_SPAN || mlc_dtype_is_float(node->in[0]->dtype))
        return mlc_error_at(q->diag, node,
                            "keys must be whole numbers within a range of %d, and '%s' integers", MOST_SPAN,
                            mlc_escape(node->in[0]->name));
    const int64_t n = (int64_t)(hi - lo) + 3;
    const mlc_shape shape = {1, {n}};
    double *values = MLC_NEW_ARRAY(q->arena, n, double);
    for (int64_t i = 0; i < n; i++)
        values[i] = look_up(&m, lo - 1 + (double)i);
    mlc_value *x = mlc_q_value(q, node->in[0]), *table = mlc_q_real_constant(q, values, &shape, 31);
    x = x && table ? mlc_q_clamp(q, x, lo - 1, hi + 1) : NULL;
    mlc_value *index = x ? mlc_q_sub(q, x, mlc_q_scalar(q, (int64_t)lo - 1)) : NULL;
    if (!index)
        return false;
    mlc_attr row = {.name = "row", .kind = MLC_ATTR_INT, .i = 1};
    mlc_value *y = mlc_q_node(q, "Take", (mlc_value *const[]){table, index}, 2, &index->shape, &row, 1);
    if (!y)
        return false;
    y->scale = table->scale;
    double most = 0;
    for (int64_t i = 0; i < n; i++)
        most = fmax(most, mlc_q_err(table, i));
    double *err = MLC_NEW_ARRAY(q->arena, mlc_shape_elements(&y->shape), double);
    for (int64_t i = 0; i < mlc_shape_elements(&y->shape); i++)
        err[i] = mlc_q_err(index, i) > 0 ? (double)(y->hi[i] - y->lo[i]) * y->scale + most : most;
    y->err = err;
    return mlc_q_result(q, node, y);
}

/* --- FeatureVectorizer: rows side by side, as floats --- */

static bool infer_vectorizer(mlc_graph *g, mlc_node *node) {
    mlc_shape shape = {2, {1, 0}};
    for (int k = 0; k < node->n_in; k++) {
        const mlc_shape *s = &node->in[k]->shape;
        if (!mlc_infer_number(g, node, k))
            return false;
        if (s->rank < 1 || s->rank > 2 || (k > 0 && s->rank == 2 && s->dim[0] != shape.dim[0]))
            return mlc_error_at(g->diag, node, "input '%s' of shape %s does not fit beside the others",
                                mlc_escape(node->in[k]->name), mlc_shape_str(g->arena, s));
        if (s->rank == 2)
            shape.dim[0] = s->dim[0];
        shape.dim[1] += s->dim[s->rank - 1];
    }
    return mlc_infer_set(g, node, 0, MLC_FLOAT, &shape);
}

/* Flat index into input *k of element i of the result. */
static int64_t source(const mlc_node *node, int64_t i, int *k) {
    const mlc_shape *out = &node->out[0]->shape;
    int64_t row = i / out->dim[1], column = i % out->dim[1];
    for (*k = 0;; ++*k) {
        const mlc_shape *s = &node->in[*k]->shape;
        const int64_t n = s->dim[s->rank - 1];
        if (column < n)
            return row * n + column;
        column -= n;
    }
}

static void eval_vectorizer(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    const int64_t n = mlc_shape_elements(&out[0]->shape);
    for (int64_t i = 0; i < n; i++) {
        int k;
        const int64_t at = source(node, i, &k);
        out[0]->f[i] = mlc_tensor_real(in[k], at);
    }
}

static bool quantize_vectorizer(mlc_quant *q, const mlc_node *node) {
    const int64_t n = mlc_shape_elements(&node->out[0]->shape);
    mlc_value **in = MLC_NEW_ARRAY(q->arena, node->n_in, mlc_value *);
    int64_t *first = MLC_NEW_ARRAY(q->arena, node->n_in + 1, int64_t);
    int64_t *index = MLC_NEW_ARRAY(q->arena, n, int64_t);
    for (int k = 0; k < node->n_in; k++) {
        if (!(in[k] = mlc_q_value(q, node->in[k])))
            return false;
        first[k + 1] = first[k] + mlc_shape_elements(&in[k]->shape);
    }
    for (int64_t i = 0; i < n; i++) {
        int k;
        const int64_t at = source(node, i, &k);
        index[i] = first[k] + at;
    }
    return mlc_q_result(q, node, mlc_q_gather(q, in, node->n_in, index, 0, &node->out[0]->shape));
}

#define ROW(NAME, KIND, SINCE, UNTIL, INPUTS, LIMITS, DOC, ...) \
    {.domain = "ai.onnx.ml",                                    \
     .name = NAME,                                              \
     .since = SINCE,                                            \
     .until = UNTIL,                                            \
     .doc = DOC,                                                \
     .limits = LIMITS,                                          \
     .min_in = 1,                                               \
     .max_in = INPUTS,                                          \
     .min_out = 1,                                              \
     .max_out = 1,                                              \
     .attrs = (const mlc_attr_spec[]){__VA_ARGS__, {0}},        \
     .infer = infer_##KIND,                                     \
     .eval = eval_##KIND,                                       \
     .quantize = quantize_##KIND}

MLC_OPS(Encode,
        ROW("OneHotEncoder", one_hot, 1, 0, 1, "integer categories; unknown ones give zeros",
            "1 at the category that x equals", {"cats_int64s", MLC_ATTR_INTS},
            {"cats_strings", MLC_ATTR_STRINGS}, {"zeros", MLC_ATTR_INT}),
        ROW("LabelEncoder", label, 2, 0, 1, "integer keys close together; numbers as values",
            "Replaces numbers by others", {"keys_int64s", MLC_ATTR_INTS}, {"keys_floats", MLC_ATTR_FLOATS},
            {"keys_strings", MLC_ATTR_STRINGS}, {"keys_tensor", MLC_ATTR_TENSOR},
            {"values_int64s", MLC_ATTR_INTS}, {"values_floats", MLC_ATTR_FLOATS},
            {"values_strings", MLC_ATTR_STRINGS}, {"values_tensor", MLC_ATTR_TENSOR},
            {"default_int64", MLC_ATTR_INT}, {"default_float", MLC_ATTR_FLOAT},
            {"default_string", MLC_ATTR_STRING}, {"default_tensor", MLC_ATTR_TENSOR}),
        ROW("FeatureVectorizer", vectorizer, 1, 0, -1, NULL, "Rows of several inputs side by side",
            {"inputdimensions", MLC_ATTR_INTS}));
