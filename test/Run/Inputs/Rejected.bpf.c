/* Three programs: one is accepted; the verifier refuses the others, at line 3 of the model and for its size.
 */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

SEC("socket")
int accepted(struct __sk_buff *ctx) {
    return 0;
}

SEC("socket")
int unbounded(struct __sk_buff *ctx) {
    __u64 index = ctx->len;
    char stack[16] = {0};
#line 3 "model.mlc"
    return *(volatile char *)(stack + index);
}

SEC("socket")
int endless(struct __sk_buff *ctx) {
    volatile __u32 n = ctx->len;
    while (n != 7)
        n++;
    return 0;
}

char _license[] SEC("license") = "GPL";
