// clang-format off: lit reads these lines.
// REQUIRES: bpf
// RUN: %S/Inputs/build-filter %source %t.o xdp "mlc_xdp mlc_frame mlc_stats mlc_flows mlc_sources mlc_destinations mlc_now" -DGROUPS=15 -DBUILTINS=0x7ffffffffff -DCLOCK_FROM_MAP=1
// RUN: %build/test/Features/golden %t.o %source/examples/packet-filter/captures/*.pcap
// clang-format on

/* The 43 features in the kernel equal the recorded ones on every packet of the demo captures. */
#include "mlc/npz.h"

#include "Capture.h"
#include "Kernel.h"
#include "Reference.h"

static const char *const names[] = {
#define MLC_FEATURE(SYMBOL, name, ...) #name,
#include "mlc/features.def"
#undef MLC_FEATURE
};

static int differences(const uint16_t *x, const int64_t *golden, const char *who, int packet) {
    int bad = 0;
    for (int i = 0; i < MLC_N_BUILTINS; i++) {
        if (x[i] == golden[i])
            continue;
        fprintf(stderr, "packet %d: %s: %s %d, golden %lld\n", packet, names[i], who, x[i],
                (long long)golden[i]);
        bad++;
    }
    return bad;
}

static int check(const char *program, const char *path, const mlc_tensor *golden) {
    capture c;
    kernel k;
    reference r = {0};
    int bad = 0, rows = 0;
    if (!capture_read(&c, path))
        DIE("%s: is not an Ethernet capture", path);
    kernel_open(&k, program);
    ref_init(&r);
    for (int i = 0; i < c.n && bad < 20; i++) {
        const captured *p = &c.packets[i];
        uint16_t expected[MLC_N_BUILTINS];
        const uint8_t *payload;
        size_t payload_n;
        int error = ref_step(&r, p->time, p->data, p->n, expected, &payload, &payload_n);
        int verdict = kernel_run(&k, p->time, p->data, p->n);
        if ((verdict == ON_ERROR_VERDICT) != (error >= 0))
            DIE("%s: packet %d: verdict %d", path, i, verdict);
        if (error >= 0)
            continue;
        if (rows == golden->shape.dim[0])
            DIE("%s: more packets than golden rows", path);
        const int64_t *row = golden->i + (int64_t)MLC_N_BUILTINS * rows++;
        bad += differences(expected, row, "reference", i);
        bad += differences((const uint16_t *)kernel_frame(&k), row, "kernel", i);
    }
    if (rows != golden->shape.dim[0])
        DIE("%s: %d rows of %lld", path, rows, (long long)golden->shape.dim[0]);
    kernel_close(&k);
    ref_free(&r);
    capture_free(&c);
    printf("%s: %d packets\n", path, rows);
    return bad;
}

int main(int argc, char **argv) {
    int bad = argc < 3;
    for (int i = 2; i < argc; i++) {
        mlc_arena *arena = mlc_arena_create((size_t)1 << 28);
        mlc_diag diag = {0};
        const char *dot = strrchr(argv[i], '.');
        if (!dot)
            return 2;
        const char *path = mlc_arena_printf(arena, "%.*s.golden.npz", (int)(dot - argv[i]), argv[i]);
        const mlc_arrays *arrays = mlc_npz_read(arena, &diag, path);
        const mlc_tensor *golden = arrays ? mlc_arrays_find(arrays, "X") : NULL;
        if (!golden || golden->shape.rank != 2 || golden->shape.dim[1] != MLC_N_BUILTINS)
            DIE("%s: has no X of 43 columns", path);
        bad += check(argv[1], argv[i], golden);
        mlc_arena_destroy(arena);
    }
    return bad != 0;
}
