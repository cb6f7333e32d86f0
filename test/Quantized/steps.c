/*
 * Step functions: the integer nodes that mlc_q_step builds equal the functions they
 * were made from, for every x of the interval.
 *
 * RUN: %build/test/Quantized/steps
 */
#include "mlc/form.h"
#include "mlc/pass.h"
#include "mlc/rng.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CAP = 1 << 30, CLASSES = 3 };

static int failures, fits, tables, searches, constants;
static mlc_rng rng = {1};

static void print_line(void *user, mlc_severity severity, const char *line) {
    (void)user, (void)severity;
    puts(line);
}

typedef struct setup {
    mlc_arena *arena;
    mlc_diag diag;
    mlc_quant q;
    jmp_buf full;
} setup;

static void begin(setup *s) {
    memset(s, 0, sizeof *s);
    s->arena = mlc_arena_create(CAP);
    s->diag.sink = print_line;
    s->q.arena = s->arena;
    s->q.diag = &s->diag;
    s->q.from = mlc_graph_create(s->arena, &s->diag);
    s->q.to = mlc_graph_create(s->arena, &s->diag);
    s->q.to->stage = MLC_INTEGER;
}

/* A graph input of `rows` rows of n elements, those of row c in [lo[c], hi[c]]. */
static mlc_value *input(setup *s, int64_t rows, int64_t n, const int64_t *lo, const int64_t *hi) {
    mlc_value *v = mlc_graph_value(s->q.to, NULL);
    v->dtype = MLC_INT64;
    v->shape = (mlc_shape){2, {rows, n}};
    v->shaped = true;
    v->lo = MLC_NEW_ARRAY(s->arena, rows * n, int64_t);
    v->hi = MLC_NEW_ARRAY(s->arena, rows * n, int64_t);
    for (int64_t i = 0; i < rows * n; i++) {
        v->lo[i] = lo[i / n];
        v->hi[i] = hi[i / n];
    }
    mlc_graph_add_input(s->q.to, v);
    return v;
}

static const int64_t *run(setup *s, mlc_value *v, const int64_t *const *inputs) {
    if (v->constant)
        return v->constant->i;
    const int64_t **all = mlc_eval_int(s->q.to, inputs, s->arena);
    return all[v->id];
}

static void count(setup *s, const mlc_value *v) {
    int n = 0;
    MLC_FOR_NODES (s->q.to, node)
        n += strcmp(node->op->name, "Table") == 0;
    ++*(v->constant ? &constants : n > 3 ? &searches : n ? &tables : &fits);
}

static double random_float(double lo_exponent, double hi_exponent) {
    double u = (double)(mlc_rng_next(&rng) >> 11) * 0x1p-53;
    return mlc_dtype_round(MLC_FLOAT, exp2(lo_exponent + (hi_exponent - lo_exponent) * u));
}

/* How the scale of x relates to that of the result: anything, a power of two, or a small fraction. */
static double random_ratio(void) {
    switch (mlc_rng_range(&rng, 0, 2)) {
    case 0:
        return random_float(-14, 1);
    case 1:
        return ldexp(1, (int)mlc_rng_range(&rng, -12, 1));
    default: {
        const double part = (double)mlc_rng_range(&rng, 1, 9);
        return part / (double)mlc_rng_range(&rng, 1, 4000);
    }
    }
}

static const mlc_chain *random_chain(setup *s, mlc_dtype t, double y_scale, int64_t zero, int sign) {
    /* Results of 16 bits come from sums that are as much longer. */
    int64_t least, most;
    mlc_dtype_range(t, &least, &most);
    const double x_scale = sign * y_scale * random_ratio() * (most - least > UINT8_MAX ? 0x1p-5 : 1),
                 offset =
                     mlc_rng_range(&rng, 0, 1) ? y_scale * (double)mlc_rng_range(&rng, -500, 500) / 8 : 0;
    const mlc_chain *sum =
        mlc_chain_linear(&s->q, x_scale, mlc_rng_range(&rng, -300, 300), offset, MLC_FLOAT);
    if (mlc_rng_range(&rng, 0, 1))
        return mlc_chain_quantize(&s->q, sum, y_scale, zero, t, MLC_FLOAT);
    return mlc_chain_grid(&s->q, sum, mlc_dtype_round(MLC_FLOAT, 1 / y_scale), zero, t);
}

