/* The bpf-raw target around Model.h. */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "Model.h"

struct in {
    __u8 bytes[8];
};
struct out {
    __u8 bytes[24];
};

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct in);
} mlc_in SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct out);
} mlc_out SEC(".maps");

__u32 mlc_next, mlc_count;

SEC("socket")
int mlc_raw(struct __sk_buff *ctx) {
    __u32 i = mlc_next;
    mlc_next = i + 1 < mlc_count ? i + 1 : 0;
    struct in *in = bpf_map_lookup_elem(&mlc_in, &i);
    struct out *out = bpf_map_lookup_elem(&mlc_out, &i);
    if (in && out)
        mlc_model(in->bytes, out->bytes);
    return 0;
}

char _license[] SEC("license") = "GPL";
