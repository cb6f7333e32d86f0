/* Entry of target bpf-xdp: features of the packet, the model, a verdict. */
#include "bytes.h"
#include "state.h"

struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, MLC_N_COUNTERS);
    __type(key, __u32);
    __type(value, __u64);
} mlc_stats MLC_MAP;

/* Stands for the clock when mlc_clock_from_map is 1; ns. */
volatile __u64 mlc_now = 0;

static const __u32 no_frame = MLC_MAX_DECISIONS + MLC_PACKET_NO_FRAME;

/* The key lies in a map: one on the stack would cost a speculation barrier without
 * CAP_PERFMON, and an address computed from `entry` is refused then. */
static __always_inline void count(const __u32 *entry) {
    __u64 *n = bpf_map_lookup_elem(&mlc_stats, entry);
    if (n)
        ++*n;
}

static __always_inline int fill_features(struct xdp_md *ctx, __u8 *frame, struct mlc_area *area) {
    int error = MLC_NO_ERROR;
    if (mlc_feature_groups & MLC_GROUP_PACKET_BYTES)
        error = mlc_packet_bytes(ctx, frame + mlc_frame_packet);
    if (error != MLC_NO_ERROR || !(mlc_feature_groups & ~MLC_GROUP_PACKET_BYTES))
        return error;
    error = mlc_parse((void *)(long)ctx->data, (void *)(long)ctx->data_end, &area->packet);
    if (error != MLC_NO_ERROR)
        return error;
    mlc_header_features(area);
    if (mlc_feature_groups & MLC_GROUP_PAYLOAD)
        mlc_payload_bytes(ctx, frame, &area->packet);
    if (!(mlc_feature_groups & (MLC_GROUP_FLOW | MLC_GROUP_SOURCE | MLC_GROUP_DESTINATION)))
        return MLC_NO_ERROR;
    return mlc_state_features(area, mlc_clock_from_map ? mlc_now : bpf_ktime_get_ns());
}

SEC("xdp") int mlc_xdp(struct xdp_md *ctx) {
    __u8 *frame = mlc_frame_get();
    if (!frame) {
        count(&no_frame);
        return mlc_on_error_verdict;
    }
    struct mlc_area *area = (struct mlc_area *)(frame + mlc_frame_features);
    int error = fill_features(ctx, frame, area);
    if (error != MLC_NO_ERROR) {
        area->counter = MLC_MAX_DECISIONS + error;
        count(&MLC_FRESH(area)->counter);
        return mlc_on_error_verdict;
    }
    mlc_model(frame, frame + mlc_frame_out, frame + mlc_frame_scratch);
    __u32 decision = frame[mlc_frame_out] & (MLC_MAX_DECISIONS - 1);
    area->counter = decision;
    count(&MLC_FRESH(area)->counter);
    return mlc_verdicts[decision];
}

char mlc_license[] SEC("license") = "GPL";
