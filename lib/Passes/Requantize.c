/*
 * INTEGER: a Rescale and what follows it element by element (Max, Min, Table, ...
 * with constant operands) become one table, over the few numbers that the proven
 * interval leaves behind the shift: Requantize.
 *
 * Behind Linear and Conv the Rescale goes away altogether where it can
 * (RequantizeDot.c). Elsewhere it stays, without its shift.
 */
#include "Requantize.h"

#include "mlc/op.h"

#include <string.h>

/* Numbers that are put through chains which differ from element to element. */
enum { MAX_WORK = 1 << 24 };

typedef struct chain {
    mlc_node *rescale;
    mlc_node *dot;         /* the Linear or Conv that only the Rescale reads; NULL: none */
    mlc_node *const *rest; /* element-wise nodes behind the Rescale, in order */
    int n;
    mlc_value *end;
    bool varies;         /* operands behind the Rescale differ from element to element */
    int64_t first, last; /* what the Rescale may result in */
} chain;

/* Operands that every element reads from as a whole. */
static bool is_whole(const mlc_node *node, int k) {
    return node->op == mlc_iop("Table") && k == 1;
}

/* Element i of the output depends on element i of `x` only. *varies: not on all alike. */
static bool is_elementwise(const mlc_node *node, const mlc_value *x, bool *varies) {
    static const char *const names[] = {"Add", "Sub", "Mul", "Max", "Min", "Neg", "Abs", "Rescale", "Table"};
    bool known = false;
    for (size_t i = 0; i < sizeof names / sizeof *names && !known; i++)
        known = node->op == mlc_iop(names[i]);
    if (!known || !mlc_shape_equal(&node->out[0]->shape, &x->shape))
        return false;
    for (int k = 0; k < node->n_in; k++) {
        const mlc_value *v = node->in[k];
        if (v == x)
            continue;
        if (!v->constant)
            return false;
        if (!is_whole(node, k) && mlc_shape_elements(&v->shape) != 1)
            *varies = true;
    }
    return true;
}

/* A last dimension of channels, which shifts broadcast to. */
static bool is_dot(const mlc_node *node) {
    if (node->op == mlc_iop("Conv"))
        return true;
    const mlc_shape *y = &node->out[0]->shape;
    return node->op == mlc_iop("Linear") && y->rank > 0 && y->dim[y->rank - 1] == node->in[1]->shape.dim[0];
}

static chain find_chain(mlc_graph *g, mlc_node *rescale, const int *uses) {
    mlc_node **rest = MLC_NEW_ARRAY(g->arena, g->n_nodes, mlc_node *), *dot = rescale->in[0]->producer;
    chain c = {
        .rescale = rescale, .rest = rest, .end = rescale->out[0], .first = INT64_MAX, .last = INT64_MIN};
    if (dot && is_dot(dot) && mlc_only_reader(g, dot->out[0], uses) == rescale)
        c.dot = dot;
    for (mlc_node *node; (node = mlc_only_reader(g, c.end, uses)); c.end = node->out[0]) {
        if ((!mlc_is_reshape(node) && !is_elementwise(node, c.end, &c.varies)) ||
            mlc_graph_is_output(g, node->out[0]))
            break;
        rest[c.n++] = node;
    }
    const mlc_value *y = rescale->out[0];
    for (int64_t i = 0, n = mlc_shape_elements(&y->shape); i < n; i++) {
        c.first = y->lo[i] < c.first ? y->lo[i] : c.first;
        c.last = y->hi[i] > c.last ? y->hi[i] : c.last;
    }
    return c;
}

static mlc_value *constant(mlc_graph *g, const int64_t *x, const mlc_shape *shape) {
    mlc_tensor *t = mlc_tensor_create(g->arena, MLC_INT64, shape);
    memcpy(t->i, x, (size_t)mlc_shape_elements(shape) * sizeof *x);
    return mlc_graph_constant(g, NULL, t);
}

/* What the chain behind the Rescale makes of n numbers x at `element`: each node's
 * own evaluation, on a vector of them. */
static const int64_t *evaluate(mlc_graph *g, const chain *c, int64_t element, const int64_t *x, int64_t n) {
    mlc_value vector = {.shape = {.rank = 1, .dim = {n}}}, scalar = {.shape = {.rank = 0}};
    const mlc_value *from = c->rescale->out[0];
    for (int k = 0; k < c->n; k++) {
        mlc_node *node = c->rest[k];
        if (mlc_is_reshape(node)) {
            from = node->out[0];
            continue;
        }
        mlc_value *in[3], *out = &vector;
        const int64_t *data[3];
        for (int j = 0; j < node->n_in; j++) {
            const mlc_value *v = node->in[j];
            bool whole = is_whole(node, j);
            in[j] = v == from ? &vector : whole ? node->in[j] : &scalar;
            data[j] = v == from ? x : v->constant->i;
            if (v != from && !whole)
                data[j] += mlc_shape_broadcast_index(&v->shape, &node->out[0]->shape, element);
        }
        mlc_node alike = *node;
        alike.in = in;
        alike.out = &out;
        int64_t *y = MLC_NEW_ARRAY(g->arena, n, int64_t);
        node->op->eval_int(&alike, data, y);
        x = y;
        from = node->out[0];
    }
    return x;
}

