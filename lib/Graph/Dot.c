#include "Text.h"
#include "mlc/op.h"

#include <inttypes.h>

/*
 * Nodes are boxes, graph inputs and outputs are ovals, edges are labelled with
 * the values' types. Identifiers are numbers: v of a value, n of a node.
 * Constants and subgraphs are left out.
 */

/* A model's text within a quoted label: escaped, for Graphviz once more. */
static void print_label(mlc_str *s, const char *text) {
    for (const char *c = mlc_escape(text); *c; c++) {
        if (*c == '\\')
            mlc_str_char(s, '\\');
        mlc_str_char(s, *c);
    }
}

static void print_type(mlc_str *s, const mlc_graph *g, const mlc_value *v) {
    if (v->shaped || v->dtype != MLC_UNDEFINED)
        mlc_text_type(s, v->dtype, v->shaped ? &v->shape : NULL, v->dynamic_batch);
    int64_t n = v->shaped ? mlc_shape_elements(&v->shape) : 0;
    if (g->stage != MLC_INTEGER || !v->lo || !v->hi || n == 0)
        return;
    int64_t lo = v->lo[0], hi = v->hi[0];
    for (int64_t i = 1; i < n; i++) {
        lo = v->lo[i] < lo ? v->lo[i] : lo;
        hi = v->hi[i] > hi ? v->hi[i] : hi;
    }
    mlc_str_printf(s, "\\n%" PRId64 "..%" PRId64, lo, hi);
}

static void print_edge(mlc_str *s, const mlc_graph *g, const int *numbers, const mlc_value *v, const char *to,
                       int number) {
    if (v->producer)
        mlc_str_printf(s, "  n%d", numbers[v->id]);
    else
        mlc_str_printf(s, "  v%d", v->id);
    mlc_str_printf(s, " -> %s%d [label=\"", to, number);
    print_type(s, g, v);
    mlc_str_puts(s, "\"];\n");
}

static void print_terminal(mlc_str *s, const mlc_value *v, const char *prefix, int number) {
    mlc_str_printf(s, "  %s%d [shape=oval, label=\"", prefix, number);
    print_label(s, v->name);
    mlc_str_puts(s, "\"];\n");
}

const char *mlc_graph_dot(mlc_graph *g, mlc_arena *arena) {
    mlc_str s = {.arena = arena};
    int *numbers = MLC_NEW_ARRAY(arena, g->n_values, int); /* of the node that computes a value */
    mlc_str_puts(&s, "digraph \"");
    print_label(&s, g->name);
    mlc_str_puts(
        &s,
        "\" {\n  node [shape=box, fontname=\"Helvetica\"];\n  edge [fontname=\"Helvetica\", fontsize=10];\n");
    for (int k = 0; k < g->n_inputs; k++)
        print_terminal(&s, g->inputs[k], "v", g->inputs[k]->id);

    int number = 0;
    MLC_FOR_NODES (g, node) {
        mlc_str_printf(&s, "  n%d [label=\"", number);
        print_label(&s, mlc_op_display(arena, node->op));
        mlc_str_puts(&s, "\\n");
        print_label(&s, node->name);
        mlc_str_puts(&s, "\"];\n");
        for (int k = 0; k < node->n_in; k++)
            if (node->in[k] && !node->in[k]->constant)
                print_edge(&s, g, numbers, node->in[k], "n", number);
        for (int k = 0; k < node->n_out; k++)
            if (node->out[k])
                numbers[node->out[k]->id] = number;
        number++;
    }
    for (int k = 0; k < g->n_outputs; k++) {
        print_terminal(&s, g->outputs[k], "o", k);
        if (!g->outputs[k]->constant)
            print_edge(&s, g, numbers, g->outputs[k], "o", k);
    }
    mlc_str_puts(&s, "}\n");
    return s.data;
}
