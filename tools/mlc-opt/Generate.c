/*
 * Random graphs of stage INTEGER, valid by construction, from nothing but the
 * registry: an op makes a random instance of itself with inputs of its own, and
 * a graph grows by feeding these inputs from values that are already there.
 */
#include "Opt.h"

#include "mlc/npz.h"
#include "mlc/op.h"
#include "mlc/rng.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* Instances of one op in a graph: one object then tests several. */
enum { INSTANCES = 6, MAX_NODES = 24 };

static bool chance(mlc_rng *rng, int n) {
    return mlc_rng_range(rng, 1, n) == 1;
}

static void discard(void *user, mlc_severity severity, const char *line) {
    (void)user, (void)severity, (void)line;
}

/* Computes the interval of the node's output from those of its inputs; false where it is not valid. */
static bool settle(mlc_graph *g, mlc_node *node) {
    mlc_diag quiet = {.sink = discard}, *diag = g->diag;
    mlc_value *out = node->out[0];
    g->diag = &quiet;
    bool ok = node->op->check(g, node);
    if (ok && !out->lo) {
        out->lo = MLC_NEW_ARRAY(g->arena, mlc_shape_elements(&out->shape), int64_t);
        out->hi = MLC_NEW_ARRAY(g->arena, mlc_shape_elements(&out->shape), int64_t);
    }
    ok = ok && node->op->interval(g, node);
    g->diag = diag;
    return ok;
}

static mlc_value *constant(mlc_graph *g, const int64_t *x, const mlc_shape *shape) {
    mlc_tensor *t = mlc_tensor_create(g->arena, MLC_INT64, shape);
    memcpy(t->i, x, (size_t)mlc_shape_elements(shape) * sizeof *x);
    mlc_value *v = mlc_graph_constant(g, NULL, t);
    v->scale = 1;
    return v;
}

/* op(a, b) in front of `before`; NULL where that is not valid, or a is NULL. */
static mlc_value *adapt(mlc_graph *g, mlc_node *before, const char *op, mlc_value *a, const int64_t *b,
                        const mlc_shape *shape) {
    if (!a)
        return NULL;
    mlc_value *in[2] = {a, constant(g, b, shape)}, *out = mlc_graph_value(g, NULL);
    out->scale = 1;
    out->dtype = MLC_INT64;
    mlc_node *node = mlc_graph_insert(g, before, mlc_iop(op), NULL, in, 2, &out, 1);
    if (settle(g, node))
        return out;
    mlc_graph_remove(g, node);
    return NULL;
}

/* Elements of `x`, at random, in the shape of `like`. */
static mlc_value *reshaped(mlc_graph *g, mlc_rng *rng, mlc_node *before, mlc_value *x,
                           const mlc_value *like) {
    if (mlc_shape_equal(&x->shape, &like->shape) && !chance(rng, 8))
        return x;
    int64_t n = mlc_shape_elements(&like->shape), have = mlc_shape_elements(&x->shape);
    if (have == 0)
        return NULL;
    int64_t *index = MLC_NEW_ARRAY(g->arena, n, int64_t), start = mlc_rng_range(rng, 0, have - 1);
    bool in_order = chance(rng, 2);
    for (int64_t i = 0; i < n; i++)
        index[i] = in_order ? (start + i) % have : mlc_rng_range(rng, 0, have - 1);
    return adapt(g, before, "Gather", x, index, &like->shape);
}

static mlc_value *clamped(mlc_graph *g, mlc_node *before, mlc_value *x, const mlc_value *like) {
    return adapt(g, before, "Min", adapt(g, before, "Max", x, like->lo, &like->shape), like->hi,
                 &like->shape);
}

static mlc_value *shifted(mlc_graph *g, mlc_rng *rng, mlc_node *before, mlc_value *x) {
    int64_t *bits = MLC_NEW(g->arena, int64_t);
    *bits = mlc_rng_range(rng, 1, 48);
    return adapt(g, before, "ShiftRight", x, bits, &(mlc_shape){0});
}

/* Lets `node` read `x` instead of the graph input `fresh`; undone where the node is not valid then. */
static bool rewire(mlc_graph *g, mlc_node *node, const mlc_value *fresh, mlc_value *x) {
    if (!x)
        return false;
    mlc_value **before = MLC_NEW_ARRAY(g->arena, node->n_in, mlc_value *);
    memcpy(before, node->in, (size_t)node->n_in * sizeof *before);
    for (int k = 0; k < node->n_in; k++)
        if (node->in[k] == fresh)
            node->in[k] = x;
    if (settle(g, node))
        return true;
    memcpy(node->in, before, (size_t)node->n_in * sizeof *before);
    settle(g, node);
    return false;
}

