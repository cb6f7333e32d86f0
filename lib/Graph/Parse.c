#include "Parse.h"

#include <inttypes.h>
#include <limits.h>
#include <string.h>

#define FAIL(p, ...) mlc_scan_error(&(p)->s, (p)->s.line, __VA_ARGS__)

/* Of subgraphs in subgraphs. */
enum { MAX_DEPTH = 16 };

/* --- names --- */

/* The value of that name, new if it was not mentioned before. */
static mlc_value *mention(mlc_parser *p, mlc_scope *scope, const char *name, int line) {
    mlc_graph *g = scope->g;
    mlc_value *v = mlc_graph_find(g, name);
    if (v)
        return v;
    v = mlc_graph_value(g, name);
    if (p->stage == MLC_INTEGER)
        v->dtype = MLC_INT64;
    if (v->id >= scope->cap) {
        int cap = scope->cap ? scope->cap * 2 : 64;
        mlc_mention *grown = MLC_NEW_ARRAY(p->s.arena, cap, mlc_mention);
        if (scope->cap)
            memcpy(grown, scope->mentions, (size_t)scope->cap * sizeof *grown);
        scope->mentions = grown;
        scope->cap = cap;
    }
    scope->mentions[v->id].first = line;
    return v;
}

static bool parse_ref(mlc_parser *p, mlc_value **v) {
    const char *name;
    if (!mlc_scan_expect(&p->s, "%") || !mlc_scan_name(&p->s, "a name", &name))
        return false;
    *v = mention(p, p->scope, name, p->s.line);
    return true;
}

static bool define(mlc_parser *p, const mlc_value *v, int line) {
    mlc_mention *m = &p->scope->mentions[v->id];
    if (m->defined)
        return mlc_scan_error(&p->s, line, "'%s' is already defined on line %d", mlc_escape(v->name),
                              m->defined);
    m->defined = line;
    return true;
}

/* At the end of a graph: what a subgraph does not define is read from around it. */
static bool resolve(mlc_parser *p) {
    mlc_scope *scope = p->scope;
    for (int i = 0; i < scope->g->n_values; i++) {
        const mlc_mention *m = &scope->mentions[i];
        const mlc_value *v = scope->g->values[i];
        if (m->defined)
            continue;
        if (!scope->outer)
            return mlc_scan_error(&p->s, m->first, "'%s' is not defined", mlc_escape(v->name));
        int id = mention(p, scope->outer, v->name, m->first)->id;
        if (!scope->outer->mentions[id].read)
            scope->outer->mentions[id].read = m->first;
    }
    return true;
}

/* --- nodes --- */

/* "%a, _, %b" up to and with `stop`; an empty list is allowed. */
static bool parse_refs(mlc_parser *p, const char *stop, mlc_value ***list, int *n) {
    int cap = 0;
    *list = NULL;
    *n = 0;
    while (!mlc_scan_accept(&p->s, stop)) {
        if (*n && !mlc_scan_expect(&p->s, ","))
            return false;
        if (*n == cap) {
            cap = cap ? cap * 2 : 4;
            mlc_value **grown = MLC_NEW_ARRAY(p->s.arena, cap, mlc_value *);
            if (*n)
                memcpy(grown, *list, (size_t)*n * sizeof *grown);
            *list = grown;
        }
        mlc_value *v = NULL;
        if (!mlc_scan_accept(&p->s, "_") && !parse_ref(p, &v))
            return false;
        (*list)[(*n)++] = v;
    }
    return true;
}

static bool parse_version(mlc_parser *p, int *version) {
    int64_t x;
    if (!mlc_scan_int(&p->s, &x))
        return false;
    if (x < 1 || x > INT_MAX)
        return FAIL(p, "a version is at least 1");
    *version = (int)x;
    return true;
}

/* The domain's version as the header states it. */
static bool header_version(mlc_parser *p, const char *domain, int *version) {
    for (int k = 0; k < p->n_opsets; k++) {
        if (strcmp(p->opsets[k].domain, domain) == 0) {
            *version = p->opsets[k].version;
            return true;
        }
    }
    *version = 1;
    return strcmp(domain, "mlc") == 0 ||
           FAIL(p, "the version of the op's domain is not stated: add a line 'opset %s VERSION' before it",
                domain[0] ? mlc_escape(domain) : "ai.onnx");
}

static const char *canonical_domain(const char *domain) {
    return strcmp(domain, "ai.onnx") == 0 ? "" : domain;
}

