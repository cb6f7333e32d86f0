/*
 * SHAPED, packet targets: the program answers with a verdict, so the graph's only
 * output becomes `decision`, the index of one of the target's decisions. Monotone
 * tails need not be computed: Softmax does not change which class is largest, and
 * sigmoid(x) >= t exactly where x >= log(t / (1 - t)).
 */
#include "Passes.h"

#include "mlc/actions.h"
#include "mlc/op.h"
#include "mlc/target.h"

#include <math.h>
#include <string.h>

static bool made_by(const mlc_value *v, const char *op) {
    return v->producer && strcmp(v->producer->op->domain, "") == 0 && strcmp(v->producer->op->name, op) == 0;
}

/* Nodes that hand their elements on in the same order. */
static mlc_value *behind_reshapes(mlc_value *v) {
    static const char *const ops[] = {"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity"};
    for (bool again = true; again;) {
        again = false;
        for (size_t i = 0; i < sizeof ops / sizeof ops[0]; i++)
            if (made_by(v, ops[i])) {
                v = v->producer->in[0];
                again = true;
            }
    }
    return v;
}

/* Softmax and LogSoftmax over all elements of v. */
static bool is_softmax(const mlc_value *v) {
    if (!made_by(v, "Softmax") && !made_by(v, "LogSoftmax"))
        return false;
    int64_t largest = 1;
    for (int d = 0; d < v->shape.rank; d++)
        if (v->shape.dim[d] > largest)
            largest = v->shape.dim[d];
    return largest == mlc_shape_elements(&v->shape);
}

/* The scores whose largest is the class; NULL when v is no class index. */
static mlc_value *class_scores(mlc_value *v) {
    v = behind_reshapes(v);
    if (!made_by(v, "ArgMax") || mlc_attr_int(v->producer, "select_last_index", 0))
        return NULL;
    mlc_value *scores = v->producer->in[0];
    return mlc_shape_elements(&v->shape) == 1 ? scores : NULL;
}

static mlc_value *add_node(mlc_graph *g, const char *op, mlc_value *a, mlc_value *b) {
    mlc_value *out = mlc_graph_value(g, NULL), *in[2] = {a, b};
    mlc_node *node = mlc_graph_insert(g, NULL, mlc_op_find("", op, 13), NULL, in, b ? 2 : 1, &out, 1);
    node->opset = 13;
    return node->op->infer(g, node) ? out : NULL;
}

static mlc_value *ints(mlc_graph *g, int64_t x) {
    mlc_shape shape = {.rank = 1, .dim = {1}};
    mlc_tensor *t = mlc_tensor_create(g->arena, MLC_INT64, &shape);
    t->i[0] = x;
    return mlc_graph_constant(g, NULL, t);
}

static mlc_value *element(mlc_graph *g, mlc_value *v, int64_t i) {
    mlc_value *flat = add_node(g, "Reshape", v, ints(g, mlc_shape_elements(&v->shape)));
    return flat ? add_node(g, "Gather", flat, ints(g, i)) : NULL;
}

static mlc_value *threshold_decision(mlc_graph *g, mlc_value *v, const mlc_actions *actions) {
    int64_t n = mlc_shape_elements(&v->shape), at = actions->element;
    double t = actions->threshold;
    if (at < 0)
        at = n == 1 ? 0 : n == 2 ? 1 : -1;
    if (at < 0 || at >= n) {
        mlc_error(g->diag,
                  "output '%s' has %lld elements; write which one is compared, as in 'drop: %s[1] >= 0.5'",
                  mlc_escape(v->name), (long long)n, mlc_escape(v->name));
        return NULL;
    }
    bool inner = t > 0 && t < 1;
    mlc_value *score = NULL, *tail = behind_reshapes(v);
    if (inner && made_by(tail, "Sigmoid")) {
        score = element(g, tail->producer->in[0], at);
        t = log(t / (1 - t));
    } else if (inner && n == 2 && made_by(tail, "Softmax") && is_softmax(tail)) {
        mlc_value *x = tail->producer->in[0], *own = element(g, x, at), *other = element(g, x, 1 - at);
        score = own && other ? add_node(g, "Sub", own, other) : NULL;
        t = log(t / (1 - t));
    } else {
        score = element(g, v, at);
    }
    if (!score)
        return NULL;
    mlc_tensor *limit = mlc_tensor_create(g->arena, score->dtype, &score->shape);
    if (mlc_dtype_is_float(score->dtype))
        limit->f[0] = mlc_dtype_round(score->dtype, t);
    else
        limit->i[0] = (int64_t)(actions->strict ? floor(t) : ceil(t)); /* the same integers */
    return add_node(g, actions->strict ? "Greater" : "GreaterOrEqual", score,
                    mlc_graph_constant(g, NULL, limit));
}

