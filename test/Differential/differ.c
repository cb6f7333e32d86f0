/*
 * Graphs of stage INTEGER through every implementation: the reference evaluator,
 * the host image and the kernel, at every optimization level, bit for bit.
 *
 *   differ [--levels=0123srm] [--mcpu=v1|..|v4|any] [--samples=N] [--seed=N] [--no-kernel]
 *          [--reference=OTHER.graph] FILE.graph...
 *
 * Level r is -O2 --unroll=none, m that with --kernel=6.9, on kernels that have it. With --reference, OTHER is
 * evaluated in place of FILE: to see that a difference is seen.
 *
 * Each difference is one line. Exit status: 0 all agree; 1 a difference; 3 a
 * graph does not compile or load; 2 a file is no valid graph.
 *
 * REQUIRES: x86_64
 * RUN: mlc-opt --generate=graph --nodes=12 --seed=1 > %t.graph
 * RUN: %build/test/Differential/differ --no-kernel %t.graph | count 0
 */
#include "mlc/mlc.h"
#include "mlc/pass.h"
#include "mlc/rng.h"

#include "Object.h"

#include <getopt.h>
#include <inttypes.h>

typedef struct test {
    const char *levels, *mcpu, *path, *reference;
    int samples;
    uint64_t seed;
    bool kernel, v4, may_goto;
    mlc_graph *g;
    const int64_t ***in;  /* [sample][graph input] */
    const int64_t ***out; /* [sample][value id] of the reference */
} test;

enum { AGREE = 0, DIFFER = 1, INVALID = 2, REFUSED = 3 };

static int64_t elements(const mlc_value *v) {
    return mlc_shape_elements(&v->shape);
}

/* Corners first, then a mixture of both ends, their neighbours, zero and anything between. */
static int64_t draw(mlc_rng *rng, int64_t lo, int64_t hi, int sample) {
    switch (sample < 2 ? sample : sample % 2 ? 8 : mlc_rng_range(rng, 0, 8)) {
    case 0:
        return lo;
    case 1:
        return hi;
    case 2:
        return lo < hi ? lo + 1 : lo;
    case 3:
        return lo < hi ? hi - 1 : hi;
    case 4:
        return lo <= 0 && hi >= 0 ? 0 : lo;
    case 5:
        return mlc_rng_range(rng, 0, 1) ? lo : hi;
    default:
        return mlc_rng_range(rng, lo, hi);
    }
}

static void evaluate(test *t) {
    mlc_graph *g = t->g;
    mlc_rng rng = {t->seed};
    t->in = MLC_NEW_ARRAY(g->arena, t->samples, const int64_t **);
    t->out = MLC_NEW_ARRAY(g->arena, t->samples, const int64_t **);
    for (int s = 0; s < t->samples; s++) {
        t->in[s] = MLC_NEW_ARRAY(g->arena, g->n_inputs + 1, const int64_t *);
        for (int k = 0; k < g->n_inputs; k++) {
            const mlc_value *v = g->inputs[k];
            int64_t *x = MLC_NEW_ARRAY(g->arena, elements(v) + 1, int64_t);
            for (int64_t i = 0; i < elements(v); i++)
                x[i] = draw(&rng, v->lo[i], v->hi[i], s);
            t->in[s][k] = x;
        }
        t->out[s] = mlc_eval_int(g, t->in[s], g->arena);
    }
}

static bool matches(const test *t, const object *o, char level, const char *mcpu, const char *side,
                    uint8_t *out) {
    for (int s = 0; s < t->samples; s++) {
        for (int k = 0; k < t->g->n_outputs; k++) {
            const mlc_value *v = t->g->outputs[k];
            const int64_t *wanted = t->out[s][v->id];
            int64_t *x = MLC_NEW_ARRAY(t->g->arena, elements(v) + 1, int64_t);
            object_tensor(o, "outputs", (size_t)k, out + (size_t)s * o->out_size, elements(v), NULL, x);
            for (int64_t i = 0; i < elements(v); i++) {
                if (x[i] == wanted[i])
                    continue;
                printf("%s: -O%c -mcpu=%s %s: output '%s'[%" PRId64 "], sample %d: %" PRId64
                       ", reference %" PRId64 "\n",
                       t->path, level, mcpu, side, mlc_escape(v->name), i, s, x[i], wanted[i]);
                return false;
            }
        }
    }
    return true;
}

/* Every value the reference computes lies in its proven interval. */
static bool inside_intervals(const test *t) {
    for (int s = 0; s < t->samples; s++) {
        for (int k = 0; k < t->g->n_values; k++) {
            const mlc_value *v = t->g->values[k];
            for (int64_t i = 0; t->out[s][k] && v->lo && i < elements(v); i++) {
                if (t->out[s][k][i] >= v->lo[i] && t->out[s][k][i] <= v->hi[i])
                    continue;
                printf("%s: reference: value '%s'[%" PRId64 "], sample %d: %" PRId64 " is outside %" PRId64
                       "..%" PRId64 "\n",
                       t->path, mlc_escape(v->name), i, s, t->out[s][k][i], v->lo[i], v->hi[i]);
                return false;
            }
        }
    }
    return true;
}

