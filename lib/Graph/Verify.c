#include "Text.h"
#include "mlc/op.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

typedef struct verifier verifier;
struct verifier {
    mlc_graph *g;
    const verifier *outer; /* of a subgraph: the graph around it */
    mlc_stage stage;       /* whose invariants of values are checked */
    mlc_stage ops;         /* whose ops are allowed */
    mlc_diag *diag;
    bool lines;    /* node->line is a line of the diagnostics' file */
    bool *defined; /* by value id: input, constant, or output of a node seen so far */
    bool ok;
};

const char *const mlc_stage_names[] = {"imported", "shaped", "integer", NULL};

#define FAIL(s, ...) ((s)->ok = mlc_error((s)->diag, __VA_ARGS__))
#define FAIL_AT(s, node, ...) ((s)->ok = mlc_error_at((s)->diag, node, __VA_ARGS__))

static bool good_shape(const mlc_shape *s) {
    if (s->rank < 0 || s->rank > MLC_MAX_RANK)
        return false;
    for (int k = 0; k < s->rank; k++)
        if (s->dim[k] < 0)
            return false;
    return mlc_shape_elements(s) <= MLC_MAX_ELEMENTS;
}

static void verify_integer(verifier *s, const mlc_value *v) {
    const char *name = mlc_escape(v->name);
    if (v->dtype != MLC_INT64)
        FAIL(s, "value '%s' of an integer graph is %s, not int64", name, mlc_dtype_name(v->dtype));
    if (!isfinite(v->scale) || v->scale <= 0)
        FAIL(s, "value '%s' has scale %g; it must be positive", name, v->scale);
    if (!v->lo || !v->hi) {
        FAIL(s, "value '%s' has no interval", name);
        return;
    }
    int64_t n = mlc_shape_elements(&v->shape);
    for (int64_t i = 0; i < n; i++) {
        if (v->lo[i] > v->hi[i]) {
            FAIL(s, "value '%s', element %" PRId64 ": the interval %" PRId64 "..%" PRId64 " is empty", name,
                 i, v->lo[i], v->hi[i]);
            break;
        }
        if (v->constant && v->dtype == MLC_INT64 && (v->lo[i] != v->constant->i[i] || v->hi[i] != v->lo[i])) {
            FAIL(s, "constant '%s', element %" PRId64 ": the interval is not its value %" PRId64, name, i,
                 v->constant->i[i]);
            break;
        }
    }
    for (int64_t i = 0; v->err && i < n; i++) {
        if (!(v->err[i] >= 0)) {
            FAIL(s, "value '%s', element %" PRId64 ": the error bound %g is negative", name, i, v->err[i]);
            break;
        }
    }
}

/* A value at its definition. */
static void verify_value(verifier *s, const mlc_value *v) {
    const char *name = mlc_escape(v->name);
    if (mlc_graph_find(s->g, v->name) != v)
        FAIL(s, "value name '%s' is not unique", name);
    if (v->constant &&
        (v->constant->dtype != v->dtype || !v->shaped || !mlc_shape_equal(&v->constant->shape, &v->shape))) {
        FAIL(s, "constant '%s' is not of the type that is stated", name);
        return;
    }
    if (v->shaped && !good_shape(&v->shape)) {
        FAIL(s, "value '%s' has a shape that is not supported (negative or more than %" PRId64 " elements)",
             name, MLC_MAX_ELEMENTS);
        return;
    }
    if (s->stage == MLC_IMPORTED)
        return;
    if (!v->shaped || v->dtype == MLC_UNDEFINED)
        FAIL(s, "value '%s' of a%s %s graph has no %s", name, s->stage == MLC_INTEGER ? "n" : "",
             mlc_stage_names[s->stage], v->shaped ? "dtype" : "shape");
    else if (s->stage == MLC_INTEGER)
        verify_integer(s, v);
}

static bool owned(verifier *s, const mlc_value *v) {
    if (v->id >= 0 && v->id < s->g->n_values && s->g->values[v->id] == v)
        return true;
    return FAIL(s, "value '%s' belongs to another graph", mlc_escape(v->name));
}

static bool is_defined(const verifier *s, const mlc_value *v) {
    if (s->defined[v->id])
        return true;
    if (v->producer)
        return false;
    for (const verifier *o = s->outer; o; o = o->outer) {
        const mlc_value *captured = mlc_graph_find(o->g, v->name);
        if (captured && o->defined[captured->id])
            return true;
    }
    return false;
}

static void verify_use(verifier *s, const mlc_node *node, const mlc_value *v) {
    if (!owned(s, v) || is_defined(s, v))
        return;
    const char *name = mlc_escape(v->name);
    if (v->producer && node)
        FAIL_AT(s, node, "input '%s' is used before node '%s' computes it", name,
                mlc_escape(v->producer->name));
    else if (node)
        FAIL_AT(s, node, "input '%s' is not defined", name);
    else
        FAIL(s, "graph output '%s' is not defined", name);
}

static bool verify_graph(mlc_graph *g, const verifier *like, const verifier *outer);

