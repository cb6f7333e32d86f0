/* mlc-run bench of packet filters: a driver writes one packet after the other and tail-calls the program. */
#include "Bench.h"
#include "Driver.skel.h"
#include "Object.h"
#include "Packets.h"

#include <errno.h>
#include <string.h>

typedef struct xdp {
    mlc_object object;
    int program;
    struct Driver *driver;
} xdp;

static bool time_xdp(mlc_run *run, mlc_subject *s, bool empty, int repeat, double *ns) {
    xdp *x = s->state;
    uint8_t packet[64] = {0};
    LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = packet, .data_size_in = sizeof packet, .repeat = repeat);
    int target = empty ? bpf_program__fd(x->driver->progs.empty) : x->program;
    uint32_t zero = 0;
    if (bpf_map_update_elem(bpf_map__fd(x->driver->maps.target), &zero, &target, BPF_ANY))
        return mlc_error(&run->diag, "the driver cannot call program '%s': %s", mlc_escape(s->name),
                         mlc_errno(errno));
    if (!mlc_test_run(run, bpf_program__fd(x->driver->progs.driver), &opts))
        return false;
    if (x->driver->bss->failed)
        return mlc_error(&run->diag, "the driver could not hand over %u packets", x->driver->bss->failed);
    *ns = opts.duration;
    return true;
}

static void close_xdp(mlc_subject *s) {
    xdp *x = s->state;
    mlc_object_close(&x->object);
    Driver__destroy(x->driver);
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

static bool load(mlc_run *run, const mlc_bench_options *o, xdp *x, mlc_subject *s) {
    mlc_packets packets;
    struct bpf_program *program = mlc_object_program(run, &x->object, BPF_PROG_TYPE_XDP, o->program);
    if (!program)
        return false;
    if (!o->inputs || !mlc_is_capture(o->inputs))
        return mlc_error(&run->diag, "%s: is a packet filter: give packets with --inputs=FILE.pcap",
                         mlc_escape(s->path));
    if (o->cold)
        return mlc_error(&run->diag, "%s: is a packet filter; --cold measures objects of --target=bpf-raw",
                         mlc_escape(s->path));
    if (!mlc_packets_read(run, o->inputs, &packets))
        return false;
    mlc_object_select(&x->object, program);
    if (!mlc_object_load(run, &x->object))
        return false;
    x->driver = Driver__open();
    if (!x->driver)
        return mlc_error(&run->diag, "opening the driver: %s", mlc_errno(errno));
    x->program = bpf_program__fd(program);
    s->name = bpf_program__name(program);
    s->samples = packets.n < MLC_BENCH_SAMPLES ? packets.n : MLC_BENCH_SAMPLES;
    if (o->fixed)
        s->samples = 1;
    return load_driver(run, x->driver, program, &packets, s->samples);
}

bool mlc_bench_xdp(mlc_run *run, const mlc_bench_options *o, const char *path, mlc_subject *s) {
    xdp *x = MLC_NEW(run->arena, xdp);
    *s = (mlc_subject){.path = path,
                       .empty_name = "the driver and an empty program",
                       .time = time_xdp,
                       .close = close_xdp,
                       .state = x};
    if (!mlc_object_open(run, path, &x->object))
        return false;
    if (load(run, o, x, s))
        return true;
    close_xdp(s);
    return false;
}
