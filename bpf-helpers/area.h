/* The feature area of the frame: results, and scratch that would otherwise be on
 * the stack, where every store costs a speculation barrier in programs loaded
 * without CAP_PERFMON. */
#ifndef MLC_AREA_H
#define MLC_AREA_H

#include "mlc.h"

enum {
#define MLC_FEATURE(SYMBOL, name, group, needs, lo, hi, doc) MLC_##SYMBOL,
#include "mlc/features.def"
#undef MLC_FEATURE
};

/* Map keys; addresses and ports in network byte order. */
struct mlc_flow_key {
    __u32 saddr, daddr;
    __u16 sport, dport;
    __u32 proto;
};

/* Values of the state maps, all of u64; times in ns. */
struct mlc_flow {
    __u64 first, last;
    __u64 packets, bytes, sum_of_squares; /* of ip_len */
    __u64 iat_max;                        /* largest gap between packets */
    __u64 syn, finrst, psh;               /* packets with these flags */
    __u64 min_len, max_len;
};

struct mlc_source {
    __u64 start;
    __u64 packets, bytes, new_flows, syn;
    __u64 ports, destinations; /* bitmaps */
};

struct mlc_destination {
    __u64 start;
    __u64 packets, new_flows, syn;
    __u64 sources; /* bitmap */
};

/* What the headers say. L4 fields are 0 for later fragments and where the fixed
 * part of the L4 header is cut short. */
struct mlc_packet {
    struct mlc_flow_key key;
    __u16 ip_len, fragment; /* host byte order */
    __u16 window;
    __u8 flags;                /* of TCP */
    __u8 ip_offset;            /* from the first byte of the packet */
    __u8 ip_header, l4_header; /* bytes; l4_header 0: none, or not known */
    __u8 pad[6];
};

struct mlc_area {
    __u16 feature[MLC_N_BUILTINS];
    __u16 pad;
    __u32 counter; /* key of mlc_stats */
    __u32 pad2;
    struct mlc_packet packet;
    __u64 now;      /* ns */
    __u64 iat;      /* ns since the flow's previous packet */
    __u64 new_flow; /* 1: the packet begins a flow */
    __u64 syn_only; /* 1: SYN without ACK */
    /* The state after this packet; for a moment, a new one to insert. */
    union {
        struct mlc_flow flow;
        struct mlc_source source;
        struct mlc_destination destination;
    };
};

_Static_assert(sizeof(struct mlc_area) <= MLC_FEATURES_BYTES, "MLC_FEATURES_BYTES");

/* The functions that fill the frame return this or an mlc_packet_error. */
enum { MLC_NO_ERROR = -1 };

static __always_inline int mlc_uses(int feature) {
    return mlc_feature_builtins[feature / 32] >> feature % 32 & 1;
}

/* Forgets what registers hold of the area: reading it again is cheaper than
 * spilling, and what is read is any number to the verifier, so that ways which
 * differ in what they wrote end in one state. */
#define MLC_REREAD() asm volatile("" ::: "memory")

/* The same pointer to LLVM's mind a new one: addresses of members are computed from
 * it where they are used, and not kept in registers or on the stack in between. */
#define MLC_FRESH(pointer)                                     \
    ({                                                         \
        typeof(pointer) fresh_;                                \
        asm volatile("%0 = %1" : "=r"(fresh_) : "r"(pointer)); \
        fresh_;                                                \
    })

/* Sets a feature that the model uses; the value is computed only then. */
#define MLC_SET(area, SYMBOL, value)                        \
    do {                                                    \
        if (mlc_uses(MLC_##SYMBOL)) {                       \
            (area)->feature[MLC_##SYMBOL] = (__u16)(value); \
            MLC_REREAD();                                   \
        }                                                   \
    } while (0)

#endif
