/*
 * mlc-run replay: what a packet filter makes of each packet of a capture, one by
 * one and at the capture's own times, and how that fits labels and a reference.
 */
#include "Packets.h"

#include "Object.h"
#include "mlc/npz.h"

#include <argp.h>
#include <bpf/btf.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

typedef struct replay_options {
    const char *files[2]; /* object, capture */
    const char *labels, *reference, *outputs, *program;
    double threshold;
    bool json;
} replay_options;

enum { MAX_LABELS = 16, N_VERDICTS = 6, OTHER = N_VERDICTS - 1 };

/* How verdicts fit the labels. */
typedef struct confusion {
    int64_t samples, right; /* labelled packets; with the verdict of their label */
    int64_t labels[MAX_LABELS];
    int n;
    int64_t count[MAX_LABELS][N_VERDICTS];
} confusion;

/* How verdicts fit the reference's. */
typedef struct agreement {
    int64_t samples, agree;
    bool scores;     /* the reference is one score a packet */
    double farthest; /* from the threshold, of a score that decides otherwise */
} agreement;

typedef struct replay {
    const replay_options *options;
    mlc_packets packets;
    const mlc_manifest *manifest;
    bool capture_time; /* the filter saw the capture's times */
    mlc_tensor *verdicts;
    confusion *confusion; /* NULL: no labels */
    agreement *agreement; /* NULL: no reference */
} replay;

/* Offset of the 64-bit global `name` in .bss, or -1. */
static int64_t global_offset(const mlc_object *object, const char *name) {
    const struct btf *btf = bpf_object__btf(object->bpf);
    int section = btf ? btf__find_by_name_kind(btf, ".bss", BTF_KIND_DATASEC) : -1;
    if (section < 0)
        return -1;
    const struct btf_type *t = btf__type_by_id(btf, (__u32)section);
    const struct btf_var_secinfo *v = btf_var_secinfos(t);
    for (int i = 0; i < btf_vlen(t); i++) {
        const char *s = btf__name_by_offset(btf, btf__type_by_id(btf, v[i].type)->name_off);
        if (s && !strcmp(s, name) && v[i].size == 8 && v[i].offset % 8 == 0)
            return v[i].offset;
    }
    return -1;
}

/* Maps the global that stands for the clock in objects made with --clock=map, until the process ends; *clock
 * is NULL for others. */
static bool map_clock(mlc_run *run, const mlc_object *object, volatile uint64_t **clock) {
    int64_t offset = global_offset(object, "mlc_now");
    *clock = NULL;
    if (offset < 0)
        return true;
    struct bpf_map *map;
    bpf_object__for_each_map(map, object->bpf) {
        const char *dot = strrchr(bpf_map__name(map), '.');
        if (!dot || strcmp(dot, ".bss"))
            continue;
        size_t size = bpf_map__value_size(map);
        if (offset + 8 > (int64_t)size)
            return mlc_error(&run->diag, "%s: damaged: a variable lies outside .bss",
                             mlc_escape(object->path));
        uint8_t *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, bpf_map__fd(map), 0);
        if (memory == MAP_FAILED)
            return mlc_error(&run->diag, "mapping .bss: %s", mlc_errno(errno));
        *clock = (volatile uint64_t *)(void *)(memory + offset);
        return true;
    }
    return true;
}

static bool run_packets(mlc_run *run, replay *r, mlc_object *object) {
    struct bpf_program *program = mlc_object_program(run, object, BPF_PROG_TYPE_XDP, r->options->program);
    if (!program)
        return false;
    mlc_object_select(object, program);
    if (!mlc_object_load(run, object))
        return false;
    volatile uint64_t *clock;
    if (!map_clock(run, object, &clock))
        return false;
    r->capture_time = clock != NULL;
    for (int64_t i = 0; i < r->packets.n; i++) {
        if (clock)
            *clock = r->packets.time[i];
        if (!mlc_packet_run(run, bpf_program__fd(program), &r->packets, i, &r->verdicts->i[i]))
            return false;
    }
    return true;
}

