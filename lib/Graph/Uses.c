#include "mlc/graph.h"

#include <string.h>

/*
 * A subgraph (an attribute of If, Loop, Scan) reads values of the graph around
 * it by name: in the subgraph such a value is neither input, constant nor
 * output of a node.
 */
static bool is_input(const mlc_graph *g, const mlc_value *v) {
    for (int k = 0; k < g->n_inputs; k++)
        if (g->inputs[k] == v)
            return true;
    return false;
}

static bool is_captured(const mlc_graph *g, const mlc_value *v) {
    return !v->producer && !v->constant && !is_input(g, v);
}

static void count(const mlc_graph *g, const mlc_value *v, const mlc_graph *outer, int *uses);

/* Adds what the graph `g` reads to `uses` of `outer`'s values; g == outer for the graph itself. */
static void count_graph(const mlc_graph *g, const mlc_graph *outer, int *uses) {
    MLC_FOR_NODES (g, node) {
        for (int k = 0; k < node->n_in; k++)
            count(g, node->in[k], outer, uses);
        for (int k = 0; k < node->n_attr; k++)
            if (node->attr[k].kind == MLC_ATTR_GRAPH)
                count_graph(node->attr[k].g, outer, uses);
    }
    for (int k = 0; k < g->n_outputs; k++)
        count(g, g->outputs[k], outer, uses);
}

static void count(const mlc_graph *g, const mlc_value *v, const mlc_graph *outer, int *uses) {
    if (!v)
        return;
    if (g != outer)
        v = is_captured(g, v) ? mlc_graph_find(outer, v->name) : NULL;
    if (v)
        uses[v->id]++;
}

int *mlc_graph_uses(const mlc_graph *g, mlc_arena *arena) {
    int *uses = MLC_NEW_ARRAY(arena, g->n_values, int);
    count_graph(g, g, uses);
    return uses;
}

int mlc_graph_sweep(mlc_graph *g) {
    int removed = 0;
    mlc_arena_mark mark = mlc_arena_save(g->arena);
    for (bool again = true; again;) {
        again = false;
        int *uses = mlc_graph_uses(g, g->arena);
        /* Backwards: what only a dead node reads is dead as well. A node with
         * subgraphs gives back its captured values in the next round. */
        for (mlc_node *node = g->last, *previous; node; node = previous) {
            previous = node->prev;
            bool used = false;
            for (int k = 0; k < node->n_out; k++)
                used |= node->out[k] && uses[node->out[k]->id] > 0;
            if (used)
                continue;
            for (int k = 0; k < node->n_in; k++)
                if (node->in[k])
                    uses[node->in[k]->id]--;
            for (int k = 0; k < node->n_attr; k++)
                again |= node->attr[k].kind == MLC_ATTR_GRAPH;
            mlc_graph_remove(g, node);
            removed++;
        }
        mlc_arena_restore(g->arena, mark);
    }
    return removed;
}

static void replace_in_subgraph(mlc_graph *g, const char *from, const char *to);

static void replace(mlc_graph *g, mlc_value *from, mlc_value *to) {
    MLC_FOR_NODES (g, node) {
        for (int k = 0; k < node->n_in; k++)
            if (node->in[k] == from)
                node->in[k] = to;
        for (int k = 0; k < node->n_attr; k++)
            if (node->attr[k].kind == MLC_ATTR_GRAPH)
                replace_in_subgraph(node->attr[k].g, from->name, to->name);
    }
    for (int k = 0; k < g->n_outputs; k++)
        if (g->outputs[k] == from)
            g->outputs[k] = to;
}

static void replace_in_subgraph(mlc_graph *g, const char *from, const char *to) {
    mlc_value *captured = mlc_graph_find(g, from);
    if (captured && !is_captured(g, captured))
        return; /* a value of its own hides the outer one */
    if (captured) {
        mlc_value *v = mlc_graph_find(g, to);
        replace(g, captured, v ? v : mlc_graph_value(g, to));
        return;
    }
    MLC_FOR_NODES (g, node)
        for (int k = 0; k < node->n_attr; k++)
            if (node->attr[k].kind == MLC_ATTR_GRAPH)
                replace_in_subgraph(node->attr[k].g, from, to);
}

void mlc_graph_replace(mlc_graph *g, mlc_value *from, mlc_value *to) {
    replace(g, from, to);
}

bool mlc_graph_is_output(const mlc_graph *g, const mlc_value *v) {
    for (int k = 0; k < g->n_outputs; k++)
        if (g->outputs[k] == v)
            return true;
    return false;
}