/* Compares the nodes of f with its chains at x, n numbers for each class. */
static void verify(setup *s, int trial, const mlc_form *f, const int64_t *x, int64_t n) {
    mlc_value *v = mlc_q_step(&s->q, f);
    if (!v) {
        printf("trial %d: no form for %d classes of %lld numbers of type %s\n", trial, f->n_cls, (long long)n,
               mlc_dtype_name(f->chain[0]->dtype));
        failures++;
    } else {
        count(s, v);
        const int64_t *got = run(s, v, (const int64_t *const[]){x});
        for (int c = 0; c < f->n_cls; c++) {
            const int64_t *want = mlc_chain_eval(s->arena, f->chain[c], x + c * n, NULL, n)->i;
            for (int64_t i = 0; i < n; i++)
                if (got[c * n + i] != want[i] || got[c * n + i] < v->lo[c * n + i] ||
                    got[c * n + i] > v->hi[c * n + i]) {
                    printf("trial %d, class %d: %lld gives %lld instead of %lld\n", trial, c,
                           (long long)x[c * n + i], (long long)got[c * n + i], (long long)want[i]);
                    failures++;
                    break;
                }
        }
    }
}

static void test_classes(int trial) {
    static const mlc_dtype types[] = {MLC_INT8,  MLC_UINT8,  MLC_INT8, MLC_UINT8,
                                      MLC_INT16, MLC_UINT16, MLC_INT4};
    setup s;
    begin(&s);
    const mlc_dtype t = types[mlc_rng_range(&rng, 0, 6)];
    const int n_cls = (int)mlc_rng_range(&rng, 1, CLASSES), sign = mlc_rng_range(&rng, 0, 7) ? 1 : -1;
    const int64_t n =
        mlc_rng_range(&rng, 0, 2) ? mlc_rng_range(&rng, 1, 3000) : mlc_rng_range(&rng, 3000, 60000);
    int64_t lo[CLASSES], hi[CLASSES], zero = mlc_rng_range(&rng, -5, 120);
    const double y_scale = random_float(-10, 2);
    const mlc_chain *chains[CLASSES];
    for (int c = 0; c < n_cls; c++) {
        lo[c] = mlc_rng_range(&rng, -n, n / 2);
        hi[c] = lo[c] + n - 1;
        chains[c] = c && mlc_rng_range(&rng, 0, 2) ? chains[0] : random_chain(&s, t, y_scale, zero, sign);
    }
    int *cls = MLC_NEW_ARRAY(s.arena, n_cls * n, int);
    int64_t *x = MLC_NEW_ARRAY(s.arena, n_cls * n, int64_t);
    for (int64_t i = 0; i < n_cls * n; i++) {
        cls[i] = (int)(i / n);
        x[i] = lo[cls[i]] + i % n;
    }
    mlc_form f = {.x = input(&s, n_cls, n, lo, hi), .n_cls = n_cls, .cls = cls, .chain = chains};
    verify(&s, trial, &f, x, n);
    mlc_arena_destroy(s.arena);
}

/*
 * Steps that no line goes through, too many for tables: (x - zero) * scale is so large beside its
 * sum with the offset that rounding it to a float moves each step by some numbers.
 */
static void test_rough(int trial) {
    enum { N = 4096 };
    setup s;
    begin(&s);
    const int n_cls = (int)mlc_rng_range(&rng, 1, CLASSES), sign = mlc_rng_range(&rng, 0, 1) ? 1 : -1;
    const mlc_dtype t = mlc_rng_range(&rng, 0, 2) ? MLC_INT16 : MLC_INT8;
    const int64_t zero = -((int64_t)1 << 25);
    int64_t lo[CLASSES], hi[CLASSES];
    const mlc_chain *chains[CLASSES];
    for (int c = 0; c < n_cls; c++) {
        lo[c] = mlc_rng_range(&rng, -(1 << 21), 0);
        hi[c] = lo[c] + (1 << 21);
        const double scale = sign * random_float(t == MLC_INT8 ? -13.5 : -6, t == MLC_INT8 ? -13 : -4.5);
        chains[c] = mlc_chain_quantize(
            &s.q,
            mlc_chain_linear(&s.q, scale, zero, mlc_dtype_round(MLC_FLOAT, (double)zero * scale), MLC_FLOAT),
            1, mlc_rng_range(&rng, -9, 9), t, MLC_FLOAT);
    }
    int *cls = MLC_NEW_ARRAY(s.arena, CLASSES * N, int);
    int64_t *x = MLC_NEW_ARRAY(s.arena, CLASSES * N, int64_t);
    for (int64_t i = 0; i < n_cls * N; i++) {
        cls[i] = (int)(i / N);
        x[i] = i % N < 2 ? (i % N ? hi : lo)[cls[i]] : mlc_rng_range(&rng, lo[cls[i]], hi[cls[i]]);
    }
    mlc_form f = {.x = input(&s, n_cls, N, lo, hi), .n_cls = n_cls, .cls = cls, .chain = chains};
    verify(&s, trial, &f, x, N);
    mlc_arena_destroy(s.arena);
}