/* The array `name` of an .npz file, or its only one: a row for each packet, each of `*elements` numbers. */
static const mlc_tensor *read_rows(mlc_run *run, const replay *r, const char *path, const char *name,
                                   int64_t *elements) {
    const mlc_arrays *arrays = mlc_npz_read(run->arena, &run->diag, path);
    if (!arrays)
        return NULL;
    const mlc_tensor *t = mlc_arrays_find(arrays, name);
    if (!t && arrays->n == 1)
        t = arrays->array[0].tensor;
    if (!t || t->dtype == MLC_STRING) {
        mlc_error(&run->diag, "%s: has no array '%s' of numbers", mlc_escape(path), name);
        return NULL;
    }
    if (t->shape.rank < 1 || t->shape.dim[0] != r->packets.n) {
        mlc_error(&run->diag, "%s: array '%s' has shape %s, but %s has %lld packets to use", mlc_escape(path),
                  name, mlc_shape_str(run->arena, &t->shape), mlc_escape(r->options->files[1]),
                  (long long)r->packets.n);
        return NULL;
    }
    *elements = mlc_shape_elements(&t->shape) / r->packets.n;
    return t;
}

/* Whether packet `i` got the verdict that decision `index` stands for. */
static bool is_decision(const replay *r, int64_t i, int64_t index) {
    return index >= 0 && index < r->manifest->n_decisions &&
           !strcmp(r->manifest->decisions[index].verdict, mlc_verdict_name(r->verdicts->i[i]));
}

static int find_label(confusion *c, int64_t label) {
    int at = 0;
    while (at < c->n && c->labels[at] < label)
        at++;
    if (at < c->n && c->labels[at] == label)
        return at;
    if (c->n == MAX_LABELS)
        return -1;
    memmove(&c->labels[at + 1], &c->labels[at], (size_t)(c->n - at) * sizeof c->labels[0]);
    memmove(&c->count[at + 1], &c->count[at], (size_t)(c->n - at) * sizeof c->count[0]);
    memset(&c->count[at], 0, sizeof c->count[0]);
    c->labels[at] = label;
    c->n++;
    return at;
}

static bool compare_labels(mlc_run *run, replay *r) {
    int64_t elements;
    const char *path = r->options->labels;
    const mlc_tensor *y = read_rows(run, r, path, "y", &elements);
    if (!y)
        return false;
    if (!mlc_dtype_is_integer(y->dtype) || elements != 1)
        return mlc_error(&run->diag, "%s: labels are one integer for each packet", mlc_escape(path));
    confusion *c = r->confusion = MLC_NEW(run->arena, confusion);
    for (int64_t i = 0; i < r->packets.n; i++) {
        if (y->i[i] < 0)
            continue;
        int row = find_label(c, y->i[i]);
        if (row < 0)
            return mlc_error(&run->diag, "%s: more than %d labels", mlc_escape(path), MAX_LABELS);
        int64_t verdict = r->verdicts->i[i];
        c->count[row][verdict >= 0 && verdict < OTHER ? verdict : OTHER]++;
        c->samples++;
        c->right += is_decision(r, i, y->i[i]);
    }
    return true;
}

static int64_t largest(const mlc_tensor *t, int64_t row, int64_t elements) {
    int64_t best = 0;
    for (int64_t e = 1; e < elements; e++)
        if (mlc_tensor_real(t, row * elements + e) > mlc_tensor_real(t, row * elements + best))
            best = e;
    return best;
}

static bool compare_reference(mlc_run *run, replay *r) {
    int64_t elements;
    const char *path = r->options->reference;
    const mlc_tensor *p = read_rows(run, r, path, "p", &elements);
    if (!p)
        return false;
    if (elements < 1)
        return mlc_error(&run->diag, "%s: array 'p' has no elements", mlc_escape(path));
    agreement *a = r->agreement = MLC_NEW(run->arena, agreement);
    bool real = mlc_dtype_is_float(p->dtype);
    a->scores = elements == 1 && real;
    a->samples = r->packets.n;
    for (int64_t i = 0; i < a->samples; i++) {
        double margin = a->scores ? mlc_tensor_real(p, i) - r->options->threshold : 0;
        bool same = is_decision(r, i,
                                a->scores      ? margin >= 0
                                : elements > 1 ? largest(p, i, elements)
                                               : p->i[i]);
        a->agree += same;
        if (!same && !(fabs(margin) <= a->farthest))
            a->farthest = fabs(margin);
    }
    return true;
}

