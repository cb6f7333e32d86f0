/*
 * INTEGER: a Rescale and what follows it element by element (Max, Min, Table, ...
 * with constant operands) become one table, over the few numbers that the proven
 * interval leaves behind the shift: Requantize.
 *
 * Behind Linear and Conv, where the Rescale multiplies by powers of two, it goes
 * away altogether, its addend into the bias:
 *
 *   (x * 2^p + c) >> s  ==  (x + (c >> p)) >> (s - p)
 *
 * Elsewhere it stays, without its shift.
 */
#include "Passes.h"

#include "mlc/op.h"

#include <string.h>

/* Bytes of a table. Only the part that values fall into is ever in a cache. */
enum { MAX_TABLE = 65536 };

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
        if ((!mlc_is_identity(node) && !is_elementwise(node, c.end, &c.varies)) ||
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

/* log2 of a positive power of two, else -1. */
static int log2_exact(int64_t x) {
    return x > 0 && (x & (x - 1)) == 0 ? __builtin_ctzll((uint64_t)x) : -1;
}

typedef struct step {
    int64_t addend;
    int shift;
} step;

static int64_t channel_of(const mlc_node *dot, int64_t i) {
    int64_t channels = dot->in[1]->shape.dim[0], elements = mlc_shape_elements(&dot->out[0]->shape);
    int64_t area = dot->op == mlc_iop("Conv") ? elements / channels : 1;
    return i / area % channels;
}

/* The Rescale as an addend and a shift for each channel; NULL where it is not. */
static step *steps_of(mlc_graph *g, const chain *c) {
    const mlc_node *r = c->rescale;
    int64_t channels = c->dot->in[1]->shape.dim[0];
    int shift = (int)mlc_attr_int(r, "shift", 0);
    step *steps = MLC_NEW_ARRAY(g->arena, channels, step);
    bool *seen = MLC_NEW_ARRAY(g->arena, channels, bool);
    for (int64_t i = 0, n = mlc_shape_elements(&r->out[0]->shape); i < n; i++) {
        int64_t channel = channel_of(c->dot, i);
        const mlc_shape *out = &r->out[0]->shape;
        int power = log2_exact(r->in[1]->constant->i[mlc_shape_broadcast_index(&r->in[1]->shape, out, i)]);
        if (power < 0 || power > shift)
            return NULL;
        int64_t addend = r->in[2]->constant->i[mlc_shape_broadcast_index(&r->in[2]->shape, out, i)];
        step s = {.addend = addend >> power, .shift = shift - power};
        if (seen[channel] && (s.addend != steps[channel].addend || s.shift != steps[channel].shift))
            return NULL;
        steps[channel] = s;
        seen[channel] = true;
    }
    return steps;
}

static mlc_value *constant(mlc_graph *g, const int64_t *x, const mlc_shape *shape) {
    mlc_tensor *t = mlc_tensor_create(g->arena, MLC_INT64, shape);
    memcpy(t->i, x, (size_t)mlc_shape_elements(shape) * sizeof *x);
    return mlc_graph_constant(g, NULL, t);
}

/* What the chain behind the Rescale makes of first, first + 1, ..., last at
 * `element`: each node's own evaluation, on a vector of these numbers. */
static const int64_t *tabulate(mlc_graph *g, const chain *c, int64_t element) {
    int64_t n = c->last - c->first + 1, *x = MLC_NEW_ARRAY(g->arena, n, int64_t);
    for (int64_t i = 0; i < n; i++)
        x[i] = c->first + i;
    mlc_value vector = {.shape = {.rank = 1, .dim = {n}}}, scalar = {.shape = {.rank = 0}};
    const mlc_value *from = c->rescale->out[0];
    for (int k = 0; k < c->n; k++) {
        mlc_node *node = c->rest[k];
        if (mlc_is_identity(node)) {
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

/* The table that holds for all elements; NULL where there is none. */
static const int64_t *tabulate_all(mlc_graph *g, const chain *c) {
    int64_t n = c->last - c->first + 1, elements = mlc_shape_elements(&c->end->shape);
    const int64_t *table = tabulate(g, c, 0);
    if (c->varies && n * elements > MAX_WORK)
        return NULL;
    for (int64_t e = 1; c->varies && e < elements; e++) {
        mlc_arena_mark mark = mlc_arena_save(g->arena);
        bool same = memcmp(table, tabulate(g, c, e), (size_t)n * sizeof *table) == 0;
        mlc_arena_restore(g->arena, mark);
        if (!same)
            return NULL;
    }
    return table;
}

static int64_t bytes_of(const int64_t *table, int64_t n) {
    int64_t lo = 0, hi = 0;
    for (int64_t i = 0; i < n; i++) {
        lo = table[i] < lo ? table[i] : lo;
        hi = table[i] > hi ? table[i] : hi;
    }
    bool one = lo < 0 ? lo >= INT8_MIN && hi <= INT8_MAX : hi <= UINT8_MAX,
         two = lo < 0 ? lo >= INT16_MIN && hi <= INT16_MAX : hi <= UINT16_MAX;
    return n * (one ? 1 : two ? 2 : 8);
}

/* Shifts in a shape that broadcasts to the dot product's output; bias with the addends. */
static mlc_value *shifts(mlc_graph *g, const chain *c, const step *steps) {
    int64_t channels = c->dot->in[1]->shape.dim[0];
    mlc_shape shape = c->dot->out[0]->shape;
    bool conv = c->dot->op == mlc_iop("Conv");
    for (int d = 0; d < shape.rank; d++)
        shape.dim[d] = d == (conv ? 1 : shape.rank - 1) ? channels : 1;
    int64_t *x = MLC_NEW_ARRAY(g->arena, channels, int64_t);
    for (int64_t n = 0; n < channels; n++)
        x[n] = steps[n].shift;
    return constant(g, x, &shape);
}

static mlc_value *bias(mlc_graph *g, const chain *c, const step *steps) {
    const mlc_value *old = c->dot->in[2];
    int64_t channels = c->dot->in[1]->shape.dim[0], *x = MLC_NEW_ARRAY(g->arena, channels, int64_t);
    for (int64_t n = 0; n < channels; n++)
        if (__builtin_add_overflow(old->constant->i[n], steps[n].addend, &x[n]))
            return NULL;
    return constant(g, x, &old->shape);
}

/* Requantize(x) in place of the chain. */
static void replace(mlc_graph *g, const chain *c, mlc_value *x, mlc_value *shift, int64_t first,
                    const int64_t *table) {
    mlc_shape size = {.rank = 1, .dim = {c->last - c->first + 1}};
    mlc_value *in[3] = {x, shift, constant(g, table, &size)};
    mlc_value *out = mlc_value_like(g, c->end, &x->shape);
    mlc_node *node = mlc_graph_insert(g, c->rescale, mlc_iop("Requantize"), NULL, in, 3, &out, 1);
    node->origin = c->rescale->origin;
    mlc_attr_set_int(g, node, "first", first);
    if (!mlc_shape_equal(&x->shape, &c->end->shape)) /* the chain gave it another shape */
        out = mlc_insert_identity(g, c->rescale, out, c->end)->out[0];
    mlc_graph_replace(g, c->end, out);
}

/* The Rescale goes into the dot product. */
static bool fuse_dot(mlc_graph *g, const chain *c, const int64_t *table) {
    const step *steps = steps_of(g, c);
    mlc_value *moved = steps ? bias(g, c, steps) : NULL, *old = c->dot->in[2];
    if (!moved)
        return false;
    c->dot->in[2] = moved;
    if (!mlc_interval_provable(g, c->dot)) { /* the addend leaves a partial sum no room */
        c->dot->in[2] = old;
        mlc_interval_provable(g, c->dot);
        return false;
    }
    int64_t channels = c->dot->in[1]->shape.dim[0], *align = MLC_NEW_ARRAY(g->arena, channels, int64_t);
    for (int64_t k = 0; k < channels; k++)
        align[k] = steps[k].shift;
    mlc_attr_set_ints(g, c->dot, "align", align, channels);
    if (mlc_attr_find(c->dot, "words")) /* aligned lanes may no longer fit */
        mlc_attr_set_ints(g, c->dot, "words", NULL, 0);
    replace(g, c, c->dot->out[0], shifts(g, c, steps), c->first, table);
    return true;
}

/* The Rescale keeps its multiplier; its addend becomes such that the table begins at 0. */
static void split(mlc_graph *g, const chain *c, const int64_t *table) {
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
    replace(g, c, x, constant(g, &shift, &(mlc_shape){0}), 0, table);
}

static void fuse(mlc_graph *g, const chain *c) {
    if (c->first > c->last || (uint64_t)c->last - (uint64_t)c->first >= MAX_TABLE)
        return;
    const int64_t *table = tabulate_all(g, c);
    if (!table || bytes_of(table, c->last - c->first + 1) > MAX_TABLE)
        return;
    if ((!c->dot || !fuse_dot(g, c, table)) && c->n > 0)
        split(g, c, table);
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