/* Sums and products of two bytes. */
static void test_pair(int trial) {
    enum { N = 256 };
    setup s;
    begin(&s);
    const bool sum = mlc_rng_range(&rng, 0, 1);
    const double y_scale = random_float(-8, 0);
    double a_scale = y_scale * random_ratio() * 8,
           b_scale = mlc_rng_range(&rng, 0, 3) ? a_scale * random_float(-3, 3) : a_scale;
    a_scale = mlc_dtype_round(MLC_FLOAT, a_scale);
    b_scale = mlc_dtype_round(MLC_FLOAT, b_scale);
    if (!sum)
        b_scale = random_float(-7, -1);
    const int64_t za = mlc_rng_range(&rng, -128, 127), zb = mlc_rng_range(&rng, -128, 127);
    mlc_value *in[2] = {mlc_graph_value(s.q.from, NULL), mlc_graph_value(s.q.from, NULL)},
              *out = mlc_graph_value(s.q.from, NULL);
    const mlc_node *node =
        mlc_graph_insert(s.q.from, NULL, mlc_op_find("", sum ? "Add" : "Mul", 13), NULL, in, 2, &out, 1);
    const mlc_chain *a = mlc_chain_linear(&s.q, a_scale, za, 0, MLC_FLOAT),
                    *b = mlc_chain_linear(&s.q, b_scale, zb, 0, MLC_FLOAT);
    const mlc_tensor *none[2] = {NULL, NULL};
    mlc_chain pair = {.kind = MLC_CHAIN_PAIR,
                      .depth = 2,
                      .dtype = MLC_FLOAT,
                      .node = node,
                      .at = 0,
                      .other_at = 1,
                      .prev = a,
                      .other = b,
                      .constants = none};
    pair.pair = sum ? (mlc_pair){MLC_PAIR_SUM, a_scale, b_scale, za, zb}
                    : (mlc_pair){MLC_PAIR_PRODUCT, a_scale * b_scale, 0, za, zb};
    const mlc_chain *chain =
        mlc_chain_quantize(&s.q, &pair, y_scale, mlc_rng_range(&rng, -128, 127), MLC_INT8, MLC_FLOAT);
    const int64_t lo = -128, hi = 127;
    int64_t *x = MLC_NEW_ARRAY(s.arena, N * N, int64_t), *y = MLC_NEW_ARRAY(s.arena, N * N, int64_t);
    for (int i = 0; i < N * N; i++) {
        x[i] = lo + i / N;
        y[i] = lo + i % N;
    }
    mlc_form *f = mlc_form_simple(&s.q, input(&s, 1, N * N, &lo, &hi), chain);
    f->y = input(&s, 1, N * N, &lo, &hi);
    mlc_value *v = mlc_q_step(&s.q, f);
    if (!v) {
        printf("trial %d: no form for a pair\n", trial);
        failures++;
    } else {
        count(&s, v);
        const int64_t *got = run(&s, v, (const int64_t *const[]){x, y}),
                      *want = mlc_chain_eval(s.arena, chain, x, y, N * N)->i;
        for (int i = 0; i < N * N; i++)
            if (got[i] != want[i]) {
                printf("trial %d: %lld and %lld give %lld instead of %lld\n", trial, (long long)x[i],
                       (long long)y[i], (long long)got[i], (long long)want[i]);
                failures++;
                break;
            }
    }
    mlc_arena_destroy(s.arena);
}

int main(int argc, char **argv) {
    const int trials = argc > 1 ? atoi(argv[1]) : 400;
    for (int i = 0; i < trials; i++)
        test_classes(i);
    printf("classes: %d multiplications, %d tables, %d searches, %d constants\n", fits, tables, searches,
           constants);
    fits = tables = searches = constants = 0;
    for (int i = 0; i < trials / 20; i++)
        test_rough(i);
    printf("rough: %d multiplications, %d tables, %d searches, %d constants\n", fits, tables, searches,
           constants);
    if (!searches)
        failures++;
    fits = tables = constants = 0;
    for (int i = 0; i < trials / 10; i++)
        test_pair(i);
    printf("pairs: %d multiplications, %d tables, %d constants\n", fits, tables, constants);
    return failures != 0;
}
