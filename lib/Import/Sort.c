#include "Import.h"

#include <stdlib.h>
#include <string.h>

/*
 * ONNX demands sorted nodes, yet tools that insert Casts append them at the end,
 * and onnxruntime does not mind. Sorted nodes stay as they are.
 */
typedef struct definition {
    const char *name;
    size_t node;
} definition;

typedef struct sorter {
    Onnx__NodeProto *const *nodes;
    size_t n;
    definition *definitions; /* by name */
    size_t n_definitions;
    size_t *needs, n_needs; /* of all nodes: indices of nodes; NULL while they are only counted */
} sorter;

static int compare(const void *x, const void *y) {
    const definition *a = x, *b = y;
    int order = strcmp(a->name, b->name);
    return order ? order : (a->node > b->node) - (a->node < b->node);
}

/* The first node that computes `name`; SIZE_MAX: none of these. */
static size_t find(const sorter *s, const char *name) {
    size_t low = 0, high = s->n_definitions;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(s->definitions[middle].name, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low < s->n_definitions && strcmp(s->definitions[low].name, name) == 0 ? s->definitions[low].node
                                                                                 : SIZE_MAX;
}

static void add_need(sorter *s, const char *name) {
    size_t node = find(s, name);
    if (node == SIZE_MAX)
        return;
    if (s->needs)
        s->needs[s->n_needs] = node;
    s->n_needs++;
}

/* Bodies use values of the graphs around them. The guard bounds the recursion. */
static void add_needs(sorter *s, const Onnx__NodeProto *node) {
    for (size_t k = 0; k < node->n_input; k++)
        add_need(s, node->input[k]);
    for (size_t k = 0; k < node->n_attribute; k++) {
        const Onnx__GraphProto *g = node->attribute[k]->g;
        for (size_t i = 0; g && i < g->n_node; i++)
            add_needs(s, g->node[i]);
        for (size_t i = 0; g && i < g->n_output; i++)
            if (g->output[i]->name)
                add_need(s, g->output[i]->name);
    }
}

static void find_definitions(sorter *s, mlc_arena *arena) {
    size_t count = 0;
    for (size_t i = 0; i < s->n; i++)
        count += s->nodes[i]->n_output;
    s->definitions = MLC_NEW_ARRAY(arena, count, definition);
    for (size_t i = 0; i < s->n; i++)
        for (size_t k = 0; k < s->nodes[i]->n_output; k++)
            if (*s->nodes[i]->output[k])
                s->definitions[s->n_definitions++] = (definition){s->nodes[i]->output[k], i};
    if (s->n_definitions)
        qsort(s->definitions, s->n_definitions, sizeof *s->definitions, compare);
}

/* first[i] is where the needs of node i begin; first[n] is the end. */
static size_t *find_needs(sorter *s, mlc_arena *arena) {
    for (size_t i = 0; i < s->n; i++)
        add_needs(s, s->nodes[i]);
    s->needs = MLC_NEW_ARRAY(arena, s->n_needs, size_t);
    s->n_needs = 0;
    size_t *first = MLC_NEW_ARRAY(arena, s->n + 1, size_t);
    for (size_t i = 0; i < s->n; i++) {
        first[i] = s->n_needs;
        add_needs(s, s->nodes[i]);
    }
    first[s->n] = s->n_needs;
    return first;
}

Onnx__NodeProto *const *mlc_sort_nodes(mlc_arena *arena, Onnx__NodeProto *const *nodes, size_t n) {
    sorter s = {.nodes = nodes, .n = n};
    find_definitions(&s, arena);
    size_t *next = find_needs(&s, arena);
    Onnx__NodeProto **sorted = MLC_NEW_ARRAY(arena, n, Onnx__NodeProto *);
    size_t *stack = MLC_NEW_ARRAY(arena, n, size_t), n_sorted = 0;
    bool *seen = MLC_NEW_ARRAY(arena, n, bool);
    size_t *end = MLC_NEW_ARRAY(arena, n, size_t);
    for (size_t i = 0; i < n; i++)
        end[i] = next[i + 1];

    /* Depth first, with next[i] as the place in node i's needs. A need that is on
     * the stack already is a cycle; its use will be found undefined. */
    for (size_t i = 0; i < n; i++) {
        if (seen[i])
            continue;
        size_t depth = 0;
        stack[depth++] = i;
        seen[i] = true;
        while (depth) {
            size_t top = stack[depth - 1];
            if (next[top] == end[top]) {
                sorted[n_sorted++] = nodes[top];
                depth--;
                continue;
            }
            size_t need = s.needs[next[top]++];
            if (!seen[need]) {
                seen[need] = true;
                stack[depth++] = need;
            }
        }
    }
    return sorted;
}
