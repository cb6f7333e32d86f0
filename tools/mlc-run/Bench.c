/*
 * mlc-run bench: nanoseconds per inference in the kernel, on inputs that vary, net
 * of an empty program measured in the same minute.
 */
#include "Backend.h"
#include "Driver.skel.h"
#include "Packets.h"
#include "Samples.h"

#include <argp.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Samples to rotate through; rounds of which median and minimum are taken; time
 * of a round when the repeats are not given. */
enum { MAX_SAMPLES = 1024, MAX_RANDOM_BYTES = 1 << 24, ROUNDS = 9, ROUND_NS = 50 * 1000 * 1000 };

typedef struct bench_options {
    const char *path, *inputs, *program;
    int repeat; /* 0: as many as fit a round */
    bool json;
} bench_options;

/* Two programs to time against each other. `model` selects; false after reporting. */
typedef struct subject {
    bool (*time)(mlc_run *run, struct subject *s, bool model, int repeat, double *ns);
    mlc_backend *backend;  /* bpf-raw */
    int empty;             /* bpf-raw: the empty program */
    struct Driver *driver; /* XDP */
    int program;           /* XDP: the program under test */
    int64_t samples;
    bool random;
    const char *name;
} subject;

typedef struct timing {
    double median, least, empty;
    int repeat;
} timing;

static int compare_reals(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static bool choose_repeat(mlc_run *run, subject *s, int *repeat) {
    double ns;
    int probe = s->samples > 64 ? (int)s->samples : 64;
    if (!s->time(run, s, true, probe, &ns))
        return false;
    double fitting = ROUND_NS / (ns > 1 ? ns : 1);
    *repeat = fitting > 10e6 ? 10000000 : fitting < probe ? probe : (int)fitting;
    return true;
}

/* Each round times the empty program and the model one after the other, so that
 * whatever else the machine does meets both. */
static bool measure(mlc_run *run, subject *s, int repeat, timing *t) {
    double net[ROUNDS], empty[ROUNDS];
    if (!repeat && !choose_repeat(run, s, &repeat))
        return false;
    for (int i = 0; i < ROUNDS; i++) {
        double with;
        if (!s->time(run, s, false, repeat, &empty[i]) || !s->time(run, s, true, repeat, &with))
            return false;
        net[i] = with > empty[i] ? with - empty[i] : 0;
    }
    qsort(net, ROUNDS, sizeof net[0], compare_reals);
    qsort(empty, ROUNDS, sizeof empty[0], compare_reals);
    *t = (timing){net[ROUNDS / 2], net[0], empty[ROUNDS / 2], repeat};
    return true;
}

static void report(const bench_options *o, const subject *s, const timing *t) {
    if (o->json) {
        mlc_print_json(json_pack("{s:s,s:s,s:s,s:f,s:f,s:f,s:I,s:b,s:i,s:i}", "file", mlc_escape(o->path),
                                 "program", mlc_escape(s->name), "kernel", mlc_kernel_release(), "ns",
                                 t->median, "ns_min", t->least, "empty_ns", t->empty, "samples",
                                 (json_int_t)s->samples, "random_inputs", s->random, "repeat", t->repeat,
                                 "rounds", ROUNDS));
        return;
    }
    printf("%s: %.0f ns per inference (median of %d rounds of %d; least %.0f), %lld %s inputs\n",
           mlc_escape(s->name), t->median, ROUNDS, t->repeat, t->least, (long long)s->samples,
           s->random ? "random" : "given");
    printf("net of %.0f ns for %s\n", t->empty,
           s->driver ? "the driver and an empty program" : "an empty program");
}

static bool time_raw(mlc_run *run, subject *s, bool model, int repeat, double *ns) {
    uint8_t packet[64] = {0};
    LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = packet, .data_size_in = sizeof packet, .repeat = repeat);
    if (model)
        return mlc_kernel_time(run, s->backend, s->samples, repeat, ns);
    if (!mlc_test_run(run, s->empty, &opts))
        return false;
    *ns = opts.duration;
    return true;
}

/* return 0 */
static const struct bpf_insn empty_program[] = {
    {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = 0},
    {.code = BPF_JMP | BPF_EXIT},
};

static bool bench_raw(mlc_run *run, const bench_options *o, mlc_object *object, timing *t, subject *s) {
    mlc_samples samples;
    mlc_backend backend;
    const mlc_manifest *m = object->manifest;
    s->random = !o->inputs;
    int64_t most = MAX_RANDOM_BYTES / (m->in_size + 1) + 1;
    if (s->random)
        mlc_samples_random(run, m, most < MAX_SAMPLES ? most : MAX_SAMPLES, &samples);
    else if (!mlc_samples_read(run, m, o->inputs, false, &samples))
        return false;
    if (samples.n > MAX_SAMPLES)
        samples.n = MAX_SAMPLES;
    if (!mlc_kernel_backend(run, object, samples.n, &backend))
        return false;
    samples.n = samples.n < backend.capacity ? samples.n : backend.capacity;
    for (int64_t i = 0; i < samples.n; i++)
        mlc_samples_pack(&samples, i, backend.in + (size_t)i * backend.in_stride);
    s->time = time_raw;
    s->name = "mlc_raw";
    s->backend = &backend;
    s->samples = samples.n;
    s->empty = bpf_prog_load(BPF_PROG_TYPE_SOCKET_FILTER, "empty", "GPL", empty_program, 2, NULL);
    bool ok = s->empty >= 0 ? measure(run, s, o->repeat, t)
                            : mlc_error(&run->diag, "loading an empty program: %s", mlc_errno(s->empty));
    mlc_backend_close(&backend);
    return ok;
}

