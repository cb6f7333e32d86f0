/*
 * Measures socket programs with cold caches: each run tail-calls the next of many
 * copies, so that code and maps of one were last touched when all others had run.
 */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

struct {
    __uint(type, BPF_MAP_TYPE_PROG_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, __u32);
} copies SEC(".maps");

/* The programs first..first + count - 1 of `copies` are run in turn. */
__u32 first = 0, count = 1;
__u32 next = 0;
__u32 failed = 0; /* runs that did not reach a copy */

SEC("socket")
int rotate(struct __sk_buff *ctx) {
    __u32 i = next;
    next = i + 1 < count ? i + 1 : 0;
    bpf_tail_call(ctx, &copies, first + i);
    failed++;
    return 1;
}

SEC("socket")
int empty(struct __sk_buff *ctx) {
    return 0;
}

char _license[] SEC("license") = "GPL";
