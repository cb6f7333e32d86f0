#include "mlc/graph.h"

#include "mlc/op.h"

#include <assert.h>
#include <string.h>

/* Open addressing; at most half full, so that a search ends at an empty slot. */
struct mlc_names {
    mlc_value **slots;
    uint32_t cap; /* power of two */
    uint32_t used;
    unsigned serial; /* for made-up names */
};

static uint32_t hash(const char *s) {
    uint32_t h = 2166136261u;
    for (; *s; s++)
        h = (h ^ (unsigned char)*s) * 16777619u;
    return h ^ h >> 15;
}

static mlc_value **slot_of(const struct mlc_names *names, const char *name) {
    uint32_t i = hash(name) & (names->cap - 1);
    while (names->slots[i] && strcmp(names->slots[i]->name, name) != 0)
        i = (i + 1) & (names->cap - 1);
    return &names->slots[i];
}

static void grow_names(mlc_graph *g) {
    struct mlc_names *names = g->names, old = *names;
    if (old.used < old.cap / 2)
        return;
    names->cap = old.cap ? old.cap * 2 : 64;
    names->slots = MLC_NEW_ARRAY(g->arena, names->cap, mlc_value *);
    for (uint32_t i = 0; i < old.cap; i++)
        if (old.slots[i])
            *slot_of(names, old.slots[i]->name) = old.slots[i];
}

mlc_graph *mlc_graph_create(mlc_arena *arena, mlc_diag *diag) {
    mlc_graph *g = MLC_NEW(arena, mlc_graph);
    g->arena = arena;
    g->diag = diag;
    g->name = g->producer = "";
    g->names = MLC_NEW(arena, struct mlc_names);
    grow_names(g);
    return g;
}

mlc_value *mlc_graph_find(const mlc_graph *g, const char *name) {
    return *slot_of(g->names, name);
}

mlc_value *mlc_graph_value(mlc_graph *g, const char *name) {
    grow_names(g);
    const char *base = name ? name : "t";
    const char *unique = name ? mlc_arena_strdup(g->arena, name) : NULL;
    while (!unique || mlc_graph_find(g, unique))
        unique = mlc_arena_printf(g->arena, "%s_%u", base, ++g->names->serial);

    if (g->n_values == g->cap_values) {
        g->cap_values = g->cap_values ? g->cap_values * 2 : 64;
        mlc_value **grown = MLC_NEW_ARRAY(g->arena, g->cap_values, mlc_value *);
        if (g->n_values)
            memcpy(grown, g->values, (size_t)g->n_values * sizeof *grown);
        g->values = grown;
    }
    mlc_value *v = MLC_NEW(g->arena, mlc_value);
    v->name = unique;
    v->scale = 1;
    v->id = g->n_values;
    g->values[g->n_values++] = v;
    *slot_of(g->names, unique) = v;
    g->names->used++;
    return v;
}

mlc_value *mlc_graph_constant(mlc_graph *g, const char *name, const mlc_tensor *t) {
    mlc_value *v = mlc_graph_value(g, name);
    v->constant = t;
    v->dtype = t->dtype;
    v->shape = t->shape;
    v->shaped = true;
    if (g->stage == MLC_INTEGER && t->dtype == MLC_INT64)
        v->lo = v->hi = t->i;
    return v;
}

static mlc_value **copy_values(mlc_graph *g, mlc_value *const *v, int n) {
    mlc_value **copy = MLC_NEW_ARRAY(g->arena, n, mlc_value *);
    if (n)
        memcpy(copy, v, (size_t)n * sizeof *copy);
    return copy;
}

mlc_node *mlc_graph_insert(mlc_graph *g, mlc_node *before, const mlc_op *op, const char *name,
                           mlc_value *const *in, int n_in, mlc_value *const *out, int n_out) {
    mlc_node *node = MLC_NEW(g->arena, mlc_node);
    node->op = op;
    node->opset = op->since;
    node->name = name && name[0] ? mlc_arena_strdup(g->arena, name)
                                 : mlc_arena_printf(g->arena, "%s_%u", op->name, ++g->names->serial);
    node->in = copy_values(g, in, n_in);
    node->n_in = n_in;
    node->out = copy_values(g, out, n_out);
    node->n_out = n_out;
    for (int k = 0; k < n_out; k++)
        if (out[k])
            out[k]->producer = node;

    node->next = before;
    node->prev = before ? before->prev : g->last;
    *(node->prev ? &node->prev->next : &g->first) = node;
    *(before ? &before->prev : &g->last) = node;
    g->n_nodes++;
    return node;
}

void mlc_graph_remove(mlc_graph *g, mlc_node *node) {
    for (int k = 0; k < node->n_out; k++)
        if (node->out[k] && node->out[k]->producer == node)
            node->out[k]->producer = NULL;
    *(node->prev ? &node->prev->next : &g->first) = node->next;
    *(node->next ? &node->next->prev : &g->last) = node->prev;
    node->prev = node->next = NULL;
    g->n_nodes--;
}

static void append(mlc_graph *g, mlc_value ***list, int *n, mlc_value *v) {
    /* Grows at powers of two. */
    if ((*n & (*n - 1)) == 0) {
        mlc_value **grown = MLC_NEW_ARRAY(g->arena, *n ? *n * 2 : 1, mlc_value *);
        if (*n)
            memcpy(grown, *list, (size_t)*n * sizeof *grown);
        *list = grown;
    }
    (*list)[(*n)++] = v;
}

void mlc_graph_add_input(mlc_graph *g, mlc_value *v) {
    append(g, &g->inputs, &g->n_inputs, v);
}

void mlc_graph_add_output(mlc_graph *g, mlc_value *v) {
    append(g, &g->outputs, &g->n_outputs, v);
}

const char *mlc_graph_property(const mlc_graph *g, const char *key) {
    for (int k = 0; k < g->n_props; k++)
        if (strcmp(g->props[k].key, key) == 0)
            return g->props[k].value;
    return NULL;
}

void mlc_graph_rename(mlc_graph *g, mlc_value *v, const char *name) {
    /* The old slot keeps pointing at the value: a search for the old name compares
     * the new one and goes on. */
    grow_names(g);
    v->name = mlc_arena_strdup(g->arena, name);
    *slot_of(g->names, name) = v;
    g->names->used++;
}