/* Nodes are only asked about what elements reach: other numbers are outside their
 * domains. A number between takes the place of the reached one before it. */
static const int64_t *tabulate_alike(mlc_graph *g, const chain *c) {
    const mlc_value *y = c->rescale->out[0];
    int64_t n = c->last - c->first + 1, begun = 0, *x = MLC_NEW_ARRAY(g->arena, n, int64_t),
            *change = MLC_NEW_ARRAY(g->arena, n + 1, int64_t);
    for (int64_t e = 0; e < mlc_shape_elements(&y->shape); e++) {
        change[y->lo[e] - c->first]++;
        change[y->hi[e] - c->first + 1]--;
    }
    for (int64_t i = 0; i < n; i++) {
        begun += change[i];
        x[i] = begun ? c->first + i : x[i - 1];
    }
    return evaluate(g, c, 0, x, n);
}

/* NULL where two elements that reach the same number make different things of it. */
static const int64_t *tabulate_each(mlc_graph *g, const chain *c) {
    const mlc_value *y = c->rescale->out[0];
    int64_t n = c->last - c->first + 1, *table = MLC_NEW_ARRAY(g->arena, n, int64_t);
    bool *known = MLC_NEW_ARRAY(g->arena, n, bool), same = true;
    for (int64_t e = 0; e < mlc_shape_elements(&y->shape) && same; e++) {
        mlc_arena_mark mark = mlc_arena_save(g->arena);
        int64_t at = y->lo[e] - c->first, count = y->hi[e] - y->lo[e] + 1,
                *x = MLC_NEW_ARRAY(g->arena, count, int64_t);
        for (int64_t i = 0; i < count; i++)
            x[i] = y->lo[e] + i;
        const int64_t *own = evaluate(g, c, e, x, count);
        for (int64_t i = 0; i < count; i++) {
            same = same && (!known[at + i] || table[at + i] == own[i]);
            table[at + i] = own[i];
            known[at + i] = true;
        }
        mlc_arena_restore(g->arena, mark);
    }
    for (int64_t i = 1; i < n; i++)
        table[i] = known[i] ? table[i] : table[i - 1];
    return same ? table : NULL;
}

/* The table that holds for all elements; NULL where there is none. */
static const int64_t *tabulate(mlc_graph *g, const chain *c) {
    int64_t n = c->last - c->first + 1, elements = mlc_shape_elements(&c->end->shape);
    if (!c->varies)
        return tabulate_alike(g, c);
    return n * elements > MAX_WORK ? NULL : tabulate_each(g, c);
}

static int64_t bytes_of(const mlc_lookup *t) {
    int64_t lo = 0, hi = 0;
    for (int64_t i = 0; i < t->n; i++) {
        lo = t->entry[i] < lo ? t->entry[i] : lo;
        hi = t->entry[i] > hi ? t->entry[i] : hi;
    }
    bool one = lo < 0 ? lo >= INT8_MIN && hi <= INT8_MAX : hi <= UINT8_MAX,
         two = lo < 0 ? lo >= INT16_MIN && hi <= INT16_MAX : hi <= UINT16_MAX;
    return t->n * (one ? 1 : two ? 2 : 8);
}

/* Requantize(x) in place of the chain. */
static void replace(mlc_graph *g, const chain *c, mlc_value *x, mlc_value *shift, const mlc_lookup *table) {
    mlc_shape size = {.rank = 1, .dim = {table->n}};
    mlc_value *in[3] = {x, shift, constant(g, table->entry, &size)};
    mlc_value *out = mlc_value_like(g, c->end, &x->shape);
    mlc_node *node = mlc_graph_insert(g, c->rescale, mlc_iop("Requantize"), NULL, in, 3, &out, 1);
    node->origin = c->rescale->origin;
    mlc_attr_set_int(g, node, "first", table->first);
    if (!mlc_shape_equal(&x->shape, &c->end->shape)) /* the chain gave it another shape */
        out = mlc_insert_identity(g, c->rescale, out, c->end)->out[0];
    mlc_graph_replace(g, c->end, out);
}