/* As it is, brought into the interval that the op chose for itself, or made small first. */
static bool feed(mlc_graph *g, mlc_rng *rng, mlc_node *node, const mlc_value *fresh, mlc_value *source) {
    mlc_value *x = reshaped(g, rng, node, source, fresh);
    return (!chance(rng, 8) && rewire(g, node, fresh, x)) ||
           rewire(g, node, fresh, clamped(g, node, x, fresh)) ||
           rewire(g, node, fresh, clamped(g, node, shifted(g, rng, node, x), fresh));
}

static void remove_input(mlc_graph *g, int k) {
    g->n_inputs--;
    memmove(g->inputs + k, g->inputs + k + 1, (size_t)(g->n_inputs - k) * sizeof *g->inputs);
}

/* An input or a node's output that was there before `node`; recent ones more often. */
static mlc_value *pick(mlc_graph *g, mlc_rng *rng, const mlc_node *node, int n_inputs) {
    int n = g->n_nodes - 1, which = (int)mlc_rng_range(rng, 0, n_inputs + n - 1);
    if (chance(rng, 2) && n > 0)
        which = n_inputs + (int)mlc_rng_range(rng, n > 4 ? n - 4 : 0, n - 1);
    if (which < n_inputs)
        return g->inputs[which];
    const mlc_node *from = g->first;
    for (int i = n_inputs; i < which && from->next != node; i++)
        from = from->next;
    return from->out[0];
}

/* Bits of the widest interval of v. */
static int width_of(const mlc_value *v) {
    uint64_t widest = 1;
    for (int64_t i = 0; i < mlc_shape_elements(&v->shape); i++) {
        uint64_t range = (uint64_t)v->hi[i] - (uint64_t)v->lo[i];
        widest = range > widest ? range : widest;
    }
    return 64 - __builtin_clzll(widest);
}

/* Behind a dot product what quantized layers have there, which chance alone hardly
 * ever puts together: a power of two for each channel, a shift, and limits. */
static void append_activation(mlc_graph *g, mlc_rng *rng, const mlc_node *dot) {
    mlc_value *y = dot->out[0];
    mlc_shape shape = y->shape;
    bool conv = strcmp(dot->op->name, "Conv") == 0;
    for (int d = 0; d < shape.rank; d++)
        if (d != (conv ? 1 : shape.rank - 1))
            shape.dim[d] = 1;
    int64_t n = mlc_shape_elements(&shape), width = width_of(y), kept = mlc_rng_range(rng, 1, 12);
    int64_t *multiplier = MLC_NEW_ARRAY(g->arena, n, int64_t), *addend = MLC_NEW_ARRAY(g->arena, n, int64_t);
    for (int64_t i = 0; i < n; i++) {
        multiplier[i] = (int64_t)1 << mlc_rng_range(rng, 0, 2);
        addend[i] = mlc_rng_range(rng, -((int64_t)1 << (width / 2)), (int64_t)1 << (width / 2));
    }
    mlc_value *in[3] = {y, constant(g, multiplier, &shape), constant(g, addend, &shape)},
              *out = mlc_graph_value(g, NULL);
    out->dtype = MLC_INT64;
    out->scale = 1;
    mlc_node *rescale = mlc_graph_insert(g, NULL, mlc_iop("Rescale"), NULL, in, 3, &out, 1);
    mlc_attr_set_int(g, rescale, "shift", width > kept ? width - kept + 2 : 2);
    if (!settle(g, rescale)) {
        mlc_graph_remove(g, rescale);
        return;
    }
    int64_t low = mlc_rng_range(rng, -4, 4), high = low + mlc_rng_range(rng, 0, 300);
    mlc_value *limited = adapt(g, NULL, "Max", out, &low, &(mlc_shape){0});
    if (chance(rng, 2))
        adapt(g, NULL, "Min", limited, &high, &(mlc_shape){0});
}

static void grow(mlc_graph *g, mlc_rng *rng, const mlc_op *op) {
    int n_inputs = g->n_inputs;
    bool any = g->n_nodes > 0;
    mlc_node *node = op->generate(g, rng);
    for (int k = g->n_inputs - 1; any && k >= n_inputs; k--)
        if (!chance(rng, 8) && feed(g, rng, node, g->inputs[k], pick(g, rng, node, n_inputs)))
            remove_input(g, k);
    if ((strcmp(op->name, "Linear") == 0 || strcmp(op->name, "Conv") == 0) && chance(rng, 2))
        append_activation(g, rng, node);
}

