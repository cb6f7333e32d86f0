/*
 * A packet filter that counts packets of an experimental Ethernet type by verdict
 * and by source, and passes everything else uncounted.
 *
 * VERDICT: what it decides. FLOWS: entries of mlc_flows. VARIANT: makes objects differ.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

enum { MARKED = 0x88b5 };

struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, 2);
    __type(key, __u32);
    __type(value, __u64);
} mlc_stats SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_LRU_HASH);
    __uint(max_entries, FLOWS);
    __type(key, __u32);
    __type(value, __u64);
} mlc_flows SEC(".maps");

const volatile __u32 variant = VARIANT;

SEC("xdp")
int mlc_xdp(struct xdp_md *ctx) {
    struct ethhdr *eth = (void *)(long)ctx->data;
    if ((void *)(eth + 1) > (void *)(long)ctx->data_end || eth->h_proto != bpf_htons(MARKED))
        return XDP_PASS;
    __u32 index = VERDICT == XDP_DROP, key = 1;
    __u64 one = 1;
    __u64 *count = bpf_map_lookup_elem(&mlc_stats, &index);
    __u64 *seen = bpf_map_lookup_elem(&mlc_flows, &key);
    if (count)
        *count += 1;
    if (seen)
        __sync_fetch_and_add(seen, 1);
    else
        bpf_map_update_elem(&mlc_flows, &key, &one, BPF_ANY);
    return VERDICT;
}

char _license[] SEC("license") = "GPL";
