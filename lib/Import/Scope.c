#include "Import.h"

#include <string.h>

/* Slots of the table for `name`: linear probing from here. Keyed with an address,
 * so that a file cannot be made to collide. */
static size_t first_slot(const mlc_scope *scope, const char *name) {
    uint64_t h = UINT64_C(0xcbf29ce484222325) ^ (uint64_t)(uintptr_t)scope->im;
    for (const unsigned char *p = (const unsigned char *)name; *p; p++)
        h = (h ^ *p) * UINT64_C(0x100000001b3);
    h ^= h >> 32;
    return (size_t)h & (scope->cap - 1);
}

static mlc_binding *slot(const mlc_scope *scope, const char *name) {
    for (size_t i = first_slot(scope, name);; i = (i + 1) & (scope->cap - 1))
        if (!scope->table[i].name || strcmp(scope->table[i].name, name) == 0)
            return &scope->table[i];
}

mlc_binding *mlc_scope_entry(mlc_scope *scope, const char *name) {
    mlc_binding *b = scope->cap ? slot(scope, name) : NULL;
    return b && b->name ? b : NULL;
}

static void grow(mlc_scope *scope) {
    mlc_binding *old = scope->table;
    size_t n = scope->cap;
    scope->cap = n ? 2 * n : 8;
    scope->table = MLC_NEW_ARRAY(scope->im->arena, scope->cap, mlc_binding);
    for (size_t i = 0; i < n; i++)
        if (old[i].name)
            *slot(scope, old[i].name) = old[i];
}

void mlc_scope_bind(mlc_scope *scope, const char *name, mlc_value *value, bool defined) {
    if (2 * (scope->used + 1) > scope->cap)
        grow(scope);
    mlc_binding *b = slot(scope, name);
    scope->used += !b->name;
    *b = (mlc_binding){mlc_arena_strdup(scope->im->arena, name), value, defined};
}

mlc_value *mlc_scope_declare(mlc_scope *scope, const char *name, bool defined) {
    const char *full =
        *scope->prefix ? mlc_arena_printf(scope->im->arena, "%s%s", scope->prefix, name) : name;
    mlc_value *v = mlc_graph_value(scope->graph, full);
    mlc_scope_bind(scope, name, v, defined);
    return v;
}

/* In a body, a value of an enclosing graph is one of the same name without a
 * producer (see mlc_graph_uses); constants are made the body's own. */
static mlc_value *capture(mlc_scope *scope, const char *name, mlc_value *outer) {
    mlc_value *v = outer->constant ? mlc_graph_constant(scope->graph, outer->name, outer->constant)
                                   : mlc_graph_value(scope->graph, outer->name);
    if (strcmp(v->name, outer->name) != 0)
        mlc_error(scope->im->diag, "a body has a value called '%s' of its own besides the one around it",
                  mlc_escape(outer->name));
    mlc_scope_bind(scope, name, v, true);
    return v;
}

mlc_value *mlc_scope_find(mlc_scope *scope, const char *name, bool *omitted) {
    mlc_binding *b = mlc_scope_entry(scope, name);
    *omitted = b && b->defined && !b->value;
    if (b)
        return b->defined ? b->value : NULL;
    if (!scope->outer)
        return NULL;
    mlc_value *outer = mlc_scope_find(scope->outer, name, omitted);
    return outer ? capture(scope, name, outer) : NULL;
}

int mlc_scope_opset(const mlc_scope *scope, const char *domain) {
    /* The domain may be listed twice: the newer version counts. */
    int64_t newest = 0;
    for (size_t i = 0; i < scope->n_opsets; i++) {
        const Onnx__OperatorSetIdProto *o = scope->opsets[i];
        if (strcmp(mlc_domain(o->domain), domain) == 0 && o->version > newest)
            newest = o->version;
    }
    if (scope->n_opsets == 0)
        return 1;
    return newest > INT32_MAX ? INT32_MAX : (int)newest;
}