static bool time_xdp(mlc_run *run, subject *s, bool model, int repeat, double *ns) {
    uint8_t packet[64] = {0};
    LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = packet, .data_size_in = sizeof packet, .repeat = repeat);
    int target = model ? s->program : bpf_program__fd(s->driver->progs.empty);
    uint32_t zero = 0;
    if (bpf_map_update_elem(bpf_map__fd(s->driver->maps.target), &zero, &target, BPF_ANY))
        return mlc_error(&run->diag, "the driver cannot call program '%s': %s", mlc_escape(s->name),
                         mlc_errno(errno));
    if (!mlc_test_run(run, bpf_program__fd(s->driver->progs.driver), &opts))
        return false;
    if (s->driver->bss->failed)
        return mlc_error(&run->diag, "the driver could not hand over %u packets", s->driver->bss->failed);
    *ns = opts.duration;
    return true;
}

/* The driver and what it calls must agree in whether they take packets in fragments. */
static bool load_driver(mlc_run *run, struct Driver *driver, const struct bpf_program *program,
                        const mlc_packets *packets, int64_t n) {
    struct {
        uint32_t size;
        uint8_t data[MLC_MAX_PACKET];
    } value;
    __u32 flags = bpf_program__flags(program) & BPF_F_XDP_HAS_FRAGS;
    bpf_program__set_flags(driver->progs.driver, flags);
    bpf_program__set_flags(driver->progs.empty, flags);
    bpf_map__set_max_entries(driver->maps.packets, (__u32)n);
    int err = Driver__load(driver);
    if (err)
        return mlc_error(&run->diag, "loading the driver: %s (it needs kernel 5.18 or newer)",
                         mlc_errno(err));
    if (bpf_map__value_size(driver->maps.packets) != sizeof value)
        return mlc_error(&run->diag, "the driver's packets have another size");
    driver->data->count = (uint32_t)n;
    for (uint32_t i = 0; i < n; i++) {
        memset(&value, 0, sizeof value);
        value.size = packets->size[i];
        memcpy(value.data, packets->data[i], packets->size[i]);
        if (bpf_map_update_elem(bpf_map__fd(driver->maps.packets), &i, &value, BPF_ANY))
            return mlc_error(&run->diag, "handing packets to the driver: %s", mlc_errno(errno));
    }
    return true;
}

static bool bench_xdp(mlc_run *run, const bench_options *o, mlc_object *object, timing *t, subject *s) {
    mlc_packets packets;
    struct bpf_program *program = mlc_object_program(run, object, BPF_PROG_TYPE_XDP, o->program);
    if (!program)
        return false;
    if (!o->inputs || !mlc_is_capture(o->inputs))
        return mlc_error(&run->diag, "%s: is a packet filter: give packets with --inputs=FILE.pcap",
                         mlc_escape(o->path));
    if (!mlc_packets_read(run, o->inputs, &packets))
        return false;
    mlc_object_select(object, program);
    if (!mlc_object_load(run, object))
        return false;
    s->driver = Driver__open();
    if (!s->driver)
        return mlc_error(&run->diag, "opening the driver: %s", mlc_errno(errno));
    s->time = time_xdp;
    s->name = bpf_program__name(program);
    s->program = bpf_program__fd(program);
    s->samples = packets.n < MAX_SAMPLES ? packets.n : MAX_SAMPLES;
    bool ok = load_driver(run, s->driver, program, &packets, s->samples) && measure(run, s, o->repeat, t);
    Driver__destroy(s->driver);
    return ok;
}

static bool bench(mlc_run *run, const bench_options *o) {
    mlc_object object;
    subject s = {0};
    timing t;
    if (!mlc_object_open(run, o->path, &object))
        return false;
    bool raw = object.manifest && !strcmp(object.manifest->target, "bpf-raw");
    bool ok = raw ? bench_raw(run, o, &object, &t, &s) : bench_xdp(run, o, &object, &t, &s);
    if (ok)
        report(o, &s, &t);
    mlc_object_close(&object);
    return ok;
}

enum { KEY_INPUTS = MLC_KEY_FIRST, KEY_REPEAT, KEY_PROGRAM };

static error_t parse(int key, char *arg, struct argp_state *state) {
    bench_options *o = state->input;
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
    case MLC_KEY_JSON:
        o->json = true;
        return 0;
    case ARGP_KEY_ARG:
        mlc_take_argument(state, &o->path, 1, arg);
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
        MLC_OPTION_JSON,
        {0},
    };
    static const struct argp argp = {
        .options = options,
        .parser = parse,
        .args_doc = "OBJ",
        .doc = "Measure the time of one inference in the kernel.\v"
               "Inputs change from run to run. The time of an empty program, measured in turn with the "
               "model, is "
               "subtracted. Any XDP object can be measured, with or without a model in it.",
    };
    bench_options o = {0};
    argp_parse(&argp, argc, argv, 0, NULL, &o);
    return bench(run, &o);
}
