#include "mlc/graph.h"

#include <string.h>

static mlc_attr *find(const mlc_node *node, const char *name) {
    for (int k = 0; k < node->n_attr; k++)
        if (strcmp(node->attr[k].name, name) == 0)
            return &node->attr[k];
    return NULL;
}

const mlc_attr *mlc_attr_find(const mlc_node *node, const char *name) {
    return find(node, name);
}

static const mlc_attr *find_kind(const mlc_node *node, const char *name, mlc_attr_kind kind) {
    const mlc_attr *a = find(node, name);
    return a && a->kind == kind ? a : NULL;
}

int64_t mlc_attr_int(const mlc_node *node, const char *name, int64_t missing) {
    const mlc_attr *a = find_kind(node, name, MLC_ATTR_INT);
    return a ? a->i : missing;
}

double mlc_attr_float(const mlc_node *node, const char *name, double missing) {
    const mlc_attr *a = find_kind(node, name, MLC_ATTR_FLOAT);
    return a ? a->f : missing;
}

const char *mlc_attr_string(const mlc_node *node, const char *name, const char *missing) {
    const mlc_attr *a = find_kind(node, name, MLC_ATTR_STRING);
    return a ? a->s : missing;
}

const int64_t *mlc_attr_ints(const mlc_node *node, const char *name, int64_t *n) {
    const mlc_attr *a = find_kind(node, name, MLC_ATTR_INTS);
    *n = a ? a->n : 0;
    return a ? a->ints : NULL;
}

/* The attribute of that name, new or to be overwritten. */
static mlc_attr *slot(mlc_graph *g, mlc_node *node, const char *name) {
    mlc_attr *a = find(node, name);
    if (a)
        return a;
    mlc_attr *grown = MLC_NEW_ARRAY(g->arena, node->n_attr + 1, mlc_attr);
    if (node->n_attr)
        memcpy(grown, node->attr, (size_t)node->n_attr * sizeof *grown);
    node->attr = grown;
    a = &grown[node->n_attr++];
    a->name = mlc_arena_strdup(g->arena, name);
    return a;
}

void mlc_attr_set_int(mlc_graph *g, mlc_node *node, const char *name, int64_t x) {
    mlc_attr *a = slot(g, node, name);
    *a = (mlc_attr){.name = a->name, .kind = MLC_ATTR_INT, .i = x};
}

void mlc_attr_set_ints(mlc_graph *g, mlc_node *node, const char *name, const int64_t *x, int64_t n) {
    int64_t *copy = MLC_NEW_ARRAY(g->arena, n, int64_t);
    if (n)
        memcpy(copy, x, (size_t)n * sizeof *copy);
    mlc_attr *a = slot(g, node, name);
    *a = (mlc_attr){.name = a->name, .kind = MLC_ATTR_INTS, .n = n, .ints = copy};
}
