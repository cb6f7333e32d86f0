/* A packet filter that reads a byte it did not check for. */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

SEC("xdp")
int mlc_xdp(struct xdp_md *ctx) {
    return *(volatile __u8 *)(long)ctx->data ? XDP_PASS : XDP_DROP;
}

char _license[] SEC("license") = "GPL";