static bool unknown_op(mlc_parser *p, const char *domain, const char *name, int version) {
    int n, n_names = 0;
    const mlc_op *const *ops = mlc_ops(&n);
    const char **names = MLC_NEW_ARRAY(p->s.arena, n, const char *);
    for (int k = 0; k < n; k++)
        if (strcmp(ops[k]->domain, domain) == 0)
            names[n_names++] = ops[k]->name;
    const char *closest = mlc_closest(name, names, n_names);
    if (closest && strcmp(closest, name) != 0)
        return FAIL(p, "op '%s' is not known; did you mean '%s'?", mlc_escape(name), closest);
    return FAIL(p, "op '%s' is not known in version %d of domain '%s'", mlc_escape(name), version,
                domain[0] ? mlc_escape(domain) : "ai.onnx");
}

/* "Conv", "com.microsoft.QGemm" (the last dot ends the domain), "Conv:13" */
static bool parse_op(mlc_parser *p, const mlc_op **op, int *version) {
    const char *word, *name, *domain = "";
    if (!mlc_scan_name(&p->s, "an op", &word))
        return false;
    const char *dot = strrchr(word, '.');
    name = dot ? dot + 1 : word;
    if (dot)
        domain = canonical_domain(mlc_arena_strndup(p->s.arena, word, (size_t)(dot - word)));
    if (mlc_scan_accept(&p->s, ":") ? !parse_version(p, version) : !header_version(p, domain, version))
        return false;
    *op = mlc_op_find(domain, name, *version);
    return *op || unknown_op(p, domain, name, *version);
}

static bool parse_types(mlc_parser *p, mlc_value *const *out, int n) {
    if (!mlc_scan_accept(&p->s, ":"))
        return true;
    for (int k = 0; k < n; k++) {
        if (k && !mlc_scan_expect(&p->s, ","))
            return false;
        if (out[k] ? !mlc_parse_value_type(p, out[k], &p->scope->mentions[out[k]->id].interval)
                   : !mlc_scan_expect(&p->s, "_"))
            return false;
    }
    return true;
}

/* '%y = Op(%x) {attributes} : types @name from "origin"' */
static bool parse_node(mlc_parser *p) {
    mlc_graph *g = p->scope->g;
    int line = p->s.line, n_out, n_in, n_attr, version;
    mlc_value **out, **in;
    mlc_attr *attr;
    const mlc_op *op;
    const char *name = NULL, *origin = NULL;
    if (!parse_refs(p, "=", &out, &n_out) || !parse_op(p, &op, &version) || !mlc_scan_expect(&p->s, "(") ||
        !parse_refs(p, ")", &in, &n_in) || !mlc_parse_attrs(p, op, &attr, &n_attr) ||
        !parse_types(p, out, n_out))
        return false;
    if (mlc_scan_accept(&p->s, "@") && !mlc_scan_name(&p->s, "a name", &name))
        return false;
    if (mlc_scan_accept(&p->s, "from") && !mlc_scan_string(&p->s, &origin))
        return false;

    for (int k = 0; k < n_in; k++)
        if (in[k] && !p->scope->mentions[in[k]->id].read)
            p->scope->mentions[in[k]->id].read = line;
    for (int k = 0; k < n_out; k++) {
        if (!out[k])
            continue;
        if (!define(p, out[k], line))
            return false;
        int read = p->scope->mentions[out[k]->id].read;
        if (read)
            return mlc_scan_error(&p->s, read, "'%s' is read before it is computed on line %d",
                                  mlc_escape(out[k]->name), line);
    }
    mlc_node *node = mlc_graph_insert(g, NULL, op, name, in, n_in, out, n_out);
    node->origin = origin;
    node->opset = version;
    node->attr = attr;
    node->n_attr = n_attr;
    node->line = line;
    return true;
}

/* --- other statements --- */

static bool parse_input(mlc_parser *p) {
    mlc_value *v;
    if (!parse_ref(p, &v) || !define(p, v, p->s.line))
        return false;
    if (mlc_scan_accept(&p->s, ":") && !mlc_parse_value_type(p, v, NULL))
        return false;
    if (p->stage != MLC_IMPORTED && (!v->shaped || v->dtype == MLC_UNDEFINED))
        return FAIL(p, "an input needs a dtype and a shape, as in 'input %%x : float[1,20]'");
    if (p->stage == MLC_INTEGER && mlc_shape_elements(&v->shape) == 0)
        v->lo = v->hi = MLC_NEW_ARRAY(p->s.arena, 0, int64_t);
    if (p->stage == MLC_INTEGER && !v->lo)
        return FAIL(p, "an input needs an interval, as in 'input %%x : int64[1,20] in 0..255'");
    mlc_graph_add_input(p->scope->g, v);
    return true;
}

