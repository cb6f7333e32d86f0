/*
 * mlc-run bench: nanoseconds per inference in the kernel, on inputs that vary, net
 * of an empty program measured in the same minute.
 */
#include "Bench.h"
#include "Explain.h"
#include "Manifest.h"

#include <argp.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Rounds of which median and minimum are taken; time of a round when the repeats are not given. */
enum { ROUNDS = 9, ROUND_NS = 50 * 1000 * 1000 };

typedef struct timing {
    int repeat;
    double with[ROUNDS], empty[ROUNDS];
    double median, least, least_empty;
} timing;

static bool choose_repeat(mlc_run *run, mlc_subject *s, int *repeat) {
    double ns;
    int probe = s->samples > 64 ? (int)s->samples : 64;
    if (!s->time(run, s, false, probe, &ns))
        return false;
    double fitting = ROUND_NS / (ns > 1 ? ns : 1);
    *repeat = fitting > 10e6 ? 10000000 : fitting < probe ? probe : (int)fitting;
    return true;
}

static int compare_reals(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double net_of(double ns, double empty) {
    return ns > empty ? ns - empty : 0;
}

/* Each round times every program, and its empty one, in turn: whatever else the machine does meets all. */
static bool measure(mlc_run *run, const mlc_bench_options *o, mlc_subject *s, timing *t, int n) {
    for (int i = 0; i < n; i++) {
        t[i].repeat = o->repeat;
        if (!o->repeat && !choose_repeat(run, &s[i], &t[i].repeat))
            return false;
    }
    for (int round = 0; round < ROUNDS; round++)
        for (int i = 0; i < n; i++)
            if (!s[i].time(run, &s[i], true, t[i].repeat, &t[i].empty[round]) ||
                !s[i].time(run, &s[i], false, t[i].repeat, &t[i].with[round]))
                return false;
    for (int i = 0; i < n; i++) {
        qsort(t[i].with, ROUNDS, sizeof t[i].with[0], compare_reals);
        qsort(t[i].empty, ROUNDS, sizeof t[i].empty[0], compare_reals);
        t[i].least_empty = t[i].empty[0];
        t[i].median = net_of(t[i].with[ROUNDS / 2], t[i].least_empty);
        t[i].least = net_of(t[i].with[0], t[i].least_empty);
    }
    return true;
}

static json_t *timing_json(const mlc_bench_options *o, const mlc_subject *s, const timing *t) {
    return json_pack("{s:s,s:s,s:s,s:f,s:f,s:f,s:I,s:b,s:i,s:i,s:i}", "file", mlc_escape(s->path), "program",
                     mlc_escape(s->name), "kernel", mlc_kernel_release(), "ns", t->median, "ns_min", t->least,
                     "empty_ns", t->least_empty, "samples", (json_int_t)s->samples, "random_inputs",
                     s->random, "copies", o->cold ? o->cold : 1, "repeat", t->repeat, "rounds", ROUNDS);
}

/* One object gives its JSON, several an array. */
static void report(mlc_run *run, const mlc_bench_options *o, const mlc_subject *s, const timing *t, int n) {
    if (o->json) {
        json_t *all = json_array();
        for (int i = 0; i < n; i++)
            json_array_append_new(all, timing_json(o, &s[i], &t[i]));
        mlc_keep_json(run, all);
        mlc_print_json(json_incref(n == 1 ? json_array_get(all, 0) : all));
        return;
    }
    for (int i = 0; i < n; i++) {
        if (n > 1)
            printf("%s: ", mlc_escape(s[i].path));
        printf("%s: %.0f ns per inference (median of %d rounds of %d; least %.0f), %lld %s input%s",
               mlc_escape(s[i].name), t[i].median, ROUNDS, t[i].repeat, t[i].least, (long long)s[i].samples,
               s[i].random ? "random" : "given", s[i].samples == 1 ? "" : "s");
        if (o->cold)
            printf(", %d copies", o->cold);
        printf("\nnet of %.0f ns for %s\n", t[i].least_empty, s[i].empty_name);
    }
}

static bool load(mlc_run *run, const mlc_bench_options *o, const char *path, mlc_subject *s) {
    mlc_manifest *manifest;
    if (!mlc_manifest_read(run, path, &manifest))
        return false;
    bool raw = manifest && !strcmp(manifest->target, "bpf-raw");
    return raw ? mlc_bench_raw(run, o, path, s) : mlc_bench_xdp(run, o, path, s);
}

static bool bench(mlc_run *run, const mlc_bench_options *o, const char **paths, int n) {
    mlc_subject *subjects = MLC_NEW_ARRAY(run->arena, n, mlc_subject);
    timing *timings = MLC_NEW_ARRAY(run->arena, n, timing);
    int loaded = 0;
    while (loaded < n && load(run, o, paths[loaded], &subjects[loaded]))
        loaded++;
    bool ok = loaded == n && measure(run, o, subjects, timings, n);
    if (ok)
        report(run, o, subjects, timings, n);
    for (int i = 0; i < loaded; i++)
        subjects[i].close(&subjects[i]);
    return ok;
}

typedef struct command_line {
    mlc_bench_options options;
    const char **paths;
    int n_paths, capacity;
} command_line;

enum { KEY_INPUTS = MLC_KEY_FIRST, KEY_REPEAT, KEY_PROGRAM, KEY_COLD, KEY_FIXED };
enum { MAX_COPIES = 10000 };

static error_t parse(int key, char *arg, struct argp_state *state) {
    command_line *line = state->input;
    mlc_bench_options *o = &line->options;
    switch (key) {
    case KEY_INPUTS:
        o->inputs = arg;
        return 0;
    case KEY_REPEAT:
        o->repeat = (int)mlc_option_integer(state, "repeat", arg, 1, INT_MAX);
        return 0;
    case KEY_PROGRAM:
        o->program = arg;
        return 0;
    case KEY_COLD:
        o->cold = (int)mlc_option_integer(state, "cold", arg, 2, MAX_COPIES);
        return 0;
    case KEY_FIXED:
        o->fixed = true;
        return 0;
    case MLC_KEY_JSON:
        o->json = true;
        return 0;
    case ARGP_KEY_ARG:
        mlc_take_argument(state, line->paths, line->capacity, arg);
        line->n_paths = (int)state->arg_num + 1;
        return 0;
    case ARGP_KEY_NO_ARGS:
        argp_error(state, "which object?");
        return EINVAL;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

bool mlc_command_bench(mlc_run *run, int argc, char **argv) {
    static const struct argp_option options[] = {
        {"inputs", KEY_INPUTS, "FILE", 0,
         "Samples (.npz) or, for a packet filter, packets (.pcap); the first 1024 are "
         "used. Without it: random samples from the range of each input",
         0},
        {"repeat", KEY_REPEAT, "N", 0, "Inferences per round (default: what takes 50 ms)", 0},
        {"program", KEY_PROGRAM, "NAME", 0, "The XDP program, where the object has several", 0},
        {"cold", KEY_COLD, "N", 0,
         "Rotate through N copies of object and maps, so that each finds cold caches (bpf-raw)", 0},
        {"fixed", KEY_FIXED, NULL, 0, "The first input every time", 0},
        MLC_OPTION_JSON,
        {0},
    };
    static const struct argp argp = {
        .options = options,
        .parser = parse,
        .args_doc = "OBJ...",
        .doc = "Measure the time of one inference in the kernel; of several objects, in turn.\v"
               "Inputs change from run to run. The least time of an empty program, measured in turn with the "
               "model, is subtracted. Any XDP object can be measured, with or without a model in it.",
    };
    command_line line = {.paths = MLC_NEW_ARRAY(run->arena, argc, const char *), .capacity = argc};
    argp_parse(&argp, argc, argv, 0, NULL, &line);
    return bench(run, &line.options, line.paths, line.n_paths);
}