static const char *kind_name(mlc_attr_kind kind) {
    static const char *const names[] = {"an integer",       "a float",          "a string",
                                        "a tensor",         "a graph",          "a list of integers",
                                        "a list of floats", "a list of strings"};
    return names[kind];
}

static void verify_attr(verifier *s, const mlc_node *node, const mlc_attr *a) {
    const mlc_attr_spec *spec = node->op->attrs;
    while (spec && spec->name && strcmp(spec->name, a->name) != 0)
        spec++;
    if (!spec || !spec->name)
        FAIL_AT(s, node, "the op has no attribute '%s'", mlc_escape(a->name));
    else if (spec->kind != a->kind)
        FAIL_AT(s, node, "attribute '%s' is %s; it must be %s", mlc_escape(a->name), kind_name(a->kind),
                kind_name(spec->kind));
    if (a->kind == MLC_ATTR_GRAPH)
        s->ok &= verify_graph(a->g, s, s);
}

static void verify_arity(verifier *s, const mlc_node *node) {
    const mlc_op *op = node->op;
    if (node->n_in < op->min_in)
        FAIL_AT(s, node, "%d inputs; the op takes at least %d", node->n_in, op->min_in);
    if (op->max_in >= 0 && node->n_in > op->max_in)
        FAIL_AT(s, node, "%d inputs; the op takes at most %d", node->n_in, op->max_in);
    if (node->n_out < op->min_out)
        FAIL_AT(s, node, "%d outputs; the op has at least %d", node->n_out, op->min_out);
    if (op->max_out >= 0 && node->n_out > op->max_out)
        FAIL_AT(s, node, "%d outputs; the op has at most %d", node->n_out, op->max_out);
    for (int k = 0; k < op->min_in && k < node->n_in; k++)
        if (!node->in[k])
            FAIL_AT(s, node, "input %d is omitted, but it is required", k);
    for (int k = 0; k < op->min_out && k < node->n_out; k++)
        if (!node->out[k])
            FAIL_AT(s, node, "output %d is omitted, but it is required", k);
}

static void verify_node(verifier *s, mlc_node *node) {
    if (s->lines)
        s->diag->line = node->line;
    verify_arity(s, node);
    if (mlc_op_is_integer(node->op) != (s->ops == MLC_INTEGER))
        FAIL_AT(s, node, "the op does not belong in a%s %s graph", s->ops == MLC_SHAPED ? "" : "n",
                mlc_stage_names[s->ops]);
    for (int k = 0; k < node->n_in; k++)
        if (node->in[k])
            verify_use(s, node, node->in[k]);
    for (int k = 0; k < node->n_attr; k++)
        verify_attr(s, node, &node->attr[k]);
    for (int k = 0; k < node->n_out; k++) {
        mlc_value *v = node->out[k];
        if (!v || !owned(s, v))
            continue;
        if (s->defined[v->id] || v->producer != node || v->constant)
            FAIL_AT(s, node, "output '%s' is already defined elsewhere", mlc_escape(v->name));
        s->defined[v->id] = true;
        verify_value(s, v);
    }
    s->diag->line = 0;
}

static bool verify_graph(mlc_graph *g, const verifier *like, const verifier *outer) {
    mlc_arena_mark mark = mlc_arena_save(g->arena);
    verifier s = *like;
    s.g = g;
    s.outer = outer;
    s.ok = true;
    s.defined = MLC_NEW_ARRAY(g->arena, g->n_values, bool);
    for (int k = 0; k < g->n_inputs; k++) {
        mlc_value *v = g->inputs[k];
        if (!owned(&s, v))
            continue;
        if (s.defined[v->id] || v->producer || v->constant)
            FAIL(&s, "graph input '%s' is defined twice", mlc_escape(v->name));
        s.defined[v->id] = true;
        verify_value(&s, v);
    }
    for (int i = 0; i < g->n_values; i++) {
        if (g->values[i]->constant) {
            s.defined[i] = true;
            verify_value(&s, g->values[i]);
        }
    }
    int n = 0;
    for (mlc_node *node = g->first; node; node = node->next, n++) {
        if ((node->prev ? node->prev->next : g->first) != node || (!node->next && g->last != node))
            FAIL_AT(&s, node, "the list of nodes is broken");
        verify_node(&s, node);
    }
    if (n != g->n_nodes)
        FAIL(&s, "%d nodes are counted, %d are there", g->n_nodes, n);
    for (int k = 0; k < g->n_outputs; k++)
        verify_use(&s, NULL, g->outputs[k]);
    mlc_arena_restore(g->arena, mark);
    return s.ok;
}

bool mlc_graph_verify(mlc_graph *g) {
    verifier s = {.stage = g->stage, .ops = g->stage, .diag = g->diag};
    return verify_graph(g, &s, NULL);
}

bool mlc_graph_verify_structure(mlc_graph *g) {
    verifier s = {.stage = MLC_IMPORTED, .ops = g->stage, .diag = g->diag, .lines = true};
    return verify_graph(g, &s, NULL);
}
