/* LinearClassifier and LinearRegressor of ai.onnx.ml: scores = x * coefficients^T + intercepts. */
#include "Classes.h"

#include <math.h>

static bool is_classifier(const mlc_node *node) {
    return !strcmp(node->op->name, "LinearClassifier");
}

static mlc_classes classes_of(const mlc_node *node) {
    return mlc_node_classes(node, "classlabels_ints", "classlabels_strings");
}

/* A vector counts as one row. */
static void rows_of(const mlc_shape *x, int64_t *rows, int64_t *n) {
    *n = x->dim[x->rank - 1];
    *rows = x->rank == 2 ? x->dim[0] : 1;
}

static const double *floats(const mlc_node *node, const char *name, int64_t *n) {
    const mlc_attr *a = mlc_attr_find(node, name);
    *n = a ? a->n : 0;
    return a ? a->floats : NULL;
}

/* Scores: as many as intercepts, or as the coefficients give. Coefficients beyond
 * those of the scores do not count, as in onnxruntime. */
static int64_t targets_of(const mlc_node *node) {
    int64_t rows, features, n, intercepts;
    rows_of(&node->in[0]->shape, &rows, &features);
    floats(node, "coefficients", &n);
    floats(node, "intercepts", &intercepts);
    return intercepts ? intercepts : features > 0 ? n / features : 0;
}

/* A single score of two classes becomes the scores of both. */
static bool is_binary(const mlc_node *node) {
    return is_classifier(node) && targets_of(node) == 1 && classes_of(node).n == 2;
}

static bool infer_scores(mlc_graph *g, mlc_node *node, int64_t *rows) {
    const mlc_value *x = node->in[0];
    int64_t features, n, intercepts;
    if (!mlc_dtype_is_float(x->dtype) && !mlc_dtype_is_integer(x->dtype))
        return mlc_error_at(g->diag, node, "input '%s' is of type %s, a number is needed",
                            mlc_escape(x->name), mlc_dtype_name(x->dtype));
    if (x->shape.rank < 1 || x->shape.rank > 2)
        return mlc_error_at(g->diag, node, "input '%s' has shape %s; rows of features are needed",
                            mlc_escape(x->name), mlc_shape_str(g->arena, &x->shape));
    rows_of(&x->shape, rows, &features);
    const double *w = floats(node, "coefficients", &n);
    const double *b = floats(node, "intercepts", &intercepts);
    if (features == 0 || targets_of(node) == 0 || n / features < targets_of(node))
        return mlc_error_at(g->diag, node,
                            "%lld coefficients and %lld intercepts do not fit the %lld features of '%s'",
                            (long long)n, (long long)intercepts, (long long)features, mlc_escape(x->name));
    for (int64_t i = 0; i < n + intercepts; i++)
        if (!isfinite(i < n ? w[i] : b[i - n]))
            return mlc_error_at(g->diag, node, "a coefficient or intercept is not finite");
    return mlc_infer_transform(g, node);
}

static bool infer_classifier(mlc_graph *g, mlc_node *node) {
    int64_t rows;
    if (!infer_scores(g, node, &rows) ||
        !mlc_infer_classes(g, node, "classlabels_ints", "classlabels_strings"))
        return false;
    const mlc_classes c = classes_of(node);
    const int64_t n = targets_of(node);
    if (n > 1 && c.n < n)
        return mlc_error_at(g->diag, node, "%lld class labels do not fit %lld scores", (long long)c.n,
                            (long long)n);
    if (n == 1 && c.n != 2)
        return mlc_error_at(g->diag, node, "a single score needs two class labels, not %lld", (long long)c.n);
    const mlc_shape labels = {1, {rows}}, scores = {2, {rows, is_binary(node) ? 2 : n}};
    return mlc_infer_set(g, node, 0, mlc_classes_dtype(&c), &labels) &&
           mlc_infer_set(g, node, 1, MLC_FLOAT, &scores);
}

static bool infer_regressor(mlc_graph *g, mlc_node *node) {
    int64_t rows;
    if (!infer_scores(g, node, &rows))
        return false;
    const int64_t n = mlc_attr_int(node, "targets", 1);
    if (n != targets_of(node))
        return mlc_error_at(g->diag, node, "the coefficients are for %lld targets, not %lld",
                            (long long)targets_of(node), (long long)n);
    const mlc_shape scores = {2, {rows, n}};
    return mlc_infer_set(g, node, 0, MLC_FLOAT, &scores);
}

static double score_of(const mlc_node *node, const mlc_tensor *x, int64_t row, int64_t target) {
    int64_t rows, features, n;
    rows_of(&x->shape, &rows, &features);
    const double *w = floats(node, "coefficients", &n) + target * features;
    const double *b = floats(node, "intercepts", &n);
    double sum = n ? b[target] : 0;
    for (int64_t k = 0; k < features; k++)
        sum += w[k] * mlc_tensor_real(x, row * features + k);
    return sum;
}

/* The scores of both classes from the one of the second. */
static void both_classes(mlc_transform t, double score, double *scores) {
    scores[1] = score;
    mlc_eval_transform(t == MLC_TRANSFORM_LOGISTIC ? t : MLC_TRANSFORM_NONE, &scores[1], 1);
    scores[0] = 1 - scores[1];
}

