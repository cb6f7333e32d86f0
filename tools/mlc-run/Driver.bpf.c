/*
 * Measures XDP programs on varied packets: writes one of many packets over the
 * test packet and tail-calls the program. The order is pseudo-random, so that the
 * branch predictor cannot learn it as it does in a run over one packet.
 */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

enum { MAX_PACKET = 3072 }; /* MLC_MAX_PACKET of Packets.h */

struct packet {
    __u32 size;
    __u8 data[MAX_PACKET];
};

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct packet);
} packets SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_PROG_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, __u32);
} target SEC(".maps");

__u32 count = 1;  /* packets */
__u32 state = 1;  /* of the generator */
__u32 failed = 0; /* packets that did not reach the target */

SEC("xdp")
int driver(struct xdp_md *ctx) {
    state = state * 1664525 + 1013904223;
    __u32 i = (__u64)state * count >> 32;
    struct packet *packet = bpf_map_lookup_elem(&packets, &i);
    if (packet) {
        __u32 size = packet->size;
        int grow = (int)size - (int)bpf_xdp_get_buff_len(ctx);
        if (size > 0 && size <= MAX_PACKET && !bpf_xdp_adjust_tail(ctx, grow) &&
            !bpf_xdp_store_bytes(ctx, 0, packet->data, size))
            bpf_tail_call(ctx, &target, 0);
    }
    failed++;
    return XDP_ABORTED;
}

SEC("xdp")
int empty(struct xdp_md *ctx) {
    return XDP_PASS;
}

char _license[] SEC("license") = "GPL";
