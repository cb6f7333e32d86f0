/*
 * -O3: several ways to make the code, of which the kernel's time decides. Where
 * mlc-run may not load programs, the cost model does (mlc/cost.h).
 */
#include "Mlc.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Unrolled code of more instructions takes LLVM too long for one of several. */
enum { MOST_UNROLLED = 40000 };

/* A candidate replaces one before it only if it takes less than this share of its time:
 * two measurements of one object differ by as much. */
static const double clearly = 0.98;

/* By the cost model, candidates that take longer than so many times the best are not measured. */
static const double hopeless = 1.5;

typedef struct candidate {
    mlc_unroll unroll;
    mlc_constants constants;
    mlc_result result;
} candidate;

typedef struct search {
    candidate candidates[BENCH_MOST];
    int n;
} search;

static void ignore(void *user, mlc_severity severity, const char *line) {
    (void)user;
    (void)severity;
    (void)line;
}

static bool is_known(const search *s, const mlc_result *result) {
    for (int i = 0; i < s->n; i++)
        if (s->candidates[i].result.size == result->size &&
            memcmp(s->candidates[i].result.data, result->data, result->size) == 0)
            return true;
    return false;
}

/* Compiles a candidate, keeps it if it is new. The first one's errors are the user's. */
static bool try_candidate(search *s, const arguments *a, mlc_unroll unroll, mlc_constants constants) {
    arguments one = *a;
    one.options.unroll = unroll;
    one.options.constants = constants;
    one.options.emit = MLC_EMIT_OBJ;
    one.options.print_after = NULL;
    one.options.report = true;
    mlc_diag diag = {.sink = s->n ? ignore : NULL};
    candidate c = {.unroll = unroll, .constants = constants};
    if (!mlc_compile(&one.options, &diag, &c.result))
        return false;
    if (is_known(s, &c.result))
        mlc_result_free(&c.result);
    else
        s->candidates[s->n++] = c;
    return true;
}

/* What the command line leaves open is tried; what it usually is comes first. */
static bool collect(search *s, const arguments *a) {
    const mlc_options *o = &a->options;
    static const mlc_constants places[] = {MLC_CONSTANTS_MEMORY, MLC_CONSTANTS_IMMEDIATE};
    for (int u = MLC_UNROLL_AUTO; u <= MLC_UNROLL_NONE; u++)
        for (int k = 0; k < 2; k++) {
            if ((o->unroll != MLC_UNROLL_AUTO && u != (int)o->unroll) ||
                (o->constants != MLC_CONSTANTS_AUTO && places[k] != o->constants))
                continue;
            bool first = s->n == 0;
            if (!first && u == MLC_UNROLL_FULL && s->candidates[0].result.stats.executed > MOST_UNROLLED)
                continue;
            if (!try_candidate(s, a, (mlc_unroll)u, places[k]) && first)
                return false;
        }
    return true;
}

static double estimate(const candidate *c) {
    return c->result.stats.ns;
}

static int best_estimate(const search *s) {
    int best = 0;
    for (int i = 1; i < s->n; i++)
        if (estimate(&s->candidates[i]) < clearly * estimate(&s->candidates[best]))
            best = i;
    return best;
}

/* -1: nothing could be measured. */
static int best_measured(search *s, bool packets, const char *argv0, double *ns) {
    bench b;
    if (!bench_open(&b, argv0))
        return -1;
    int index[BENCH_MOST], best = -1;
    double limit = hopeless * estimate(&s->candidates[best_estimate(s)]);
    bool ok = true;
    for (int i = 0; i < s->n && ok; i++)
        if (i == 0 || estimate(&s->candidates[i]) <= limit) {
            index[b.n] = i;
            ok = bench_add(&b, &s->candidates[i].result);
        }
    if (ok && bench_run(&b, packets))
        for (int i = 0; i < b.n; i++)
            if (!isnan(b.ns[i]) && (best < 0 || b.ns[i] < clearly * b.ns[best]))
                best = i;
    if (best >= 0)
        *ns = b.ns[best];
    bench_close(&b);
    return best < 0 ? -1 : index[best];
}

static bool has_code(const mlc_options *o) {
    return o->emit <= MLC_EMIT_LLVM_IR && !o->stop_after && strcmp(o->target, "host") != 0;
}

bool choose_code(arguments *a, const char *argv0) {
    search *s = calloc(1, sizeof *s);
    if (!s) {
        fprintf(stderr, "mlc: error: out of memory\n");
        return false;
    }
    bool ok = !has_code(&a->options) || collect(s, a);
    if (ok && s->n) {
        double ns = 0;
        int best = best_measured(s, strcmp(a->options.target, "bpf-xdp") == 0, argv0, &ns);
        bool measured = best >= 0;
        if (!measured)
            best = best_estimate(s);
        const candidate *c = &s->candidates[best];
        a->options.unroll = c->unroll;
        a->options.constants = c->constants;
        int n = snprintf(a->choice, sizeof a->choice, "-O2 --unroll=%s --constants=%s",
                         unroll_names[c->unroll], constants_names[c->constants]);
        if (a->verbose && measured)
            fprintf(stderr, "mlc: %.*s: the fastest of %d, measured %.0f ns\n", n, a->choice, s->n, ns);
        else if (a->verbose)
            fprintf(stderr,
                    "mlc: %.*s: the fastest of %d by the cost model, estimated %.0f ns; to measure them, "
                    "mlc-run must be at hand and allowed to load programs (root, or CAP_BPF and "
                    "CAP_NET_ADMIN)\n",
                    n, a->choice, s->n, estimate(c));
    }
    for (int i = 0; i < s->n; i++)
        mlc_result_free(&s->candidates[i].result);
    free(s);
    return ok;
}