static double share(int64_t part, int64_t of) {
    return of ? (double)part / (double)of : 1;
}

static void print_confusion(const confusion *c) {
    bool used[N_VERDICTS] = {[1] = true, [2] = true}; /* XDP_DROP and XDP_PASS are always shown */
    for (int i = 0; i < c->n; i++)
        for (int v = 0; v < N_VERDICTS; v++)
            used[v] = used[v] || c->count[i][v];
    printf("labels: %lld packets, accuracy %.4f\n  %16s", (long long)c->samples, share(c->right, c->samples),
           "label \\ verdict");
    for (int v = 0; v < N_VERDICTS; v++)
        if (used[v])
            printf(" %12s", mlc_verdict_name(v));
    putchar('\n');
    for (int i = 0; i < c->n; i++) {
        printf("  %16lld", (long long)c->labels[i]);
        for (int v = 0; v < N_VERDICTS; v++)
            if (used[v])
                printf(" %12lld", (long long)c->count[i][v]);
        putchar('\n');
    }
}

static void print(const replay *r, const json_t *verdicts) {
    printf("%s: %lld packets at %s", mlc_escape(r->options->files[1]), (long long)r->packets.n,
           r->capture_time ? "the capture's times" : "the kernel's time");
    const char *name, *separator = ": ";
    json_t *count;
    json_object_foreach((json_t *)verdicts, name, count) {
        printf("%s%s %lld", separator, name, (long long)json_integer_value(count));
        separator = ", ";
    }
    putchar('\n');
    if (r->confusion)
        print_confusion(r->confusion);
    const agreement *a = r->agreement;
    if (a) {
        printf("reference: %lld of %lld decide the same, agreement %.4f", (long long)a->agree,
               (long long)a->samples, share(a->agree, a->samples));
        if (a->scores && a->agree < a->samples)
            printf(", others are within %.3g of %g", a->farthest, r->options->threshold);
        putchar('\n');
    }
}

static json_t *confusion_json(const confusion *c) {
    json_t *rows = json_object();
    for (int i = 0; i < c->n; i++) {
        char label[24];
        json_t *row = json_object();
        for (int v = 0; v < N_VERDICTS; v++)
            if (c->count[i][v])
                json_object_set_new(row, mlc_verdict_name(v), json_integer(c->count[i][v]));
        snprintf(label, sizeof label, "%lld", (long long)c->labels[i]);
        json_object_set_new(rows, label, row);
    }
    return json_pack("{s:I,s:I,s:f,s:o}", "samples", (json_int_t)c->samples, "right", (json_int_t)c->right,
                     "accuracy", share(c->right, c->samples), "confusion", rows);
}

static json_t *replay_json(const replay *r, json_t *verdicts) {
    json_t *j = json_pack("{s:s,s:I,s:s,s:O}", "capture", mlc_escape(r->options->files[1]), "packets",
                          (json_int_t)r->packets.n, "clock", r->capture_time ? "capture" : "kernel",
                          "verdicts", verdicts);
    json_object_set_new(j, "file", json_string(mlc_escape(r->options->files[0])));
    if (r->confusion)
        json_object_set_new(j, "labels", confusion_json(r->confusion));
    const agreement *a = r->agreement;
    if (a) {
        json_t *reference = json_pack("{s:I,s:I,s:f}", "samples", (json_int_t)a->samples, "agree",
                                      (json_int_t)a->agree, "agreement", share(a->agree, a->samples));
        if (a->scores) {
            json_object_set_new(reference, "threshold", json_real(r->options->threshold));
            json_object_set_new(reference, "farthest",
                                isfinite(a->farthest) ? json_real(a->farthest) : json_null());
        }
        json_object_set_new(j, "reference", reference);
    }
    return j;
}

