#ifndef MLC_PACKET_H
#define MLC_PACKET_H

/* What packet programs (bpf-helpers) and the compiler agree on. No includes: BPF C reads it too. */

/* What a program has to do: bits of mlc_feature_binding.groups. */
enum {
    MLC_GROUP_HEADER = 1, /* parse IPv4 and L4 headers */
    MLC_GROUP_FLOW = 2,
    MLC_GROUP_SOURCE = 4,
    MLC_GROUP_DESTINATION = 8,
    MLC_GROUP_PACKET_BYTES = 16,
    MLC_GROUP_PAYLOAD = 32,
};

enum {
    MLC_N_BUILTINS = 43,
    /* Size of the frame's feature area: the values as u16[], then what the program
     * needs as scratch (struct mlc_area in bpf-helpers/area.h). */
    MLC_FEATURES_BYTES = 320,
    MLC_MAX_PACKET_BYTE = 4096, /* raw features end at or before this byte of packet or payload */
};

/* Entries of map mlc_stats: decision i is entry i, error e is MLC_MAX_DECISIONS + e. */
enum { MLC_MAX_DECISIONS = 16, MLC_N_COUNTERS = 32 };

typedef enum mlc_packet_error {
    MLC_PACKET_NOT_IPV4,   /* another EtherType, more than two VLAN tags, or IP version not 4 */
    MLC_PACKET_BAD_HEADER, /* Ethernet, VLAN or IP header cut short, or IHL below 5 */
    MLC_PACKET_SHORT,      /* ends before the last byte that raw features need */
    MLC_PACKET_NO_MEMORY,  /* no room for new state in a map */
    MLC_PACKET_NO_FRAME,   /* the per-CPU frame is missing: cannot happen in a loaded program */
    MLC_N_PACKET_ERRORS,
} mlc_packet_error;

#endif
