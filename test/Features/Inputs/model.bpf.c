/*
 * Stands for what mlc generates, with a model that decides 1 for packets whose
 * is_tcp feature is set. What the real compiler derives from a feature binding
 * comes in as macros.
 */
#include "mlc.h"

#ifndef GROUPS
#define GROUPS 0
#endif
#ifndef BUILTINS
#define BUILTINS 0
#endif
#ifndef PKT_BEGIN
#define PKT_BEGIN 0
#define PKT_END 0
#endif
#ifndef PAYLOAD_OFF
#define PAYLOAD_OFF 0
#define PAYLOAD_LEN 0
#endif
#ifndef CLOCK_FROM_MAP
#define CLOCK_FROM_MAP 0
#endif

enum {
    PACKET = MLC_FEATURES_BYTES,
    PAYLOAD = PACKET + (PKT_END - PKT_BEGIN + 7) / 8 * 8,
    OUT = PAYLOAD + (PAYLOAD_LEN + 7) / 8 * 8,
    SIZE = OUT + 8,
};

const __u32 mlc_feature_groups = GROUPS;
const __u32 mlc_feature_builtins[2] = {(__u32)(BUILTINS), (__u32)((BUILTINS + 0ull) >> 32)};
const __u32 mlc_pkt_begin = PKT_BEGIN, mlc_pkt_end = PKT_END;
const __u32 mlc_payload_off = PAYLOAD_OFF, mlc_payload_len = PAYLOAD_LEN;
const __u32 mlc_frame_features = 0, mlc_frame_packet = PACKET, mlc_frame_payload = PAYLOAD,
            mlc_frame_out = OUT, mlc_frame_scratch = OUT;
const __u32 mlc_verdicts[MLC_MAX_DECISIONS] = {XDP_PASS, XDP_DROP};
const __u32 mlc_n_decisions = 2;
const __u32 mlc_on_error_verdict = XDP_TX;
const __u32 mlc_clock_from_map = CLOCK_FROM_MAP;

struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, 1);
    __uint(key_size, 4);
    __uint(value_size, SIZE);
} mlc_frame MLC_MAP;

static const volatile __u32 key = 0; /* not on the stack: see bpf-helpers/area.h */

__always_inline void *mlc_frame_get(void) {
    return bpf_map_lookup_elem(&mlc_frame, (const void *)&key);
}

void mlc_model(const __u8 *in, __u8 *out, __u8 *scratch) {
    *out = GROUPS & MLC_GROUP_HEADER ? in[0] & 1 : 0;
}

char _license[] SEC("license") = "GPL";
