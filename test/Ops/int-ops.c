/*
 * Every integer op of the registry on random instances: results of the reference
 * stay inside the proven intervals, and intervals that admit something undefined
 * are refused. Built with -fsanitize=undefined it also shows that nothing the
 * interval functions accept overflows.
 *
 * RUN: %build/test/Ops/int-ops 300
 */
#include "mlc/op.h"
#include "mlc/rng.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { VECTORS = 24, MAX_INPUTS = 16, SMALL_SPACE = 4096 };

typedef struct instance {
    mlc_graph *g;
    mlc_node *node;
    int64_t n_out;
    int64_t *in[MAX_INPUTS], *out;
    int64_t *seen_lo, *seen_hi;
} instance;

static int failures;

static void fail(const instance *t, const char *what, int64_t element) {
    if (failures++ > 20)
        return;
    printf("%s: %s, element %" PRId64 "\n%s", t->node->op->name, what, element,
           mlc_graph_print(t->g, t->g->arena));
    for (int k = 0; k < t->node->n_in; k++) {
        printf("input %d:", k);
        for (int64_t i = 0; t->in[k] && i < mlc_shape_elements(&t->node->in[k]->shape); i++)
            printf(" %" PRId64, t->in[k][i]);
        printf("\n");
    }
    printf("result %" PRId64 "\n", t->out[element]);
}

static void quiet(void *user, mlc_severity severity, const char *line) {
    (void)user, (void)severity, (void)line;
}

/* One number of input k for each way of drawing them: at the ends, or anywhere. */
static int64_t draw(mlc_rng *rng, int way, int64_t lo, int64_t hi) {
    int64_t which = way < 2 ? way : mlc_rng_range(rng, 0, way % 2 ? 1 : 3);
    return which == 0 ? lo : which == 1 ? hi : mlc_rng_range(rng, lo, hi);
}

static void evaluate(instance *t) {
    t->node->op->eval_int(t->node, (const int64_t *const *)t->in, t->out);
    const mlc_value *out = t->node->out[0];
    for (int64_t i = 0; i < t->n_out; i++) {
        if (t->out[i] < out->lo[i] || t->out[i] > out->hi[i])
            fail(t, "result outside its interval", i);
        if (t->out[i] < t->seen_lo[i])
            t->seen_lo[i] = t->out[i];
        if (t->out[i] > t->seen_hi[i])
            t->seen_hi[i] = t->out[i];
    }
}

static void prepare(instance *t) {
    mlc_arena *arena = t->g->arena;
    const mlc_node *node = t->node;
    if (node->n_in > MAX_INPUTS)
        abort();
    for (int k = 0; k < node->n_in; k++) {
        int64_t n = mlc_shape_elements(&node->in[k]->shape);
        t->in[k] = MLC_NEW_ARRAY(arena, n, int64_t);
        if (node->in[k]->constant)
            memcpy(t->in[k], node->in[k]->constant->i, (size_t)n * sizeof(int64_t));
        for (int j = 0; j < k; j++)
            if (node->in[j] == node->in[k])
                t->in[k] = t->in[j];
    }
    t->n_out = mlc_shape_elements(&node->out[0]->shape);
    t->out = MLC_NEW_ARRAY(arena, t->n_out, int64_t);
    t->seen_lo = MLC_NEW_ARRAY(arena, t->n_out, int64_t);
    t->seen_hi = MLC_NEW_ARRAY(arena, t->n_out, int64_t);
    for (int64_t i = 0; i < t->n_out; i++) {
        t->seen_lo[i] = INT64_MAX;
        t->seen_hi[i] = INT64_MIN;
    }
}

static void sample(instance *t, mlc_rng *rng) {
    for (int way = 0; way < VECTORS; way++) {
        for (int k = 0; k < t->node->n_in; k++) {
            const mlc_value *v = t->node->in[k];
            if (v->constant)
                continue;
            for (int64_t i = 0; i < mlc_shape_elements(&v->shape); i++)
                t->in[k][i] = draw(rng, way, v->lo[i], v->hi[i]);
        }
        evaluate(t);
    }
}

/* Goes to the next combination of inputs, like an odometer. */
static bool next(instance *t) {
    for (int k = 0; k < t->node->n_in; k++) {
        const mlc_value *v = t->node->in[k];
        bool seen = v->constant != NULL;
        for (int j = 0; j < k; j++)
            seen |= t->node->in[j] == v;
        for (int64_t i = 0; !seen && i < mlc_shape_elements(&v->shape); i++) {
            if (t->in[k][i] < v->hi[i]) {
                t->in[k][i]++;
                return true;
            }
            t->in[k][i] = v->lo[i];
        }
    }
    return false;
}

