#include "Import.h"

#include <string.h>

/* Bounds mlc_importer.work: functions that call functions multiply. */
enum { MAX_WORK = 250000 };

const char *mlc_domain(const char *domain) {
    return !domain || strcmp(domain, "ai.onnx") == 0 ? "" : domain;
}

static const char *domain_name(const char *domain) {
    return *domain ? mlc_escape(domain) : "ai.onnx";
}

int mlc_arity(char *const *names, size_t n) {
    while (n && !*names[n - 1])
        n--;
    return (int)n;
}

/* --- ops that are not supported --- */

static void note_versions(mlc_importer *im, const char *domain, const char *name) {
    int n;
    const mlc_op *const *ops = mlc_ops(&n);
    for (int i = 0; i < n; i++) {
        if (strcmp(ops[i]->domain, domain) != 0 || strcmp(ops[i]->name, name) != 0)
            continue;
        if (ops[i]->until)
            mlc_note(im->diag, "%s is supported from version %d to %d", name, ops[i]->since, ops[i]->until);
        else
            mlc_note(im->diag, "%s is supported from version %d on", name, ops[i]->since);
    }
}

static void note_closest(mlc_importer *im, const char *name) {
    int n, m = 0;
    const mlc_op *const *ops = mlc_ops(&n);
    const char **names = MLC_NEW_ARRAY(im->arena, n, const char *);
    for (int i = 0; i < n; i++) {
        if (mlc_op_is_integer(ops[i]))
            continue;
        if (strcmp(ops[i]->name, name) == 0) {
            mlc_note(im->diag, "%s is supported in domain %s; `mlc --list-ops` shows all supported ops",
                     mlc_escape(name), domain_name(ops[i]->domain));
            return;
        }
        names[m++] = ops[i]->name;
    }
    const char *closest = mlc_closest(name, names, m);
    if (closest)
        mlc_note(im->diag, "the closest supported op is %s; `mlc --list-ops` shows all", closest);
    else
        mlc_note(im->diag, "`mlc --list-ops` shows the supported ops");
}

static bool report_unsupported(mlc_importer *im, const mlc_node *node, const char *domain, const char *name) {
    int n;
    const mlc_op *const *ops = mlc_ops(&n);
    bool other_version = false;
    for (int i = 0; i < n; i++)
        other_version |= strcmp(ops[i]->domain, domain) == 0 && strcmp(ops[i]->name, name) == 0;
    mlc_error_at(im->diag, node, "op %s of domain %s, version %d, is not supported", mlc_escape(name),
                 domain_name(domain), node->opset);
    for (int k = 0; k < im->n_noted; k++)
        if (strcmp(im->noted[k], name) == 0)
            return false;
    if (im->n_noted < MLC_MAX_ERRORS)
        im->noted[im->n_noted++] = name;
    if (other_version)
        note_versions(im, domain, name);
    else
        note_closest(im, name);
    return false;
}

/* --- inputs and outputs --- */

static bool computed_later(Onnx__NodeProto *const *nodes, size_t n, const char *name) {
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < nodes[i]->n_output; k++)
            if (strcmp(nodes[i]->output[k], name) == 0)
                return true;
    return false;
}

typedef struct position {
    Onnx__NodeProto *const *nodes;
    size_t index, n;
} position;

static mlc_value *find_input(mlc_scope *scope, const mlc_node *node, const char *name, const position *at,
                             bool *ok) {
    bool omitted;
    if (!*name || !*ok)
        return NULL;
    mlc_value *v = mlc_scope_find(scope, name, &omitted);
    if (v || omitted)
        return v;
    if (computed_later(at->nodes + at->index, at->n - at->index, name)) {
        *ok = mlc_error_at(scope->im->diag, node,
                           "input '%s' depends on the node's own output: the nodes form a cycle",
                           mlc_escape(name));
    } else {
        *ok = mlc_error_at(scope->im->diag, node,
                           "input '%s' is not defined: it is no graph input, initializer or output of a node",
                           mlc_escape(name));
    }
    return NULL;
}

mlc_value *mlc_define_output(mlc_scope *scope, const mlc_node *node, const char *name) {
    if (!*name)
        return NULL;
    mlc_binding *b = mlc_scope_entry(scope, name);
    if (b && !b->defined) {
        b->defined = true;
        return b->value;
    }
    if (b) {
        mlc_error_at(scope->im->diag, node, "output '%s' is already defined by %s", mlc_escape(name),
                     !b->value            ? "an input or initializer"
                     : b->value->producer ? mlc_arena_printf(scope->im->arena, "node '%s'",
                                                             mlc_escape(b->value->producer->name))
                     : b->value->constant ? "an initializer"
                                          : "an input");
        return mlc_graph_value(scope->graph, NULL);
    }
    return mlc_scope_declare(scope, name, true);
}

