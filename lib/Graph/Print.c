#include "Text.h"
#include "mlc/op.h"

#include <inttypes.h>
#include <string.h>

enum { COLUMNS = 100 };

typedef struct opset {
    const char *domain;
    int version;
} opset;

typedef struct printer {
    mlc_str s;
    int line; /* of what is printed next */
    mlc_stage stage;
    opset *opsets;
    int n_opsets;
} printer;

static void new_line(printer *p) {
    mlc_str_char(&p->s, '\n');
    p->line++;
}

static void print_indent(printer *p, int indent) {
    for (int i = 0; i < indent; i++)
        mlc_str_puts(&p->s, "  ");
}

static void print_ref(printer *p, const mlc_value *v) {
    mlc_str_char(&p->s, v ? '%' : '_');
    if (v)
        mlc_text_name(&p->s, v->name);
}

/* --- numbers --- */

static void print_element(printer *p, const mlc_tensor *t, int64_t i) {
    if (mlc_dtype_is_float(t->dtype))
        mlc_text_real(&p->s, t->f[i], t->dtype);
    else if (t->dtype == MLC_STRING)
        mlc_text_quote(&p->s, t->s[i]);
    else
        mlc_str_printf(&p->s, "%" PRId64, t->i[i]);
}

static void print_elements(printer *p, const mlc_tensor *t, bool wrap, int indent) {
    int64_t n = mlc_shape_elements(&t->shape);
    size_t start = p->s.size;
    mlc_str_char(&p->s, '[');
    for (int64_t i = 0; i < n; i++) {
        if (i)
            mlc_str_char(&p->s, ',');
        if (wrap && (i == 0 ? n > 8 : p->s.size - start > COLUMNS - 10)) {
            new_line(p);
            start = p->s.size;
            print_indent(p, indent + 1);
        } else if (i) {
            mlc_str_char(&p->s, ' ');
        }
        print_element(p, t, i);
    }
    mlc_str_char(&p->s, ']');
}

static void print_interval(printer *p, int64_t lo, int64_t hi) {
    mlc_str_printf(&p->s, "%" PRId64 "..%" PRId64, lo, hi);
}

/* " in LO..HI" over all elements, or for each element where `full` and they differ. */
static void print_intervals(printer *p, const mlc_value *v, bool full) {
    int64_t n = mlc_shape_elements(&v->shape);
    if (n == 0)
        return;
    int64_t lo = v->lo[0], hi = v->hi[0];
    bool uniform = true;
    for (int64_t i = 1; i < n; i++) {
        uniform &= v->lo[i] == v->lo[0] && v->hi[i] == v->hi[0];
        lo = v->lo[i] < lo ? v->lo[i] : lo;
        hi = v->hi[i] > hi ? v->hi[i] : hi;
    }
    mlc_str_puts(&p->s, " in ");
    if (uniform || !full) {
        print_interval(p, lo, hi);
        return;
    }
    for (int64_t i = 0; i < n; i++) {
        mlc_str_puts(&p->s, i ? ", " : "[");
        print_interval(p, v->lo[i], v->hi[i]);
    }
    mlc_str_char(&p->s, ']');
}

/* --- values --- */

/* Type, and in INTEGER graphs interval, scale, zero and error bound. */
static void print_type(printer *p, const mlc_value *v) {
    mlc_text_type(&p->s, v->dtype, v->shaped ? &v->shape : NULL, v->dynamic_batch);
    if (p->stage != MLC_INTEGER)
        return;
    if (!v->constant && v->shaped && v->lo && v->hi)
        print_intervals(p, v, v->producer == NULL);
    if (v->scale != 1) {
        mlc_str_puts(&p->s, " scale ");
        mlc_text_float(&p->s, v->scale);
    }
    if (v->zero != 0)
        mlc_str_printf(&p->s, " zero %" PRId64, v->zero);
    if (v->err && v->shaped) {
        double err = 0;
        int64_t n = mlc_shape_elements(&v->shape);
        for (int64_t i = 0; i < n; i++)
            err = v->err[i] > err ? v->err[i] : err;
        mlc_str_puts(&p->s, " err ");
        mlc_text_float(&p->s, err);
    }
    if (v->model_dtype != MLC_UNDEFINED)
        mlc_str_printf(&p->s, " as %s", mlc_dtype_name(v->model_dtype));
}

static bool has_type(const mlc_value *v) {
    return v && (v->shaped || v->dtype != MLC_UNDEFINED);
}