static bool parse_output(mlc_parser *p) {
    mlc_value *v;
    if (!parse_ref(p, &v))
        return false;
    mlc_graph_add_output(p->scope->g, v);
    return true;
}

/* "%w : float[2] = [1, 2]" */
static bool parse_const(mlc_parser *p) {
    mlc_value *v;
    if (!parse_ref(p, &v) || !define(p, v, p->s.line) || !mlc_scan_expect(&p->s, ":") ||
        !mlc_parse_value_type(p, v, NULL))
        return false;
    if (!v->shaped || v->dynamic_batch || v->lo)
        return FAIL(p, "a constant needs a fixed shape, and no interval");
    if (!mlc_scan_expect(&p->s, "=") || !mlc_parse_elements(p, v->dtype, &v->shape, &v->constant))
        return false;
    if (p->stage == MLC_INTEGER) {
        if (v->dtype != MLC_INT64)
            return FAIL(p, "a constant of an integer graph must be int64");
        v->lo = v->hi = v->constant->i;
    }
    return true;
}

static bool parse_opset(mlc_parser *p) {
    const char *domain;
    int version = 0;
    if (!mlc_scan_name(&p->s, "a domain", &domain) || !parse_version(p, &version))
        return false;
    domain = canonical_domain(domain);
    struct mlc_opset *grown = MLC_NEW_ARRAY(p->s.arena, p->n_opsets + 1, struct mlc_opset);
    for (int k = 0; k < p->n_opsets; k++) {
        grown[k] = p->opsets[k];
        if (strcmp(grown[k].domain, domain) == 0)
            return FAIL(p, "the version of domain '%s' is stated twice", mlc_escape(domain));
    }
    grown[p->n_opsets++] = (struct mlc_opset){domain, version};
    p->opsets = grown;
    return true;
}

static bool parse_sha256(mlc_parser *p) {
    mlc_graph *g = p->scope->g;
    const char *hex;
    if (!mlc_scan_name(&p->s, "64 hex digits", &hex))
        return false;
    if (strlen(hex) != 2 * sizeof g->sha256 || strspn(hex, "0123456789abcdef") != strlen(hex))
        return FAIL(p, "expected 64 hex digits");
    for (size_t i = 0; i < sizeof g->sha256; i++) {
        const char *digits = "0123456789abcdef";
        g->sha256[i] = (unsigned char)((strchr(digits, hex[2 * i]) - digits) * 16 +
                                       (strchr(digits, hex[2 * i + 1]) - digits));
    }
    return true;
}

static bool parse_property(mlc_parser *p) {
    mlc_graph *g = p->scope->g;
    /* Grows at powers of two. */
    if ((g->n_props & (g->n_props - 1)) == 0) {
        mlc_property *grown = MLC_NEW_ARRAY(p->s.arena, g->n_props ? g->n_props * 2 : 1, mlc_property);
        if (g->n_props)
            memcpy(grown, g->props, (size_t)g->n_props * sizeof *grown);
        g->props = grown;
    }
    mlc_property *prop = &g->props[g->n_props++];
    return mlc_scan_string(&p->s, &prop->key) && mlc_scan_string(&p->s, &prop->value);
}

static bool parse_statement(mlc_parser *p) {
    static const struct {
        const char *word;
        bool (*parse)(mlc_parser *p);
        bool header; /* not in a subgraph */
    } statements[] = {
        {"input", parse_input, false}, {"output", parse_output, false}, {"const", parse_const, false},
        {"opset", parse_opset, true},  {"sha256", parse_sha256, true},  {"prop", parse_property, true},
    };
    for (size_t k = 0; k < sizeof statements / sizeof statements[0]; k++) {
        if ((p->scope->outer && statements[k].header) || !mlc_scan_accept(&p->s, statements[k].word))
            continue;
        return statements[k].parse(p);
    }
    if (!p->scope->outer && mlc_scan_accept(&p->s, "producer"))
        return mlc_scan_string(&p->s, &p->scope->g->producer);
    if (!mlc_scan_next_is(&p->s, '%') && !mlc_scan_next_is(&p->s, '_') && !mlc_scan_next_is(&p->s, '='))
        return FAIL(p, "expected a node such as '%%y = Relu(%%x)', or input, output, const%s",
                    p->scope->outer ? "" : ", opset, producer, sha256 or prop");
    return parse_node(p);
}

/* --- graphs --- */