static int run_object(test *t, const object *o, char level, const char *mcpu) {
    size_t n = (size_t)t->samples;
    uint8_t *in = mlc_arena_alloc(t->g->arena, n * o->in_size + 8);
    uint8_t *out = mlc_arena_alloc(t->g->arena, n * o->out_size + 8);
    for (size_t s = 0; s < n; s++)
        for (int k = 0; k < t->g->n_inputs; k++)
            object_tensor(o, "inputs", (size_t)k, in + s * o->in_size, elements(t->g->inputs[k]), t->in[s][k],
                          NULL);
    object_run_host(o, in, out, n);
    int result = matches(t, o, level, mcpu, "host", out) ? AGREE : DIFFER;
    memset(out, 0x5a, n * o->out_size);
    if (!t->kernel)
        return result;
    if (!object_run_kernel(o, in, out, (uint32_t)n)) {
        printf("%s: -O%c -mcpu=%s kernel: the program does not load or run\n", t->path, level, mcpu);
        return REFUSED;
    }
    return matches(t, o, level, mcpu, "kernel", out) ? result : DIFFER;
}

static int run_level(test *t, char level) {
    static const char *const mcpus[] = {"v3", "v2", "v1", "v4"};
    const char *mcpu = t->mcpu;
    if (strcmp(mcpu, "any") == 0)
        mcpu = mcpus[(t->seed + (uint64_t)level) % (t->v4 ? 4 : 3)];
    mlc_options options;
    mlc_options_init(&options);
    options.input = t->path;
    options.target = "bpf-raw";
    bool rolled = level == 'r' || level == 'm';
    options.opt_level = rolled ? '2' : level;
    options.unroll = rolled ? MLC_UNROLL_NONE : MLC_UNROLL_AUTO;
    if (level == 'm')
        options.kernel = MLC_KERNEL(6, 9);
    options.mcpu = mcpu;
    mlc_diag diag = {0};
    mlc_result result;
    if (!mlc_compile(&options, &diag, &result)) {
        printf("%s: -O%c -mcpu=%s: does not compile\n", t->path, level, mcpu);
        return REFUSED;
    }
    object o;
    object_open(&o, result.data, result.size);
    int status = run_object(t, &o, level, mcpu);
    object_close(&o);
    mlc_result_free(&result);
    return status;
}

static int run_file(test *t) {
    mlc_diag diag = {.file = t->path};
    mlc_arena *arena = mlc_arena_create((size_t)1 << 31);
    if (!arena)
        abort();
    int status = INVALID;
    t->g = mlc_graph_read(arena, &diag, t->reference ? t->reference : t->path);
    if (t->g && t->g->stage != MLC_INTEGER)
        mlc_error(&diag, "is not of stage INTEGER");
    else if (t->g && mlc_graph_verify(t->g)) {
        evaluate(t);
        status = inside_intervals(t) ? AGREE : DIFFER;
        for (const char *level = t->levels; *level; level++) {
            int s = *level == 'm' && !t->may_goto ? AGREE : run_level(t, *level);
            status = status == AGREE || s == DIFFER ? s : status;
        }
    }
    mlc_arena_destroy(arena);
    return status;
}

static int print_warnings(enum libbpf_print_level level, const char *format, va_list args) {
    return level == LIBBPF_WARN ? vfprintf(stderr, format, args) : 0;
}

static int usage(void) {
    fprintf(stderr,
            "usage: differ [--levels=0123srm] [--mcpu=any] [--samples=N] [--seed=N] [--no-kernel] FILE...\n");
    return INVALID;
}

int main(int argc, char **argv) {
    static const struct option options[] = {{"levels", required_argument, NULL, 'l'},
                                            {"mcpu", required_argument, NULL, 'm'},
                                            {"samples", required_argument, NULL, 'n'},
                                            {"seed", required_argument, NULL, 's'},
                                            {"no-kernel", no_argument, NULL, 'k'},
                                            {"reference", required_argument, NULL, 'r'},
                                            {0}};
    test t = {.levels = "0123srm", .mcpu = "any", .samples = 64, .kernel = true};
    uint64_t seed = 1;
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (c) {
        case 'l':
            t.levels = optarg;
            break;
        case 'm':
            t.mcpu = optarg;
            break;
        case 'n':
            t.samples = atoi(optarg);
            break;
        case 's':
            seed = strtoull(optarg, NULL, 0);
            break;
        case 'k':
            t.kernel = false;
            break;
        case 'r':
            t.reference = optarg;
            break;
        default:
            return usage();
        }
    }
    if (optind == argc || t.samples < 1)
        return usage();
    libbpf_set_print(print_warnings);
    t.v4 = !t.kernel || kernel_has_v4();
    t.may_goto = !t.kernel || kernel_has_may_goto();
    int status = AGREE;
    for (int i = optind; i < argc; i++) {
        t.path = argv[i];
        t.seed = seed + (uint64_t)(i - optind);
        int s = run_file(&t);
        if (s != AGREE)
            printf("%s: %s (--seed=%" PRIu64 ")\n", t.path,
                   s == DIFFER    ? "DIFFERS"
                   : s == REFUSED ? "REFUSED"
                                  : "INVALID",
                   t.seed);
        fflush(stdout);
        status = status == AGREE || s == DIFFER ? s : status;
    }
    return status;
}