static bool check_arity(mlc_importer *im, const mlc_node *node, mlc_value *const *in, int n_in,
                        char *const *out, int n_out) {
    const mlc_op *op = node->op;
    bool ok = true;
    if (n_in < op->min_in)
        ok = mlc_error_at(im->diag, node, "has %d inputs, but needs at least %d", n_in, op->min_in);
    if (op->max_in >= 0 && n_in > op->max_in)
        ok = mlc_error_at(im->diag, node, "has %d inputs, but takes at most %d", n_in, op->max_in);
    if (n_out < op->min_out)
        ok = mlc_error_at(im->diag, node, "has %d outputs, but needs at least %d", n_out, op->min_out);
    if (op->max_out >= 0 && n_out > op->max_out)
        ok = mlc_error_at(im->diag, node, "has %d outputs, but can have at most %d", n_out, op->max_out);
    for (int k = 0; ok && k < op->min_in; k++)
        if (!in[k])
            ok = mlc_error_at(im->diag, node, "input %d is required, but omitted", k);
    for (int k = 0; ok && k < op->min_out; k++)
        if (!*out[k])
            ok = mlc_error_at(im->diag, node, "output %d is required, but has no name", k);
    return ok;
}

/* --- nodes --- */

static const char *node_name(const mlc_scope *scope, const Onnx__NodeProto *p, size_t index) {
    mlc_arena *arena = scope->im->arena;
    if (p->name && *p->name)
        return mlc_arena_printf(arena, "%s%s", scope->prefix, p->name);
    return mlc_arena_printf(arena, "%s%s_%zu", scope->prefix, p->op_type ? p->op_type : "", index);
}

static void import_node(mlc_scope *scope, const Onnx__NodeProto *p, const position *at) {
    mlc_importer *im = scope->im;
    const char *type = p->op_type ? p->op_type : "", *domain = mlc_domain(p->domain);

    /* Stands for the node in messages until it is known to be good. */
    mlc_op unknown = {
        .domain = mlc_arena_strdup(im->arena, mlc_escape(domain)),
        .name = mlc_arena_strdup(im->arena, mlc_escape(type)),
    };
    mlc_node shadow = {
        .op = &unknown,
        .name = node_name(scope, p, at->index),
        .opset = mlc_scope_opset(scope, domain),
    };
    const Onnx__FunctionProto *function = mlc_function_find(im, domain, type);
    const mlc_op *op = function || shadow.opset == 0 ? NULL : mlc_op_find(domain, type, shadow.opset);
    bool ok = true;
    if (!*type)
        ok = mlc_error_at(im->diag, &shadow, "the node has no op_type");
    else if (!function && shadow.opset == 0)
        ok = mlc_error_at(im->diag, &shadow, "the file does not import any version of domain %s",
                          domain_name(domain));
    else if (!function && (!op || mlc_op_is_integer(op)))
        ok = report_unsupported(im, &shadow, domain, type);
    bool supported = ok;

    int n_in = mlc_arity(p->input, p->n_input), n_out = mlc_arity(p->output, p->n_output);
    mlc_value **in = MLC_NEW_ARRAY(im->arena, n_in, mlc_value *);
    mlc_value **out = MLC_NEW_ARRAY(im->arena, n_out, mlc_value *);
    bool complete = true; /* one input that is missing is enough */
    for (int k = 0; k < n_in; k++)
        in[k] = find_input(scope, &shadow, p->input[k], at, &complete);
    ok &= complete;

    if (function) {
        if (ok)
            mlc_inline_function(scope, &shadow, function, p, in, n_in);
        else
            for (int k = 0; k < n_out; k++)
                mlc_define_output(scope, &shadow, p->output[k]);
        return;
    }
    if (supported) {
        shadow.op = op;
        ok = complete && check_arity(im, &shadow, in, n_in, p->output, n_out) && ok;
        ok = mlc_import_attributes(scope, &shadow, p) && ok;
    }
    int errors = im->diag->errors;
    for (int k = 0; k < n_out && !mlc_importer_gave_up(im); k++)
        out[k] = mlc_define_output(scope, &shadow, p->output[k]);
    if (!ok || im->diag->errors != errors)
        return;

    mlc_node *node = mlc_graph_insert(scope->graph, NULL, op, shadow.name, in, n_in, out, n_out);
    node->opset = shadow.opset;
    node->attr = shadow.attr;
    node->n_attr = shadow.n_attr;
}

void mlc_import_nodes(mlc_scope *scope, Onnx__NodeProto *const *nodes, size_t n) {
    mlc_importer *im = scope->im;
    nodes = mlc_sort_nodes(im->arena, nodes, n);
    for (size_t i = 0; i < n && !mlc_importer_gave_up(im); i++) {
        const Onnx__NodeProto *p = nodes[i];
        im->work += 1 + (int64_t)(p->n_input + p->n_output + p->n_attribute);
        if (im->work > MAX_WORK) {
            mlc_error(im->diag, "the model has more nodes than are supported, after functions are inlined");
            im->stopped = true;
            return;
        }
        position at = {nodes, i, n};
        import_node(scope, p, &at);
    }
}
