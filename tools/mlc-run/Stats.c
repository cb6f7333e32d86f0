/* mlc-run stats: an attached filter's counters, and with --interval its rates and cost. */
#include "Pins.h"

#include <argp.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

typedef struct stats_options {
    const char *name, *bpffs;
    double interval; /* seconds; 0: none */
    bool json;
} stats_options;

/* One reading. */
typedef struct snapshot {
    uint64_t *counters; /* summed over CPUs */
    uint64_t run_ns, runs;
    double at; /* seconds */
} snapshot;

typedef struct source {
    const mlc_attachment *attachment;
    int map, n; /* mlc_stats, or -1; its entries */
} source;

static bool open_source(mlc_run *run, const mlc_attachment *a, source *s) {
    *s = (source){.attachment = a,
                  .map = bpf_obj_get(mlc_arena_printf(run->arena, "%s/mlc_stats", a->current))};
    if (s->map < 0)
        return true;
    struct bpf_map_info info = {0};
    __u32 size = sizeof info;
    if (bpf_obj_get_info_by_fd(s->map, &info, &size))
        return mlc_error(&run->diag, "reading mlc_stats: %s", mlc_errno(errno));
    if (info.type != BPF_MAP_TYPE_PERCPU_ARRAY || info.value_size != sizeof(uint64_t))
        return mlc_error(&run->diag, "map mlc_stats is not a per-CPU array of 64-bit counters");
    s->n = (int)info.max_entries;
    return true;
}

static bool take(mlc_run *run, const source *s, snapshot *shot) {
    struct bpf_prog_info info = {0};
    int cpus = libbpf_num_possible_cpus();
    if (cpus < 1)
        return mlc_error(&run->diag, "counting CPUs: %s", mlc_errno(cpus));
    uint64_t *values = MLC_NEW_ARRAY(run->arena, cpus, uint64_t);
    shot->counters = MLC_NEW_ARRAY(run->arena, s->n, uint64_t);
    for (uint32_t i = 0; i < (uint32_t)s->n; i++) {
        if (bpf_map_lookup_elem(s->map, &i, values))
            return mlc_error(&run->diag, "reading mlc_stats: %s", mlc_errno(errno));
        for (int cpu = 0; cpu < cpus; cpu++)
            shot->counters[i] += values[cpu];
    }
    if (s->attachment->program >= 0 && !mlc_program_info(run, s->attachment->program, &info))
        return false;
    shot->run_ns = info.run_time_ns;
    shot->runs = info.run_cnt;
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    shot->at = (double)t.tv_sec + (double)t.tv_nsec / 1e9;
    return true;
}

static void wait_for(double seconds) {
    struct timespec t = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};
    while (nanosleep(&t, &t) && errno == EINTR)
        ;
}

/* NULL for an entry that the program does not use. */
static const char *counter_name(mlc_run *run, const source *s, int i) {
    const mlc_manifest *m = s->attachment->manifest;
    if (m && (i >= m->n_counters || !m->counters[i][0]))
        return NULL;
    if (m)
        return mlc_arena_strdup(run->arena, mlc_escape(m->counters[i]));
    return mlc_arena_printf(run->arena, "counter %d", i);
}

static json_t *report_json(mlc_run *run, const stats_options *o, const source *s, const snapshot *from,
                           const snapshot *to) {
    double seconds = to->at - from->at;
    json_t *counters = json_object(), *rates = json_object();
    for (int i = 0; i < s->n; i++) {
        const char *name = counter_name(run, s, i);
        if (!name)
            continue;
        json_object_set_new(counters, name, json_integer((json_int_t)to->counters[i]));
        if (o->interval > 0)
            json_object_set_new(rates, name,
                                json_real((double)(to->counters[i] - from->counters[i]) / seconds));
    }
    json_t *j =
        json_pack("{s:s,s:s,s:I,s:o}", "name", o->name, "device", mlc_attachment_device(run, s->attachment),
                  "program_id", (json_int_t)s->attachment->info.prog_id, "counters", counters);
    if (o->interval > 0)
        json_object_set_new(j, "per_second", rates);
    else
        json_decref(rates);
    uint64_t runs = to->runs - from->runs;
    json_object_set_new(j, "runs", json_integer((json_int_t)runs));
    json_object_set_new(j, "ns_per_packet",
                        runs ? json_real((double)(to->run_ns - from->run_ns) / (double)runs) : json_null());
    return j;
}

