/* A packet program in the kernel, run packet by packet. */
#ifndef KERNEL_H
#define KERNEL_H

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/bpf.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "mlc/packet.h"

#define DIE(...)                      \
    do {                              \
        fprintf(stderr, __VA_ARGS__); \
        fputc('\n', stderr);          \
        exit(1);                      \
    } while (0)

enum { ON_ERROR_VERDICT = XDP_TX }; /* as in Inputs/model.bpf.c */

typedef struct kernel {
    struct bpf_object *object;
    int program, stats, frame, n_cpus;
    uint64_t *now;   /* NULL: the program reads the clock */
    uint8_t *frames; /* all CPUs' */
    uint32_t frame_size;
} kernel;

static inline void kernel_open(kernel *k, const char *path) {
    cpu_set_t cpu;
    CPU_ZERO(&cpu);
    CPU_SET(0, &cpu);
    sched_setaffinity(0, sizeof cpu, &cpu); /* a test run uses the caller's CPU: frames[0] */
    *k = (kernel){.object = bpf_object__open(path), .n_cpus = libbpf_num_possible_cpus()};
    if (!k->object || bpf_object__load(k->object))
        DIE("%s: does not load", path);
    struct bpf_map *frame = bpf_object__find_map_by_name(k->object, "mlc_frame");
    struct bpf_map *bss = bpf_object__find_map_by_name(k->object, ".bss");
    k->program = bpf_program__fd(bpf_object__find_program_by_name(k->object, "mlc_xdp"));
    k->stats = bpf_object__find_map_fd_by_name(k->object, "mlc_stats");
    if (k->program < 0 || k->stats < 0 || !frame)
        DIE("%s: is no packet program", path);
    k->frame = bpf_map__fd(frame);
    k->frame_size = (bpf_map__value_size(frame) + 7) / 8 * 8;
    k->frames = calloc((size_t)k->n_cpus, k->frame_size);
    if (bss) /* mlc_now is its only variable */
        k->now = mmap(NULL, sizeof *k->now, PROT_READ | PROT_WRITE, MAP_SHARED, bpf_map__fd(bss), 0);
    if (k->now == MAP_FAILED)
        DIE("%s: mlc_now cannot be mapped", path);
}

static inline void kernel_close(kernel *k) {
    if (k->now)
        munmap(k->now, sizeof *k->now);
    bpf_object__close(k->object);
    free(k->frames);
}

/* Returns the verdict; the frame can then be read with kernel_frame. */
static inline int kernel_run(kernel *k, uint64_t now, const uint8_t *packet, size_t n) {
    LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = packet, .data_size_in = (uint32_t)n);
    if (k->now)
        *(volatile uint64_t *)k->now = now;
    int error = bpf_prog_test_run_opts(k->program, &options);
    if (error)
        DIE("test run of %zu bytes: %s", n, strerror(-error));
    return (int)options.retval;
}

static inline const uint8_t *kernel_frame(kernel *k) {
    uint32_t key = 0;
    if (bpf_map_lookup_elem(k->frame, &key, k->frames))
        DIE("mlc_frame: cannot be read");
    return k->frames;
}

static inline uint64_t kernel_count(kernel *k, uint32_t entry) {
    uint64_t *values = calloc((size_t)k->n_cpus, sizeof *values), sum = 0;
    if (!values || bpf_map_lookup_elem(k->stats, &entry, values))
        DIE("mlc_stats: cannot be read");
    for (int i = 0; i < k->n_cpus; i++)
        sum += values[i];
    free(values);
    return sum;
}

#endif