/* Tries all inputs where they are few. Returns whether it did. */
static bool exhaust(instance *t) {
    double space = 1;
    for (int k = 0; k < t->node->n_in; k++) {
        const mlc_value *v = t->node->in[k];
        for (int64_t i = 0; !v->constant && i < mlc_shape_elements(&v->shape); i++) {
            space *= (double)((uint64_t)v->hi[i] - (uint64_t)v->lo[i]) + 1;
            t->in[k][i] = v->lo[i];
        }
    }
    if (space > SMALL_SPACE)
        return false;
    do
        evaluate(t);
    while (next(t));
    return true;
}

/* Intervals of all other ops are exact. The accumulators of a window are not independent. */
static bool may_be_loose(const mlc_node *node) {
    const char *op = node->op->name;
    if (mlc_attr_find(node, "pool"))
        return true;
    static const char *const loose[] = {"ArgMax", "BitAnd", "BitOr", "BitXor"};
    for (size_t i = 0; i < sizeof loose / sizeof loose[0]; i++)
        if (!strcmp(loose[i], op))
            return true;
    return false;
}

static void check_tight(const instance *t) {
    const mlc_value *out = t->node->out[0];
    for (int64_t i = 0; i < t->n_out; i++)
        if (t->seen_lo[i] != out->lo[i] || t->seen_hi[i] != out->hi[i])
            fail(t, "interval is wider than the results", i);
}

/* Intervals that the generator did not choose: refused with a diagnostic, or sound. */
static void disturb(instance *t, mlc_rng *rng) {
    mlc_diag diag = {.sink = quiet};
    t->g->diag = &diag;
    mlc_value *v = t->node->in[mlc_rng_range(rng, 0, t->node->n_in - 1)];
    int64_t n = mlc_shape_elements(&v->shape);
    if (v->constant || !n)
        return;
    int64_t i = mlc_rng_range(rng, 0, n - 1), distance = (int64_t)1 << mlc_rng_range(rng, 0, 62);
    if (v->lo[i] >= INT64_MIN + distance && mlc_rng_range(rng, 0, 1))
        v->lo[i] -= mlc_rng_range(rng, 1, distance);
    if (v->hi[i] <= INT64_MAX - distance && mlc_rng_range(rng, 0, 1))
        v->hi[i] += mlc_rng_range(rng, 1, distance);
    if (t->node->op->check(t->g, t->node) && t->node->op->interval(t->g, t->node))
        sample(t, rng);
    else if (!diag.errors)
        fail(t, "refused without a diagnostic", i);
}

static bool sound_reads(const mlc_node *node) {
    for (int k = 0; k < node->n_in; k++)
        if (node->op->reads && node->op->reads(node, k) < 1)
            return false;
    return !node->op->cost || node->op->cost(node) > 0;
}

static void test_op(const mlc_op *op, long seeds, long first) {
    long exhausted = 0, disturbed = 0;
    for (long seed = first; seed < first + seeds; seed++) {
        mlc_diag diag = {0};
        mlc_arena *arena = mlc_arena_create((size_t)1 << 28);
        if (!arena)
            abort();
        mlc_rng rng = {.state = (uint64_t)seed * 0x2545f4914f6cdd1du};
        instance t = {.g = mlc_graph_create(arena, &diag)};
        t.g->stage = MLC_INTEGER;
        t.node = op->generate(t.g, &rng);
        mlc_graph_add_output(t.g, t.node->out[0]);
        prepare(&t);
        if (!mlc_graph_verify(t.g) || !op->check(t.g, t.node) || !op->interval(t.g, t.node) || diag.errors)
            fail(&t, "the generated graph is not valid", 0);
        if (!sound_reads(t.node))
            fail(&t, "reads or cost below 1", 0);
        sample(&t, &rng);
        if (exhaust(&t)) {
            exhausted++;
            if (!may_be_loose(t.node))
                check_tight(&t);
        }
        for (int i = 0; i < 4; i++, disturbed++)
            disturb(&t, &rng);
        mlc_arena_destroy(arena);
    }
    printf("%-10s %ld instances, %ld of them on all inputs, %ld disturbed\n", op->name, seeds, exhausted,
           disturbed);
}

int main(int argc, char **argv) {
    long seeds = argc > 1 ? strtol(argv[1], NULL, 10) : 300, first = argc > 2 ? strtol(argv[2], NULL, 10) : 1;
    int n, tested = 0;
    const mlc_op *const *ops = mlc_ops(&n);
    for (int i = 0; i < n; i++) {
        if (!mlc_op_is_integer(ops[i]))
            continue;
        test_op(ops[i], seeds, first);
        tested++;
    }
    printf("%d ops, %d failures\n", tested, failures);
    return failures || !tested;
}