/* --- nodes --- */

static void print_graph(printer *p, mlc_graph *g, int indent);

static void print_attr(printer *p, const mlc_attr *a, int indent) {
    mlc_text_name(&p->s, a->name);
    mlc_str_puts(&p->s, " = ");
    switch (a->kind) {
    case MLC_ATTR_INT:
        mlc_str_printf(&p->s, "%" PRId64, a->i);
        return;
    case MLC_ATTR_FLOAT:
        mlc_text_float(&p->s, a->f);
        return;
    case MLC_ATTR_STRING:
        mlc_text_quote(&p->s, a->s);
        return;
    case MLC_ATTR_TENSOR:
        mlc_text_type(&p->s, a->t->dtype, &a->t->shape, false);
        mlc_str_char(&p->s, ' ');
        print_elements(p, a->t, false, indent);
        return;
    case MLC_ATTR_GRAPH:
        mlc_str_puts(&p->s, "graph ");
        mlc_text_name(&p->s, a->g->name);
        mlc_str_puts(&p->s, " {");
        new_line(p);
        print_graph(p, a->g, indent + 1);
        print_indent(p, indent);
        mlc_str_char(&p->s, '}');
        return;
    case MLC_ATTR_INTS:
    case MLC_ATTR_FLOATS:
    case MLC_ATTR_STRINGS:
        break;
    }
    mlc_str_char(&p->s, '[');
    for (int64_t i = 0; i < a->n; i++) {
        if (i)
            mlc_str_puts(&p->s, ", ");
        if (a->kind == MLC_ATTR_INTS)
            mlc_str_printf(&p->s, "%" PRId64, a->ints[i]);
        else if (a->kind == MLC_ATTR_FLOATS)
            mlc_text_float(&p->s, a->floats[i]);
        else
            mlc_text_quote(&p->s, a->strings[i]);
    }
    mlc_str_char(&p->s, ']');
}

static int header_version(const printer *p, const char *domain) {
    for (int i = 0; i < p->n_opsets; i++)
        if (strcmp(p->opsets[i].domain, domain) == 0)
            return p->opsets[i].version;
    return 1;
}

static void print_node(printer *p, mlc_node *node, int indent) {
    node->line = p->line;
    for (int k = 0; k < node->n_out; k++) {
        if (k)
            mlc_str_puts(&p->s, ", ");
        print_ref(p, node->out[k]);
    }
    mlc_str_printf(&p->s, "%s%s", node->n_out ? " = " : "= ", mlc_op_display(p->s.arena, node->op));
    if (node->opset != header_version(p, node->op->domain))
        mlc_str_printf(&p->s, ":%d", node->opset);
    mlc_str_char(&p->s, '(');
    for (int k = 0; k < node->n_in; k++) {
        if (k)
            mlc_str_puts(&p->s, ", ");
        print_ref(p, node->in[k]);
    }
    mlc_str_char(&p->s, ')');
    for (int k = 0; k < node->n_attr; k++) {
        mlc_str_puts(&p->s, k ? ", " : " {");
        print_attr(p, &node->attr[k], indent);
    }
    if (node->n_attr)
        mlc_str_char(&p->s, '}');

    bool typed = false;
    for (int k = 0; k < node->n_out; k++)
        typed |= has_type(node->out[k]);
    for (int k = 0; typed && k < node->n_out; k++) {
        mlc_str_puts(&p->s, k ? ", " : " : ");
        if (node->out[k])
            print_type(p, node->out[k]);
        else
            mlc_str_char(&p->s, '_');
    }
    mlc_str_puts(&p->s, " @");
    mlc_text_name(&p->s, node->name);
    if (node->origin) {
        mlc_str_puts(&p->s, " from ");
        mlc_text_quote(&p->s, node->origin);
    }
}

/* --- graphs --- */

typedef struct constants {
    const mlc_graph *g; /* that holds them */
    bool *printed;      /* by value id */
    int indent;
    bool any;
} constants;

/* `v`: a value of c->g or of a graph inside it, which reads the constant by name. */
static void print_constant(printer *p, constants *c, const mlc_graph *reader, const mlc_value *v) {
    if (v && reader != c->g)
        v = mlc_graph_find(c->g, v->name);
    if (!v || !v->constant || c->printed[v->id])
        return;
    if (c->indent == 0 && !c->any)
        new_line(p);
    c->any = c->printed[v->id] = true;
    print_indent(p, c->indent);
    mlc_str_puts(&p->s, "const ");
    print_ref(p, v);
    mlc_str_puts(&p->s, " : ");
    print_type(p, v);
    mlc_str_puts(&p->s, " = ");
    print_elements(p, v->constant, true, c->indent);
    new_line(p);
}