static mlc_value *class_decision(mlc_graph *g, mlc_value *scores) {
    mlc_value *v = behind_reshapes(scores);
    while (is_softmax(v))
        v = behind_reshapes(v->producer->in[0]);
    mlc_value *flat = add_node(g, "Reshape", v, ints(g, mlc_shape_elements(&v->shape)));
    return flat ? add_node(g, "ArgMax", flat, NULL) : NULL;
}

/* The output that actions speak of: the named one, else the first of float type, else the first. */
static mlc_value *find_output(mlc_graph *g, const char *name) {
    for (int k = 0; k < g->n_outputs; k++)
        if (name ? strcmp(g->outputs[k]->name, name) == 0 : mlc_dtype_is_float(g->outputs[k]->dtype))
            return g->outputs[k];
    if (name) {
        mlc_error(g->diag, "the actions name an output '%s', which the model does not have",
                  mlc_escape(name));
        return NULL;
    }
    return g->outputs[0];
}

/* "a,b,c" of metadata property mlc.labels, if there are as many as classes. */
static const char *const *labels_of(const mlc_graph *g, int64_t n) {
    const char *text = mlc_graph_property(g, "mlc.labels");
    if (!text)
        return NULL;
    const char **labels = MLC_NEW_ARRAY(g->arena, n + 1, const char *);
    int64_t count = 0;
    for (const char *p = text; p; count++) {
        const char *comma = strchr(p, ',');
        if (count < n)
            labels[count] = mlc_arena_strndup(g->arena, p, comma ? (size_t)(comma - p) : strlen(p));
        p = comma ? comma + 1 : NULL;
    }
    return count == n ? labels : NULL;
}

static mlc_actions *parse_actions(mlc_graph *g, const mlc_pass_context *context, int64_t classes,
                                  double threshold) {
    const mlc_target *target = context->target;
    mlc_actions_context c = {.verdicts = target->verdicts,
                             .pass = target->pass,
                             .drop = target->drop,
                             .n_classes = (int)classes,
                             .labels = labels_of(g, classes),
                             .threshold = threshold};
    const char *spec =
        context->options->actions ? context->options->actions : mlc_graph_property(g, "mlc.actions");
    mlc_actions *actions;
    return mlc_actions_parse(g->arena, g->diag, spec, &c, &actions) ? actions : NULL;
}

mlc_graph *mlc_pass_decide(mlc_graph *g, mlc_pass_context *context) {
    if (!context->target || !context->target->packet)
        return g;
    if (g->n_outputs == 0) {
        mlc_error(g->diag, "the model has no output to decide by");
        return NULL;
    }
    mlc_value *v = find_output(g, NULL), *scores = class_scores(v);
    if (!scores)
        scores = v;
    int64_t classes = mlc_shape_elements(&scores->shape);
    if (classes < 1 || classes > MLC_MAX_DECISIONS) {
        mlc_error(g->diag, "output '%s' has %lld elements; a decision is made from 1 to %d",
                  mlc_escape(scores->name), (long long)classes, MLC_MAX_DECISIONS);
        return NULL;
    }
    /* A probability is compared with 1/2, a label with 1, any other score with 0. */
    double threshold = made_by(behind_reshapes(scores), "Sigmoid") ? 0.5
                       : mlc_dtype_is_float(scores->dtype)         ? 0
                                                                   : 1;
    mlc_actions *actions = parse_actions(g, context, classes, threshold);
    if (!actions)
        return NULL;
    if (actions->kind == MLC_ACTION_THRESHOLD && actions->output &&
        !(scores = find_output(g, actions->output)))
        return NULL;
    mlc_value *decision = actions->kind == MLC_ACTION_THRESHOLD ? threshold_decision(g, scores, actions)
                                                                : class_decision(g, scores);
    if (!decision)
        return NULL;
    mlc_graph_rename(g, decision, mlc_graph_find(g, "decision") ? "mlc.decision" : "decision");
    g->n_outputs = 0;
    g->outputs = NULL;
    mlc_graph_add_output(g, decision);
    mlc_graph_sweep(g);
    context->actions = actions;
    return g;
}