/* All values that nothing reads, and some of the others. */
static void choose_outputs(mlc_graph *g, mlc_rng *rng, bool inner) {
    const int *uses = mlc_graph_uses(g, g->arena);
    MLC_FOR_NODES (g, node)
        if (uses[node->out[0]->id] == 0 || (inner && chance(rng, 8)))
            mlc_graph_add_output(g, node->out[0]);
}

mlc_graph *opt_generate(mlc_arena *arena, mlc_diag *diag, const opt_arguments *a, uint64_t seed) {
    mlc_graph *g = mlc_graph_create(arena, diag);
    g->stage = MLC_INTEGER;
    g->name = mlc_arena_printf(arena, "%s.%llu", a->generate, (unsigned long long)seed);
    mlc_rng rng = {seed};
    bool connected = strcmp(a->generate, "graph") == 0;
    int n, count = 0;
    const mlc_op *const *ops = mlc_ops(&n);
    const mlc_op **chosen = MLC_NEW_ARRAY(arena, n + 1, const mlc_op *);
    for (int i = 0; i < n; i++)
        if (ops[i]->generate && (connected || strcmp(a->generate, ops[i]->name) == 0))
            chosen[count++] = ops[i];
    if (count == 0) {
        mlc_error(diag, "no integer op '%s'; --list-int-ops shows them", mlc_escape(a->generate));
        return NULL;
    }
    int nodes = a->nodes ? a->nodes : connected ? (int)mlc_rng_range(&rng, 1, MAX_NODES) : INSTANCES;
    for (int i = 0; i < nodes; i++) {
        const mlc_op *op = chosen[mlc_rng_range(&rng, 0, count - 1)];
        if (connected)
            grow(g, &rng, op);
        else
            op->generate(g, &rng);
    }
    choose_outputs(g, &rng, connected);
    return g;
}

bool opt_generate_files(mlc_arena *arena, mlc_diag *diag, const opt_arguments *a) {
    for (int i = 0; i < a->count; i++) {
        mlc_arena_mark mark = mlc_arena_save(arena);
        mlc_graph *g = opt_generate(arena, diag, a, a->seed + (uint64_t)i);
        if (!g || !mlc_graph_verify(g))
            return false;
        const char *path = mlc_arena_printf(arena, "%s/%s.graph", a->directory, g->name);
        FILE *f = fopen(path, "w");
        if (!f)
            return mlc_error(diag, "%s: %s", mlc_escape(path), strerror(errno));
        bool ok = fputs(mlc_graph_print(g, arena), f) >= 0;
        if (fclose(f) || !ok)
            return mlc_error(diag, "%s: %s", mlc_escape(path), strerror(errno));
        mlc_arena_restore(arena, mark);
    }
    return true;
}

void opt_list_int_ops(void) {
    int n;
    const mlc_op *const *ops = mlc_ops(&n);
    for (int i = 0; i < n; i++)
        if (ops[i]->generate)
            puts(ops[i]->name);
}

/* Corners first: all low, all high, then each element low or high by chance. */
static int64_t draw(mlc_rng *rng, const mlc_value *v, int64_t i, int sample) {
    if (sample == 0)
        return v->lo[i];
    if (sample == 1)
        return v->hi[i];
    if (sample % 2 == 0)
        return mlc_rng_next(rng) & 1 ? v->hi[i] : v->lo[i];
    return mlc_rng_range(rng, v->lo[i], v->hi[i]);
}

bool opt_write_samples(mlc_graph *g, const opt_arguments *a) {
    if (g->stage != MLC_INTEGER)
        return mlc_error(g->diag, "--samples takes a graph of stage INTEGER");
    mlc_rng rng = {a->seed};
    mlc_array *arrays = MLC_NEW_ARRAY(g->arena, g->n_inputs + 1, mlc_array);
    for (int k = 0; k < g->n_inputs; k++) {
        const mlc_value *v = g->inputs[k];
        int64_t n = mlc_shape_elements(&v->shape);
        mlc_shape shape = {.rank = 2, .dim = {a->samples, n}};
        mlc_tensor *t = mlc_tensor_create(g->arena, MLC_INT64, &shape);
        for (int s = 0; s < a->samples; s++)
            for (int64_t i = 0; i < n; i++)
                t->i[s * n + i] = draw(&rng, v, i, s);
        arrays[k] = (mlc_array){.name = v->name, .tensor = t};
    }
    return mlc_npz_write(g->arena, g->diag, a->outputs, arrays, g->n_inputs);
}