/* The constants of c->g that `reader` reads, in the order of their first use. */
static void print_constants(printer *p, constants *c, const mlc_graph *reader) {
    MLC_FOR_NODES (reader, node) {
        for (int k = 0; k < node->n_in; k++)
            print_constant(p, c, reader, node->in[k]);
        for (int k = 0; k < node->n_attr; k++)
            if (node->attr[k].kind == MLC_ATTR_GRAPH)
                print_constants(p, c, node->attr[k].g);
    }
    for (int k = 0; k < reader->n_outputs; k++)
        print_constant(p, c, reader, reader->outputs[k]);
}

/* The lines of a graph but the header's, each ended by a newline. */
static void print_graph(printer *p, mlc_graph *g, int indent) {
    for (int k = 0; k < g->n_inputs; k++) {
        print_indent(p, indent);
        mlc_str_puts(&p->s, "input ");
        print_ref(p, g->inputs[k]);
        if (has_type(g->inputs[k])) {
            mlc_str_puts(&p->s, " : ");
            print_type(p, g->inputs[k]);
        }
        new_line(p);
    }
    for (int k = 0; k < g->n_outputs; k++) {
        print_indent(p, indent);
        mlc_str_puts(&p->s, "output ");
        print_ref(p, g->outputs[k]);
        new_line(p);
    }
    if (!indent && g->first)
        new_line(p);
    MLC_FOR_NODES (g, node) {
        print_indent(p, indent);
        print_node(p, node, indent);
        new_line(p);
    }
    constants c = {g, MLC_NEW_ARRAY(p->s.arena, g->n_values, bool), indent, false};
    print_constants(p, &c, g);
}

static void collect_opsets(printer *p, const mlc_graph *g) {
    MLC_FOR_NODES (g, node) {
        const char *domain = node->op->domain;
        int k = 0;
        while (k < p->n_opsets && strcmp(p->opsets[k].domain, domain) != 0)
            k++;
        if (k == p->n_opsets && !mlc_op_is_integer(node->op)) {
            opset *grown = MLC_NEW_ARRAY(p->s.arena, k + 1, opset);
            if (k)
                memcpy(grown, p->opsets, (size_t)k * sizeof *grown);
            p->opsets = grown;
            p->opsets[p->n_opsets++] = (opset){domain, node->opset};
        }
        for (int a = 0; a < node->n_attr; a++)
            if (node->attr[a].kind == MLC_ATTR_GRAPH)
                collect_opsets(p, node->attr[a].g);
    }
}

static void print_header(printer *p, const mlc_graph *g) {
    mlc_str_printf(&p->s, "graph %s ", mlc_stage_names[g->stage]);
    mlc_text_name(&p->s, g->name);
    new_line(p);
    for (int k = 0; k < p->n_opsets; k++) {
        const char *domain = p->opsets[k].domain;
        mlc_str_printf(&p->s, "opset %s %d", domain[0] ? domain : "ai.onnx", p->opsets[k].version);
        new_line(p);
    }
    if (g->producer[0]) {
        mlc_str_puts(&p->s, "producer ");
        mlc_text_quote(&p->s, g->producer);
        new_line(p);
    }
    static const unsigned char unknown[sizeof g->sha256];
    if (memcmp(g->sha256, unknown, sizeof unknown) != 0) {
        mlc_str_puts(&p->s, "sha256 ");
        for (size_t i = 0; i < sizeof g->sha256; i++)
            mlc_str_printf(&p->s, "%02x", g->sha256[i]);
        new_line(p);
    }
    for (int k = 0; k < g->n_props; k++) {
        mlc_str_puts(&p->s, "prop ");
        mlc_text_quote(&p->s, g->props[k].key);
        mlc_str_char(&p->s, ' ');
        mlc_text_quote(&p->s, g->props[k].value);
        new_line(p);
    }
}

const char *mlc_graph_print(mlc_graph *g, mlc_arena *arena) {
    printer p = {.s = {.arena = arena}, .line = 1, .stage = g->stage};
    collect_opsets(&p, g);
    print_header(&p, g);
    print_graph(&p, g, 0);
    return p.s.data;
}
