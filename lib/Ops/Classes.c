#include "Classes.h"

#include <math.h>

bool mlc_infer_transform(mlc_graph *g, const mlc_node *node) {
    static const char *const known[] = {"NONE", "LOGISTIC", "SOFTMAX"};
    const char *name = mlc_attr_string(node, "post_transform", "NONE");
    for (int i = 0; i < 3; i++)
        if (!strcmp(name, known[i]))
            return true;
    return mlc_error_at(g->diag, node, "post_transform '%s' is not supported; NONE, LOGISTIC and SOFTMAX are",
                        mlc_escape(name));
}

mlc_transform mlc_node_transform(const mlc_node *node) {
    const char *name = mlc_attr_string(node, "post_transform", "NONE");
    return !strcmp(name, "LOGISTIC")  ? MLC_TRANSFORM_LOGISTIC
           : !strcmp(name, "SOFTMAX") ? MLC_TRANSFORM_SOFTMAX
                                      : MLC_TRANSFORM_NONE;
}

static double logistic(double x, const void *user) {
    (void)user;
    return 1 / (1 + exp(-x));
}

void mlc_eval_transform(mlc_transform t, double *scores, int64_t n) {
    double most = -INFINITY, sum = 0;
    for (int64_t i = 0; i < n; i++)
        most = fmax(most, scores[i]);
    for (int64_t i = 0; i < n && t != MLC_TRANSFORM_NONE; i++) {
        scores[i] = t == MLC_TRANSFORM_LOGISTIC ? logistic(scores[i], NULL) : exp(scores[i] - most);
        sum += scores[i];
    }
    for (int64_t i = 0; i < n && t == MLC_TRANSFORM_SOFTMAX; i++)
        scores[i] /= sum;
}

mlc_value *mlc_q_transform(mlc_quant *q, mlc_transform t, mlc_value *scores) {
    if (!scores || t == MLC_TRANSFORM_NONE)
        return scores;
    if (t == MLC_TRANSFORM_LOGISTIC)
        return mlc_q_bounded_function(q, scores, logistic, NULL, 0.25, 0, 1);
    return mlc_q_softmax(q, scores, mlc_view_axis(&scores->shape, scores->shape.rank - 1));
}

mlc_classes mlc_node_classes(const mlc_node *node, const char *ints, const char *strings) {
    mlc_classes c = {0};
    const mlc_attr *s = mlc_attr_find(node, strings);
    c.ints = mlc_attr_ints(node, ints, &c.n);
    if (s && s->n > 0) {
        c.strings = s->strings;
        c.n = s->n;
    }
    return c;
}

bool mlc_infer_classes(mlc_graph *g, const mlc_node *node, const char *ints, const char *strings) {
    const mlc_attr *i = mlc_attr_find(node, ints), *s = mlc_attr_find(node, strings);
    if ((i && i->n > 0) != (s && s->n > 0))
        return true;
    return mlc_error_at(g->diag, node, "one of %s and %s must be given", ints, strings);
}

mlc_dtype mlc_classes_dtype(const mlc_classes *c) {
    return c->strings ? MLC_STRING : MLC_INT64;
}

void mlc_eval_class(const mlc_classes *c, int64_t k, mlc_tensor *labels, int64_t at) {
    if (c->strings)
        labels->s[at] = c->strings[k];
    else
        labels->i[at] = c->ints[k];
}

static bool is_read(const mlc_graph *g, const mlc_value *v) {
    for (int k = 0; k < g->n_outputs; k++)
        if (g->outputs[k] == v)
            return true;
    MLC_FOR_NODES (g, node)
        for (int k = 0; k < node->n_in; k++)
            if (node->in[k] == v)
                return true;
    return false;
}

bool mlc_q_bind_labels(mlc_quant *q, const mlc_node *node, const mlc_classes *c, mlc_value *index) {
    if (!node->out[0] || !is_read(q->from, node->out[0]))
        return true;
    if (c->strings)
        return mlc_error_at(
            q->diag, node,
            "the class labels in output '%s' are strings; convert the model with integer labels",
            mlc_escape(node->out[0]->name));
    bool counted = true;
    for (int64_t k = 0; k < c->n; k++)
        counted = counted && c->ints[k] == k;
    if (!index || counted)
        return index && mlc_q_bind(q, node->out[0], index);
    const mlc_shape shape = {1, {c->n}};
    mlc_value *in[2] = {mlc_q_constant(q, c->ints, &shape), index};
    mlc_attr row = {.name = "row", .kind = MLC_ATTR_INT, .i = 1};
    mlc_value *labels = mlc_q_node(q, "Take", in, 2, &index->shape, &row, 1);
    if (!labels)
        return false;
    labels->scale = 1;
    if (index->err) {
        double *err = MLC_NEW_ARRAY(q->arena, mlc_shape_elements(&labels->shape), double);
        for (int64_t i = 0; i < mlc_shape_elements(&labels->shape); i++)
            err[i] = mlc_q_err(index, i) > 0 ? (double)labels->hi[i] - (double)labels->lo[i] : 0;
        labels->err = err;
    }
    return mlc_q_bind(q, node->out[0], labels);
}
