/* Raw bytes of packet and payload, copied to where the model reads them. */
#ifndef MLC_BYTES_H
#define MLC_BYTES_H

#include "area.h"
#include "bits.h"

/* Above this a call of bpf_xdp_load_bytes (Linux 5.18) beats single loads. */
enum { MLC_INLINE_COPY = 256 };

#define MLC_COPY(type, to, from, at, n)                          \
    if ((at) + sizeof(type) <= (n)) {                            \
        *(type *)((to) + (at)) = *(const type *)((from) + (at)); \
        (at) += sizeof(type);                                    \
    }

/* `n` is a constant of the model: everything but the copies folds away. */
static __always_inline int mlc_packet_bytes(struct xdp_md *ctx, __u8 *to) {
    const __u32 n = mlc_pkt_end - mlc_pkt_begin;
    if (n > MLC_INLINE_COPY)
        return bpf_xdp_load_bytes(ctx, mlc_pkt_begin, to, n) ? MLC_PACKET_SHORT : MLC_NO_ERROR;
    const void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
    if (data + mlc_pkt_end > end)
        return MLC_PACKET_SHORT;
    const void *from = data + mlc_pkt_begin;
    __u32 at = 0;
#pragma unroll
    for (int i = 0; i < MLC_INLINE_COPY / 8; i++) {
        MLC_COPY(__u64, to, from, at, n)
    }
    MLC_COPY(__u32, to, from, at, n)
    MLC_COPY(__u16, to, from, at, n)
    MLC_COPY(__u8, to, from, at, n)
    return MLC_NO_ERROR;
}

/* Zeros up to `n`, rounded up to 8. Straight-line code per 64 bytes: without
 * CAP_PERFMON every turn of a loop costs a speculation barrier. The asm statement
 * keeps LLVM from making a call of memset from it. */
static __always_inline void mlc_zero(__u8 *to, __u32 n) {
    for (__u32 i = 0; i < n / 64; i++) {
#pragma unroll
        for (int j = 0; j < 64; j += 8)
            *(volatile __u64 *)(to + j) = 0;
        asm volatile("%0 += 64" : "+r"(to));
    }
#pragma unroll
    for (__u32 j = 0; j < 64; j += 8)
        if (j < n % 64)
            *(volatile __u64 *)(to + j) = 0;
}

/* Zeros, then what there is. The payload ends where the IP packet does, not with
 * Ethernet's padding, and where the frame ends. */
static __always_inline void mlc_payload_bytes(struct xdp_md *ctx, __u8 *frame, const struct mlc_packet *p) {
    __u32 skip = p->ip_header + p->l4_header + mlc_payload_off, start = p->ip_offset + skip;
    __u64 inside = mlc_excess(p->ip_len, skip);
    __u64 have = mlc_min(inside, mlc_excess(bpf_xdp_get_buff_len(ctx), start));
    __u8 *to = MLC_FRESH(frame) + mlc_frame_payload;
    if (have < mlc_payload_len)
        mlc_zero(to, mlc_payload_len);
    __u64 n = mlc_opaque(have);
    if (n > mlc_payload_len)
        n = mlc_payload_len;
    if (n > 0)
        bpf_xdp_load_bytes(ctx, start, to, n);
}

#endif