static void report(mlc_run *run, const stats_options *o, const source *s, const snapshot *from,
                   const snapshot *to) {
    double seconds = to->at - from->at;
    printf("%s on %s\n", o->name, mlc_attachment_device(run, s->attachment));
    for (int i = 0; i < s->n; i++) {
        const char *name = counter_name(run, s, i);
        if (!name)
            continue;
        printf("  %-32s %14llu", name, (unsigned long long)to->counters[i]);
        if (o->interval > 0)
            printf(" %12.1f/s", (double)(to->counters[i] - from->counters[i]) / seconds);
        putchar('\n');
    }
    uint64_t runs = to->runs - from->runs;
    if (runs)
        printf("  %.0f ns per packet over %llu packets\n", (double)(to->run_ns - from->run_ns) / (double)runs,
               (unsigned long long)runs);
}

static bool stats(mlc_run *run, const stats_options *o) {
    mlc_attachment a;
    source s;
    if (!mlc_attachment_open(run, o->bpffs, o->name, &a))
        return false;
    /* The kernel times programs as long as this descriptor is open. */
    int timing = o->interval > 0 ? bpf_enable_stats(BPF_STATS_RUN_TIME) : -1;
    if (o->interval > 0 && timing < 0)
        mlc_warning(&run->diag,
                    "no time per packet: %s (CAP_SYS_ADMIN or sysctl kernel.bpf_stats_enabled=1 is needed)",
                    mlc_errno(timing));
    snapshot from = {0}, to = {0};
    bool ok = open_source(run, &a, &s);
    if (ok && o->interval > 0) {
        ok = take(run, &s, &from);
        if (ok)
            wait_for(o->interval);
    } else if (ok) {
        from.counters = MLC_NEW_ARRAY(run->arena, s.n, uint64_t);
    }
    ok = ok && take(run, &s, &to);
    if (ok && o->json)
        mlc_print_json(report_json(run, o, &s, &from, &to));
    else if (ok)
        report(run, o, &s, &from, &to);
    if (timing >= 0)
        close(timing);
    mlc_attachment_close(&a);
    return ok;
}

enum { KEY_INTERVAL = MLC_KEY_FIRST, KEY_BPFFS };

static error_t parse(int key, char *arg, struct argp_state *state) {
    stats_options *o = state->input;
    switch (key) {
    case KEY_INTERVAL:
        o->interval = mlc_option_real(state, "interval", arg);
        if (o->interval <= 0 || o->interval > 86400)
            argp_error(state, "--interval: '%s' is not a number of seconds, above 0 and at most 86400",
                       mlc_escape(arg));
        return 0;
    case KEY_BPFFS:
        o->bpffs = arg;
        return 0;
    case MLC_KEY_JSON:
        o->json = true;
        return 0;
    case ARGP_KEY_ARG:
        mlc_take_argument(state, &o->name, 1, arg);
        return 0;
    case ARGP_KEY_NO_ARGS:
        argp_error(state, "which name? See mlc-run list");
        return EINVAL;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

bool mlc_command_stats(mlc_run *run, int argc, char **argv) {
    static const struct argp_option options[] = {
        {"interval", KEY_INTERVAL, "SECONDS", 0,
         "Watch for so long: adds rates, and the time per packet where the "
         "process has CAP_SYS_ADMIN (measuring it slows the filter a little)",
         0},
        {"bpffs", KEY_BPFFS, "DIR", 0, "The BPF file system it is pinned in (default: " MLC_BPFFS ")", 0},
        MLC_OPTION_JSON,
        {0},
    };
    static const struct argp argp = {
        .options = options,
        .parser = parse,
        .args_doc = "NAME",
        .doc = "Show the counters of an attached packet filter, summed over all CPUs.",
    };
    stats_options o = {.bpffs = MLC_BPFFS};
    argp_parse(&argp, argc, argv, 0, NULL, &o);
    return stats(run, &o);
}