static bool replay_capture(mlc_run *run, const replay_options *o) {
    replay r = {.options = o};
    mlc_object object;
    if (!mlc_packets_read(run, o->files[1], &r.packets) || !mlc_object_open(run, o->files[0], &object))
        return false;
    r.manifest = object.manifest;
    r.verdicts = mlc_tensor_create(run->arena, MLC_INT64, &(mlc_shape){1, {r.packets.n}});
    bool ok = r.manifest || !(o->labels || o->reference);
    if (!ok)
        mlc_error(&run->diag,
                  "%s: has no manifest, which says what its verdicts mean: it was not made by mlc",
                  mlc_escape(o->files[0]));
    ok = ok && run_packets(run, &r, &object);
    mlc_object_close(&object);
    if (!ok || (o->labels && !compare_labels(run, &r)) || (o->reference && !compare_reference(run, &r)))
        return false;
    if (o->outputs &&
        !mlc_npz_write(run->arena, &run->diag, o->outputs, &(mlc_array){"verdict", r.verdicts}, 1))
        return false;
    json_t *verdicts = mlc_keep_json(run, mlc_verdicts_json(r.verdicts->i, r.packets.n));
    if (o->json)
        mlc_print_json(replay_json(&r, verdicts));
    else
        print(&r, verdicts);
    return true;
}

enum { KEY_LABELS = MLC_KEY_FIRST, KEY_REFERENCE, KEY_THRESHOLD, KEY_OUTPUTS, KEY_PROGRAM };

static error_t parse(int key, char *arg, struct argp_state *state) {
    replay_options *o = state->input;
    switch (key) {
    case KEY_LABELS:
        o->labels = arg;
        return 0;
    case KEY_REFERENCE:
        o->reference = arg;
        return 0;
    case KEY_THRESHOLD:
        o->threshold = mlc_option_real(state, "threshold", arg);
        return 0;
    case KEY_OUTPUTS:
        o->outputs = arg;
        return 0;
    case KEY_PROGRAM:
        o->program = arg;
        return 0;
    case MLC_KEY_JSON:
        o->json = true;
        return 0;
    case ARGP_KEY_ARG:
        mlc_take_argument(state, o->files, 2, arg);
        return 0;
    case ARGP_KEY_END:
        if (!o->files[1])
            argp_error(state, o->files[0] ? "which capture?" : "which object?");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

bool mlc_command_replay(mlc_run *run, int argc, char **argv) {
    static const struct argp_option options[] = {
        {"labels", KEY_LABELS, "FILE", 0,
         "Compare with array 'y' (or the only one) of this .npz file: for each packet the index of the right "
         "decision, negative where there is none",
         0},
        {"reference", KEY_REFERENCE, "FILE", 0,
         "Compare with array 'p' (or the only one) of this .npz file: for each packet the model's score, its "
         "scores "
         "of the classes, or the index of the decision",
         0},
        {"threshold", KEY_THRESHOLD, "T", 0, "A single score decides yes from T on (default: 0.5)", 0},
        {"outputs", KEY_OUTPUTS, "FILE", 0, "Write array 'verdict' to this .npz file", 0},
        {"program", KEY_PROGRAM, "NAME", 0, "The XDP program, where the object has several", 0},
        MLC_OPTION_JSON,
        {0},
    };
    static const struct argp argp = {
        .options = options,
        .parser = parse,
        .args_doc = "OBJ FILE.pcap",
        .doc =
            "Run a packet filter in the kernel on each packet of a capture, without a network device.\v"
            "The filter starts with empty state. Compiled with --clock=map, it sees the times of the "
            "capture, and "
            "so gives the same verdicts each time; otherwise it sees the packets one right after the other.",
    };
    replay_options o = {.threshold = 0.5};
    argp_parse(&argp, argc, argv, 0, NULL, &o);
    return replay_capture(run, &o);
}
