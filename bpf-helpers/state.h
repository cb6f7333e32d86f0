/*
 * Features with a memory: state of the packet's flow, source and destination in
 * LRU maps. The packet is added before the features are read.
 *
 * Several CPUs may work on one entry at the same time, and an entry may be evicted
 * and reused under a CPU's hands. Updates are plain loads and stores of aligned
 * words, so a word is never torn; what can happen is that of two simultaneous
 * packets one is not counted. Atomic additions would cost more than the rest of the
 * update and would still not make an entry consistent as a whole. No computation
 * relies on consistency: every feature stays in its range whatever an entry holds.
 */
#ifndef MLC_STATE_H
#define MLC_STATE_H

#include "parse.h"

#define MLC_FLOW_IDLE_NS (1ll << 36)
#define MLC_SOURCE_WINDOW_NS (1ll << 33)
#define MLC_DESTINATION_WINDOW_NS (1ll << 30)

struct {
    __uint(type, BPF_MAP_TYPE_LRU_HASH);
    __uint(max_entries, 65536);
    __type(key, struct mlc_flow_key);
    __type(value, struct mlc_flow);
} mlc_flows MLC_MAP;

struct {
    __uint(type, BPF_MAP_TYPE_LRU_HASH);
    __uint(max_entries, 16384);
    __type(key, __u32);
    __type(value, struct mlc_source);
} mlc_sources MLC_MAP;

struct {
    __uint(type, BPF_MAP_TYPE_LRU_HASH);
    __uint(max_entries, 16384);
    __type(key, __u32);
    __type(value, struct mlc_destination);
} mlc_destinations MLC_MAP;

/*
 * The value for the key in area member `key`; a new one is a copy of member
 * `initial`, which `init` sets. Each state is then copied to the area, changed
 * there and written back: features are computed from the copy, which no other CPU
 * touches. The pointer is tested for NULL only once on every way: at a second test
 * the verifier follows the wrong way too, as a CPU that speculates may.
 */
#define MLC_FIND(found, map, key, initial, init)                                           \
    typeof(a->initial) *found = bpf_map_lookup_elem(map, &MLC_FRESH(a)->key);              \
    if (!found) {                                                                          \
        init;                                                                              \
        bpf_map_update_elem(map, &MLC_FRESH(a)->key, &MLC_FRESH(a)->initial, BPF_NOEXIST); \
        found = bpf_map_lookup_elem(map, &MLC_FRESH(a)->key);                              \
        if (!found)                                                                        \
            return MLC_PACKET_NO_MEMORY;                                                   \
    }

/* Word by word, from and to where the words are: memcpy would first compute both
 * addresses, and keep them. */
#define MLC_COPY_STATE(to, from)                                                      \
    do {                                                                              \
        __u64 *to_ = (__u64 *)(to);                                                   \
        const __u64 *from_ = (const __u64 *)(from);                                   \
        _Static_assert(sizeof *(to) == sizeof *(from), "values of one map");          \
        _Pragma("unroll") for (__u32 i_ = 0; i_ < sizeof *(to) / sizeof *to_; i_++) { \
            to_[i_] = from_[i_];                                                      \
        }                                                                             \
        MLC_REREAD();                                                                 \
    } while (0)

static __always_inline void mlc_new_flow(struct mlc_area *a) {
    __u64 len = a->packet.ip_len;
    a->flow = (struct mlc_flow){.first = a->now, .last = a->now, .min_len = len, .max_len = len};
    a->new_flow = 1;
}

static __always_inline void mlc_new_source(struct mlc_area *a) {
    a->source = (struct mlc_source){.start = a->now};
}

static __always_inline void mlc_new_destination(struct mlc_area *a) {
    a->destination = (struct mlc_destination){.start = a->now};
}

