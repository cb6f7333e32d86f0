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

/* Keys that need no store to the stack. */
static const __u32 counter_keys[MLC_N_COUNTERS] = {0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15,
                                                   16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31};

static __always_inline void count(__u32 entry)
{
    __u64 *n = bpf_map_lookup_elem(&mlc_stats, &counter_keys[entry]);
    if (n)
        ++*n;
}

static __always_inline int fill_features(struct xdp_md *ctx, __u8 *frame)
{
    struct mlc_area *area = (struct mlc_area *)(frame + mlc_frame_features);
    if (mlc_feature_groups & MLC_GROUP_PACKET_BYTES) {
        int error = mlc_packet_bytes(ctx, frame + mlc_frame_packet);
        if (error != MLC_NO_ERROR)
            return error;
    }
    if (!(mlc_feature_groups & ~MLC_GROUP_PACKET_BYTES))
        return MLC_NO_ERROR;
    int error = mlc_parse((void *)(long)ctx->data, (void *)(long)ctx->data_end, &area->packet);
    if (error != MLC_NO_ERROR)
        return error;
    mlc_header_features(area);
    if (mlc_feature_groups & MLC_GROUP_PAYLOAD)
        mlc_payload_bytes(ctx, &area->packet, frame + mlc_frame_payload);
    if (!(mlc_feature_groups & (MLC_GROUP_FLOW | MLC_GROUP_SOURCE | MLC_GROUP_DESTINATION)))
        return MLC_NO_ERROR;
    return mlc_state_features(area, mlc_clock_from_map ? mlc_now : bpf_ktime_get_ns());
}

SEC("xdp") int mlc_xdp(struct xdp_md *ctx)
{
    __u8 *frame = mlc_frame_get();
    int error = frame ? fill_features(ctx, frame) : MLC_PACKET_NO_FRAME;
    if (error != MLC_NO_ERROR) {
        count(MLC_MAX_DECISIONS + error);
        return mlc_on_error_verdict;
    }
    mlc_model(frame, frame + mlc_frame_out, frame + mlc_frame_scratch);
    __u32 decision = frame[mlc_frame_out] & (MLC_MAX_DECISIONS - 1);
    count(decision);
    return mlc_verdicts[decision];
}