static void eval_classifier(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    const mlc_classes c = classes_of(node);
    const mlc_transform t = mlc_node_transform(node);
    int64_t rows, features, n = targets_of(node);
    rows_of(&in[0]->shape, &rows, &features);
    for (int64_t r = 0; r < rows; r++) {
        double best = score_of(node, in[0], r, 0);
        int64_t k = n == 1 && best > 0;
        for (int64_t target = 1; target < n; target++) {
            const double score = score_of(node, in[0], r, target);
            k = score > best ? target : k;
            best = fmax(best, score);
        }
        if (out[0])
            mlc_eval_class(&c, k, out[0], r);
        if (node->n_out < 2 || !out[1])
            continue;
        double *scores = out[1]->f + r * (n == 1 ? 2 : n);
        for (int64_t target = 0; target < n; target++)
            scores[target] = score_of(node, in[0], r, target);
        if (n == 1)
            both_classes(t, scores[0], scores);
        else
            mlc_eval_transform(t, scores, n);
    }
}

static void eval_regressor(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    const int64_t n = targets_of(node), total = mlc_shape_elements(&out[0]->shape);
    for (int64_t i = 0; i < total; i++)
        out[0]->f[i] = score_of(node, in[0], i / n, i % n);
    for (int64_t i = 0; i < total; i += n)
        mlc_eval_transform(mlc_node_transform(node), out[0]->f + i, n);
}

static mlc_value *scores_of(mlc_quant *q, const mlc_node *node) {
    int64_t rows, features, n;
    rows_of(&node->in[0]->shape, &rows, &features);
    const double *w = floats(node, "coefficients", &n), *b = floats(node, "intercepts", &n);
    const int64_t targets = targets_of(node);
    const mlc_shape shape = {2, {rows, targets}};
    mlc_value *x = mlc_q_value(q, node->in[0]);
    return x ? mlc_q_linear(q, x, rows, features, targets, w, n ? b : NULL, &shape) : NULL;
}

/* Numbers of the classes with the highest scores. */
static mlc_value *best_of(mlc_quant *q, mlc_value *scores) {
    const int64_t rows = scores->shape.dim[0], n = scores->shape.dim[1];
    const mlc_shape shape = {1, {rows}};
    if (n == 1) {
        mlc_value *positive = mlc_q_less(q, mlc_q_scalar(q, 0), scores);
        return positive ? mlc_q_reshape(q, positive, &shape) : NULL;
    }
    int64_t *index = MLC_NEW_ARRAY(q->arena, rows * n, int64_t);
    for (int64_t i = 0; i < rows * n; i++)
        index[i] = i;
    return mlc_q_reduce(q, MLC_REDUCE_ARGMAX, scores, index, n, &shape);
}

/* Columns 1 - y, y. */
static mlc_value *with_complement(mlc_quant *q, mlc_value *y) {
    const int64_t rows = y->shape.dim[0];
    const mlc_shape shape = {2, {rows, 2}};
    mlc_value *in[2] = {mlc_q_sub(q, mlc_q_scalar(q, 1), y), y};
    int64_t *index = MLC_NEW_ARRAY(q->arena, 2 * rows, int64_t);
    for (int64_t i = 0; i < 2 * rows; i++)
        index[i] = i % 2 * rows + i / 2;
    return in[0] ? mlc_q_gather(q, in, 2, index, 0, &shape) : NULL;
}

static bool quantize_classifier(mlc_quant *q, const mlc_node *node) {
    const mlc_classes c = classes_of(node);
    const mlc_transform t = mlc_node_transform(node);
    mlc_value *scores = scores_of(q, node);
    if (!scores || !mlc_q_bind_labels(q, node, &c, best_of(q, scores)))
        return false;
    if (node->n_out < 2 || !node->out[1])
        return true;
    if (is_binary(node)) {
        scores = mlc_q_transform(q, t == MLC_TRANSFORM_LOGISTIC ? t : MLC_TRANSFORM_NONE, scores);
        scores = scores ? with_complement(q, scores) : NULL;
    } else {
        scores = mlc_q_transform(q, t, scores);
    }
    return scores && mlc_q_bind(q, node->out[1], scores);
}

static bool quantize_regressor(mlc_quant *q, const mlc_node *node) {
    return mlc_q_result(q, node, mlc_q_transform(q, mlc_node_transform(node), scores_of(q, node)));
}

#define ROW(NAME, KIND, OUTPUTS, DOC, ...)                                 \
    {.domain = "ai.onnx.ml",                                               \
     .name = NAME,                                                         \
     .since = 1,                                                           \
     .doc = DOC,                                                           \
     .limits = "post_transform NONE, LOGISTIC or SOFTMAX",                 \
     .min_in = 1,                                                          \
     .max_in = 1,                                                          \
     .min_out = 1,                                                         \
     .max_out = OUTPUTS,                                                   \
     .attrs = (const mlc_attr_spec[]){{"coefficients", MLC_ATTR_FLOATS},   \
                                      {"intercepts", MLC_ATTR_FLOATS},     \
                                      {"post_transform", MLC_ATTR_STRING}, \
                                      __VA_ARGS__,                         \
                                      {0}},                                \
     .infer = infer_##KIND,                                                \
     .eval = eval_##KIND,                                                  \
     .quantize = quantize_##KIND}

MLC_OPS(LinearModel,
        ROW("LinearClassifier", classifier, 2, "Scores that are linear in x, and the class with the highest",
            {"classlabels_ints", MLC_ATTR_INTS}, {"classlabels_strings", MLC_ATTR_STRINGS},
            {"multi_class", MLC_ATTR_INT}),
        ROW("LinearRegressor", regressor, 1, "Linear in x", {"targets", MLC_ATTR_INT}));