static __always_inline int mlc_flow_features(struct mlc_area *a) {
    MLC_FIND(found, &mlc_flows, packet.key, flow, mlc_new_flow(a))
    struct mlc_flow *f = &a->flow;
    MLC_COPY_STATE(f, found);
    if ((__s64)(a->now - f->last) > MLC_FLOW_IDLE_NS)
        mlc_new_flow(a);
    MLC_REREAD();
    __u64 len = a->packet.ip_len, flags = a->packet.flags;
    /* A clock that runs back (another CPU's) gives a gap of 0. */
    __u64 iat = mlc_excess(a->now, f->last);
    f->last += iat;
    f->packets++;
    f->bytes += len;
    f->sum_of_squares += len * len;
    a->iat = iat;
    f->iat_max = mlc_max(iat, f->iat_max);
    f->min_len = mlc_min(f->min_len, len);
    f->max_len = mlc_max(f->max_len, len);
    f->syn += flags >> 1 & 1;
    f->finrst += (flags | mlc_opaque(flags >> 2)) & 1;
    f->psh += flags >> 3 & 1;
    MLC_COPY_STATE(found, f);

    __u64 n = f->packets, us = (f->last - f->first) / 1000, mean = f->bytes / n;
    MLC_SET(a, F_MEAN_LEN, mean);
    MLC_SET(a, F_L8_VAR_LEN, mlc_l8_u32(f->sum_of_squares / n - mean * mean));
    MLC_SET(a, F_L8_DUR_US, mlc_l8(us));
    /* The first packet's duration is 0, so its divisor may be 1 as well. */
    MLC_SET(a, F_L8_IAT_MEAN_US, mlc_l8(us / (n - mlc_above(n, 1))));
    MLC_SET(a, F_L8_PKTS, mlc_l8(n));
    MLC_SET(a, F_L8_BYTES, mlc_l8(f->bytes));
    MLC_SET(a, F_MIN_LEN, f->min_len);
    MLC_SET(a, F_MAX_LEN, f->max_len);
    MLC_SET(a, F_L8_IAT_US, mlc_l8_u32(a->iat / 1000));
    MLC_SET(a, F_L8_IAT_MAX_US, mlc_l8_u32(f->iat_max / 1000));
    MLC_SET(a, F_L8_SYN, mlc_l8(f->syn));
    MLC_SET(a, F_L8_FINRST, mlc_l8(f->finrst));
    MLC_SET(a, F_L8_PSH, mlc_l8(f->psh));
    return MLC_NO_ERROR;
}

static __always_inline int mlc_source_features(struct mlc_area *a) {
    MLC_FIND(found, &mlc_sources, packet.key.saddr, source, mlc_new_source(a))
    const struct mlc_packet *p = &a->packet;
    struct mlc_source *s = &a->source;
    MLC_COPY_STATE(s, found);
    if ((__s64)(a->now - s->start) >= MLC_SOURCE_WINDOW_NS)
        mlc_new_source(a);
    MLC_REREAD();
    s->packets++;
    s->bytes += p->ip_len;
    s->new_flows += a->new_flow;
    s->syn += a->syn_only;
    s->ports |= mlc_bucket(bpf_ntohs(p->key.dport));
    s->destinations |= mlc_bucket(bpf_ntohl(p->key.daddr));
    MLC_COPY_STATE(found, s);

    MLC_SET(a, S_L8_PKTS, mlc_l8(s->packets));
    MLC_SET(a, S_L8_NEWFLOWS, mlc_l8(s->new_flows));
    MLC_SET(a, S_L8_SYN, mlc_l8(s->syn));
    MLC_SET(a, S_PORTS64, __builtin_popcountll(s->ports));
    MLC_SET(a, S_DSTS64, __builtin_popcountll(s->destinations));
    MLC_SET(a, S_MEAN_LEN, s->bytes / s->packets);
    MLC_SET(a, S_L8_AGE_US, mlc_l8_u32(mlc_excess(a->now, s->start) / 1000));
    return MLC_NO_ERROR;
}

static __always_inline int mlc_destination_features(struct mlc_area *a) {
    MLC_FIND(found, &mlc_destinations, packet.key.daddr, destination, mlc_new_destination(a))
    const struct mlc_packet *p = &a->packet;
    struct mlc_destination *d = &a->destination;
    MLC_COPY_STATE(d, found);
    if ((__s64)(a->now - d->start) >= MLC_DESTINATION_WINDOW_NS)
        mlc_new_destination(a);
    MLC_REREAD();
    d->packets++;
    d->new_flows += a->new_flow;
    d->syn += a->syn_only;
    d->sources |= mlc_bucket(bpf_ntohl(p->key.saddr));
    MLC_COPY_STATE(found, d);

    MLC_SET(a, D_L8_PKTS, mlc_l8(d->packets));
    MLC_SET(a, D_L8_NEWFLOWS, mlc_l8(d->new_flows));
    MLC_SET(a, D_L8_SYN, mlc_l8(d->syn));
    MLC_SET(a, D_SRCS64, __builtin_popcountll(d->sources));
    return MLC_NO_ERROR;
}

static __always_inline int mlc_state_features(struct mlc_area *a, __u64 now) {
    __u64 flags = a->packet.flags;
    a->now = now;
    a->syn_only = (flags >> 1 & ~(flags >> 4)) & 1;
    a->new_flow = 0;
    MLC_REREAD();
    int error = MLC_NO_ERROR;
    if (mlc_feature_groups & MLC_GROUP_FLOW)
        error = mlc_flow_features(a);
    if (error == MLC_NO_ERROR && mlc_feature_groups & MLC_GROUP_SOURCE)
        error = mlc_source_features(a);
    if (error == MLC_NO_ERROR && mlc_feature_groups & MLC_GROUP_DESTINATION)
        error = mlc_destination_features(a);
    return error;
}

#endif
