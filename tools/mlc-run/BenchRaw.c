/*
 * mlc-run bench of tensors: one object whose inputs rotate, or many copies of it
 * called in turn, which finds code and weights outside the caches.
 */
#include "Backend.h"
#include "Bench.h"
#include "Rotate.skel.h"
#include "Samples.h"

#include <errno.h>

enum { MAX_RANDOM_BYTES = 1 << 24 };

typedef struct raw {
    mlc_backend *copies;
    int n_copies;
    struct Rotate *rotate;
} raw;

/* A socket program's test run wants an Ethernet header. */
static uint8_t packet[64];

static bool time_program(mlc_run *run, int fd, int repeat, double *ns) {
    LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = packet, .data_size_in = sizeof packet, .repeat = repeat);
    if (!mlc_test_run(run, fd, &opts))
        return false;
    *ns = opts.duration;
    return true;
}

static bool time_hot(mlc_run *run, mlc_subject *s, bool empty, int repeat, double *ns) {
    raw *r = s->state;
    if (empty)
        return time_program(run, bpf_program__fd(r->rotate->progs.empty), repeat, ns);
    return mlc_kernel_time(run, &r->copies[0], s->samples, repeat, ns);
}

/* The empty program stands behind the copies. */
static bool time_cold(mlc_run *run, mlc_subject *s, bool empty, int repeat, double *ns) {
    raw *r = s->state;
    r->rotate->bss->first = empty ? (uint32_t)r->n_copies : 0;
    r->rotate->data->count = empty ? 1 : (uint32_t)r->n_copies;
    r->rotate->bss->next = 0;
    if (!time_program(run, bpf_program__fd(r->rotate->progs.rotate), repeat, ns))
        return false;
    if (r->rotate->bss->failed)
        return mlc_error(&run->diag, "%u runs did not reach a copy of the program", r->rotate->bss->failed);
    return true;
}

static void close_raw(mlc_subject *s) {
    raw *r = s->state;
    for (int i = 0; i < r->n_copies; i++)
        mlc_backend_close(&r->copies[i]);
    Rotate__destroy(r->rotate);
}

static bool read_samples(mlc_run *run, const mlc_bench_options *o, const mlc_manifest *m,
                         mlc_samples *samples) {
    int64_t most = MAX_RANDOM_BYTES / (m->in_size + 1) + 1;
    if (!o->inputs)
        mlc_samples_random(run, m, most < MLC_BENCH_SAMPLES ? most : MLC_BENCH_SAMPLES, samples);
    else if (!mlc_samples_read(run, m, o->inputs, false, samples))
        return false;
    if (samples->n > MLC_BENCH_SAMPLES)
        samples->n = MLC_BENCH_SAMPLES;
    if (o->fixed)
        samples->n = 1;
    return true;
}

/* Copy number `index` gets every n_copies-th sample from `index` on, at least one. */
static bool load_copy(mlc_run *run, mlc_samples *samples, const char *path, int index, int n_copies,
                      mlc_backend *b) {
    mlc_object object;
    int64_t n = samples->n / n_copies ? samples->n / n_copies : 1;
    if (!mlc_object_open(run, path, &object) || !mlc_kernel_backend(run, &object, n, b))
        return false;
    /* One run tells the program how many samples it has. */
    if (n_copies > 1 && !mlc_kernel_time(run, b, b->capacity, 1, &(double){0}))
        return false;
    for (int64_t i = 0; i < b->capacity; i++)
        mlc_samples_pack(samples, (i * n_copies + index) % samples->n, b->in + (size_t)i * b->in_stride);
    return true;
}

static bool load_rotate(mlc_run *run, raw *r) {
    r->rotate = Rotate__open();
    if (!r->rotate)
        return mlc_error(&run->diag, "opening the driver: %s", mlc_errno(errno));
    bpf_map__set_max_entries(r->rotate->maps.copies, (__u32)r->n_copies + 1);
    int err = Rotate__load(r->rotate);
    if (err)
        return mlc_error(&run->diag, "loading the driver: %s", mlc_errno(err));
    for (int i = 0; i <= r->n_copies; i++) {
        int fd = i < r->n_copies ? r->copies[i].program : bpf_program__fd(r->rotate->progs.empty);
        if (bpf_map_update_elem(bpf_map__fd(r->rotate->maps.copies), &i, &fd, BPF_ANY))
            return mlc_error(&run->diag, "the driver cannot call program 'mlc_raw': %s", mlc_errno(errno));
    }
    return true;
}

bool mlc_bench_raw(mlc_run *run, const mlc_bench_options *o, const char *path, mlc_subject *s) {
    mlc_samples samples;
    mlc_object object;
    if (!mlc_object_open(run, path, &object))
        return false;
    bool ok = read_samples(run, o, object.manifest, &samples);
    mlc_object_close(&object);
    if (!ok)
        return false;
    raw *r = MLC_NEW(run->arena, raw);
    int n_copies = o->cold ? o->cold : 1;
    r->copies = MLC_NEW_ARRAY(run->arena, n_copies, mlc_backend);
    *s = (mlc_subject){.path = path,
                       .name = "mlc_raw",
                       .empty_name = o->cold ? "the driver and an empty program" : "an empty program",
                       .random = !o->inputs,
                       .time = o->cold ? time_cold : time_hot,
                       .close = close_raw,
                       .state = r};
    while (ok && r->n_copies < n_copies) {
        ok = load_copy(run, &samples, path, r->n_copies, n_copies, &r->copies[r->n_copies]);
        r->n_copies += ok;
    }
    ok = ok && load_rotate(run, r);
    s->samples = !ok ? 0 : o->cold || samples.n < r->copies[0].capacity ? samples.n : r->copies[0].capacity;
    if (!ok)
        close_raw(s);
    return ok;
}