/* Up to the end of the text or a closing brace. */
static bool parse_body(mlc_parser *p) {
    while (mlc_scan_space(&p->s), p->s.p < p->s.end && *p->s.p != '}') {
        if (*p->s.p != '\n' && !parse_statement(p))
            return false;
        if (!mlc_scan_end(&p->s))
            return false;
    }
    return resolve(p);
}

bool mlc_parse_subgraph(mlc_parser *p, mlc_graph **out) {
    mlc_scope scope = {.outer = p->scope, .depth = p->scope->depth + 1};
    if (scope.depth > MAX_DEPTH)
        return FAIL(p, "subgraphs are nested more than %d deep", MAX_DEPTH);
    mlc_graph *g = scope.g = mlc_graph_create(p->s.arena, p->s.diag);
    g->stage = p->stage;
    if (!mlc_scan_name(&p->s, "a name", &g->name) || !mlc_scan_expect(&p->s, "{"))
        return false;
    int nesting = p->s.nesting;
    p->s.nesting = 0;
    p->scope = &scope;
    if (!parse_body(p) || !mlc_scan_expect(&p->s, "}"))
        return false;
    p->scope = scope.outer;
    p->s.nesting = nesting;
    *out = g;
    return true;
}

static bool check_interval(mlc_parser *p, const mlc_node *node) {
    const mlc_value *v = node->out[0];
    const mlc_interval *stated = &p->scope->mentions[v->id].interval;
    int64_t n = mlc_shape_elements(&v->shape);
    if (!stated->given || n == 0)
        return true;
    int64_t lo = v->lo[0], hi = v->hi[0];
    for (int64_t i = 1; i < n; i++) {
        lo = v->lo[i] < lo ? v->lo[i] : lo;
        hi = v->hi[i] > hi ? v->hi[i] : hi;
    }
    if (lo == stated->lo && hi == stated->hi)
        return true;
    return mlc_error_at(p->s.diag, node,
                        "the interval is %" PRId64 "..%" PRId64 ", but %" PRId64 "..%" PRId64 " is stated",
                        lo, hi, stated->lo, stated->hi);
}

static bool derive_interval(mlc_parser *p, mlc_graph *g, mlc_node *node) {
    mlc_value *v = node->out[0];
    int64_t n = mlc_shape_elements(&v->shape);
    if (n > MLC_MAX_ELEMENTS)
        return mlc_error_at(p->s.diag, node, "the output has more than %" PRId64 " elements",
                            MLC_MAX_ELEMENTS);
    v->lo = MLC_NEW_ARRAY(p->s.arena, n, int64_t);
    v->hi = MLC_NEW_ARRAY(p->s.arena, n, int64_t);
    return node->op->interval(g, node) && check_interval(p, node);
}

/* Works out what the text may leave out, and checks what it states: shapes in
 * SHAPED graphs, shapes and intervals in INTEGER graphs. */
static bool derive(mlc_parser *p, mlc_graph *g) {
    bool ok = true;
    for (mlc_node *node = g->first; node && ok; node = node->next) {
        p->s.diag->line = node->line;
        if (p->stage == MLC_SHAPED)
            ok = node->op->infer(g, node);
        else if (p->stage == MLC_INTEGER)
            ok = node->op->check(g, node) && derive_interval(p, g, node);
    }
    p->s.diag->line = 0;
    return ok;
}

static bool parse_stage(mlc_parser *p) {
    for (int k = 0; mlc_stage_names[k]; k++) {
        if (mlc_scan_accept(&p->s, mlc_stage_names[k])) {
            p->stage = (mlc_stage)k;
            return true;
        }
    }
    return FAIL(p, "expected a stage: imported, shaped or integer");
}

mlc_graph *mlc_graph_parse(mlc_arena *arena, mlc_diag *diag, const char *text, size_t size) {
    mlc_graph *g = mlc_graph_create(arena, diag);
    mlc_scope scope = {.g = g};
    mlc_parser p = {.s = {.arena = arena, .diag = diag, .p = text, .end = text + size, .line = 1},
                    .scope = &scope};
    p.s.nesting = 1; /* blank lines before the first */
    bool ok = mlc_scan_expect(&p.s, "graph");
    p.s.nesting = 0;
    ok = ok && parse_stage(&p) && mlc_scan_name(&p.s, "a name", &g->name);
    g->stage = p.stage;
    ok = ok && mlc_scan_end(&p.s) && parse_body(&p);
    if (ok && p.s.p < p.s.end)
        ok = mlc_scan_error(&p.s, p.s.line, "a '}' without a '{'");
    ok = ok && mlc_graph_verify_structure(g) && derive(&p, g) && mlc_graph_verify(g);
    return ok ? g : NULL;
}
