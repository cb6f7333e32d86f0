/*
 * Random instances of every integer op, printed and read again: the same text,
 * the same intervals, and a graph that verifies.
 *
 * RUN: %build/test/Graph/round-trip 50
 */
#include "mlc/op.h"
#include "mlc/rng.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void ignore(void *user, mlc_severity severity, const char *line) {
    (void)user, (void)severity, (void)line;
}

static bool same_intervals(const mlc_graph *a, const mlc_graph *b) {
    for (int k = 0; k < a->n_values; k++) {
        const mlc_value *v = a->values[k], *w = mlc_graph_find(b, v->name);
        size_t size = (size_t)mlc_shape_elements(&v->shape) * sizeof(int64_t);
        if (v->lo && w && (memcmp(v->lo, w->lo, size) != 0 || memcmp(v->hi, w->hi, size) != 0))
            return false;
    }
    return true;
}

static const char *check(mlc_graph *g, mlc_arena *arena) {
    if (!mlc_graph_verify(g))
        return "the graph does not verify";
    const char *text = mlc_graph_print(g, arena);
    mlc_graph *again = mlc_graph_parse(arena, g->diag, text, strlen(text));
    if (!again)
        return "the text does not parse";
    if (strcmp(text, mlc_graph_print(again, arena)) != 0)
        return "the text differs";
    if (!same_intervals(g, again))
        return "the intervals differ";
    mlc_graph_dot(again, arena);
    mlc_graph_sweep(again);
    return mlc_graph_verify(again) ? NULL : "the graph does not verify after sweeping";
}

/* Returns whether the instance was usable: some have intervals that the op refuses. */
static bool try_one(const mlc_op *op, uint64_t seed, int *failures) {
    mlc_arena *arena = mlc_arena_create((size_t)1 << 30);
    mlc_diag silent = {.sink = ignore}, loud = {.file = "round-trip"};
    mlc_rng rng = {seed};
    mlc_graph *g = mlc_graph_create(arena, &silent);
    g->stage = MLC_INTEGER;
    mlc_node *node = op->generate(g, &rng);
    mlc_value *out = node->out[0];
    bool usable = op->check(g, node);
    if (usable) {
        out->lo = MLC_NEW_ARRAY(arena, mlc_shape_elements(&out->shape), int64_t);
        out->hi = MLC_NEW_ARRAY(arena, mlc_shape_elements(&out->shape), int64_t);
        usable = op->interval(g, node);
    }
    if (usable) {
        g->diag = &loud;
        if (g->n_outputs == 0)
            mlc_graph_add_output(g, out);
        const char *wrong = check(g, arena);
        if (wrong && ++*failures < 10)
            printf("%s, seed %llu: %s\n%s\n", op->name, (unsigned long long)seed, wrong,
                   mlc_graph_print(g, arena));
    }
    mlc_arena_destroy(arena);
    return usable;
}

int main(int argc, char **argv) {
    int rounds = argc > 1 ? atoi(argv[1]) : 50, n, failures = 0;
    const mlc_op *const *ops = mlc_ops(&n);
    for (int k = 0; k < n; k++) {
        if (!mlc_op_is_integer(ops[k]))
            continue;
        int usable = 0;
        for (int i = 0; i < rounds; i++)
            usable += try_one(ops[k], (uint64_t)i, &failures);
        if (usable == 0) {
            printf("%s: no usable instance\n", ops[k]->name);
            failures++;
        }
    }
    return failures > 0;
}