/* Shifts in a shape that broadcasts to the dot product's output. */
static mlc_value *shifts(mlc_graph *g, const mlc_node *dot, const int64_t *shift) {
    mlc_shape shape = dot->out[0]->shape;
    bool conv = dot->op == mlc_iop("Conv");
    for (int d = 0; d < shape.rank; d++)
        shape.dim[d] = d == (conv ? 1 : shape.rank - 1) ? dot->in[1]->shape.dim[0] : 1;
    return constant(g, shift, &shape);
}

static mlc_value *bias(mlc_graph *g, const mlc_node *dot, const int64_t *addend) {
    const mlc_value *old = dot->in[2];
    int64_t channels = dot->in[1]->shape.dim[0], *x = MLC_NEW_ARRAY(g->arena, channels, int64_t);
    for (int64_t n = 0; n < channels; n++)
        if (__builtin_add_overflow(old->constant->i[n], addend[n], &x[n]))
            return NULL;
    return constant(g, x, &old->shape);
}

/* The Rescale goes into the dot product. */
static bool fuse_dot(mlc_graph *g, const chain *c, const mlc_lookup *table) {
    mlc_folded f;
    if (!mlc_fold_rescale(g, c->dot, c->rescale, table, &f) || bytes_of(&f.table) > MLC_MOST_TABLE)
        return false;
    mlc_value *moved = bias(g, c->dot, f.addend), *old = c->dot->in[2];
    if (!moved)
        return false;
    c->dot->in[2] = moved;
    mlc_attr_set_ints(g, c->dot, "align", f.shift, c->dot->in[1]->shape.dim[0]);
    static const char *const choices[] = {"words", "chunks"}; /* aligned lanes may no longer fit */
    for (int k = 0; k < 2; k++)
        if (mlc_attr_find(c->dot, choices[k]))
            mlc_attr_set_ints(g, c->dot, choices[k], NULL, 0);
    if (!mlc_interval_provable(g, c->dot)) { /* the addend or the alignment leaves a sum no room */
        c->dot->in[2] = old;
        mlc_attr_set_ints(g, c->dot, "align", NULL, 0);
        mlc_interval_provable(g, c->dot);
        return false;
    }
    replace(g, c, c->dot->out[0], shifts(g, c->dot, f.shift), &f.table);
    return true;
}

/* The Rescale keeps its multiplier; its addend becomes such that the table begins at 0. */
static void split(mlc_graph *g, const chain *c, const mlc_lookup *table) {
    mlc_node *r = c->rescale;
    int64_t n = mlc_shape_elements(&r->in[2]->shape), shift = mlc_attr_int(r, "shift", 0), begin,
            *addend = MLC_NEW_ARRAY(g->arena, n + 1, int64_t);
    if (__builtin_mul_overflow(c->first, (int64_t)1 << shift, &begin))
        return;
    for (int64_t i = 0; i < n; i++)
        if (__builtin_sub_overflow(r->in[2]->constant->i[i], begin, &addend[i]))
            return;
    mlc_value *in[3] = {r->in[0], r->in[1], constant(g, addend, &r->in[2]->shape)};
    mlc_value *x = mlc_value_like(g, r->out[0], &r->out[0]->shape);
    mlc_node *unshifted = mlc_graph_insert(g, r, r->op, NULL, in, 3, &x, 1);
    unshifted->origin = r->origin;
    if (!mlc_interval_provable(g, unshifted))
        return; /* nobody reads it */
    replace(g, c, x, constant(g, &shift, &(mlc_shape){0}),
            &(mlc_lookup){.entry = table->entry, .n = table->n});
}

static void fuse(mlc_graph *g, const chain *c) {
    if (c->first > c->last || (uint64_t)c->last - (uint64_t)c->first >= MLC_MOST_TABLE)
        return;
    mlc_lookup table = {.entry = tabulate(g, c), .first = c->first, .n = c->last - c->first + 1};
    if (!table.entry || bytes_of(&table) > MLC_MOST_TABLE)
        return;
    if ((!c->dot || !fuse_dot(g, c, &table)) && c->n > 0)
        split(g, c, &table);
}

mlc_graph *mlc_pass_requantize(mlc_graph *g, mlc_pass_context *context) {
    if (context->options->opt_level < '2')
        return g;
    int *uses = mlc_graph_uses(g, g->arena), n = g->n_values;
    MLC_FOR_NODES (g, node) {
        if (node->op != mlc_iop("Rescale") || node->out[0]->id >= n || mlc_graph_is_output(g, node->out[0]))
            continue;
        chain c = find_chain(g, node, uses);
        fuse(g, &c);
    }
    mlc_graph_sweep(g);
    return mlc_update_intervals(g) ? g : NULL;
}
