/*
 * Headers of a packet, and the features that come from them alone.
 *
 * Packet pointers move by constants only: the verifier refuses variable offsets
 * to programs loaded without CAP_PERFMON on kernels before 6.16.
 */
#ifndef MLC_PARSE_H
#define MLC_PARSE_H

#include "area.h"
#include "bits.h"

#include <bpf/bpf_endian.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/tcp.h>
#include <linux/udp.h>

enum { MLC_MAX_VLAN_TAGS = 2, MLC_ICMP_HEADER = 8 };

struct mlc_vlan {
    __be16 tci, type;
};

/* What is left of the packet. */
struct mlc_cursor {
    void *at, *end;
};

static __always_inline int mlc_has(const struct mlc_cursor *c, int n) {
    return c->at + n <= c->end;
}

/* The asm statement keeps each way of a branch its own addition of a constant. */
#define MLC_ADVANCE(c, n) asm volatile("%0 += %1" : "+r"((c)->at) : "i"(n))

static __always_inline int mlc_parse_ethernet(struct mlc_cursor *c, struct mlc_packet *p) {
    struct ethhdr *eth = c->at;
    if (!mlc_has(c, sizeof *eth))
        return MLC_PACKET_BAD_HEADER;
    __be16 type = eth->h_proto;
    __u8 offset = sizeof *eth;
    MLC_ADVANCE(c, sizeof *eth);
#pragma unroll
    for (int i = 0; i < MLC_MAX_VLAN_TAGS; i++) {
        if (type != bpf_htons(ETH_P_8021Q) && type != bpf_htons(ETH_P_8021AD))
            break;
        if (!mlc_has(c, sizeof(struct mlc_vlan)))
            return MLC_PACKET_BAD_HEADER;
        type = ((struct mlc_vlan *)c->at)->type;
        MLC_ADVANCE(c, sizeof(struct mlc_vlan));
        offset += sizeof(struct mlc_vlan);
    }
    p->ip_offset = offset;
    return type == bpf_htons(ETH_P_IP) ? MLC_NO_ERROR : MLC_PACKET_NOT_IPV4;
}

static __always_inline int mlc_parse_ip(struct mlc_cursor *c, struct mlc_packet *p) {
    struct iphdr *ip = c->at;
    if (!mlc_has(c, sizeof *ip))
        return MLC_PACKET_BAD_HEADER;
    __u8 first = *(__u8 *)ip, words = first & 15;
    if (first >> 4 != 4)
        return MLC_PACKET_NOT_IPV4;
    if (words < 5)
        return MLC_PACKET_BAD_HEADER;
    p->key.saddr = ip->saddr;
    p->key.daddr = ip->daddr;
    p->key.proto = ip->protocol;
    p->ip_len = bpf_ntohs(ip->tot_len);
    p->fragment = bpf_ntohs(ip->frag_off);
    p->ip_header = words * 4;
    MLC_ADVANCE(c, sizeof *ip);
    if (words > 5) {
#pragma unroll
        for (int i = 5; i < 15; i++)
            if (words > i)
                MLC_ADVANCE(c, 4);
    }
    return mlc_has(c, 0) ? MLC_NO_ERROR : MLC_PACKET_BAD_HEADER;
}

static __always_inline void mlc_parse_l4(struct mlc_cursor *c, struct mlc_packet *p) {
    __u32 proto = p->key.proto;
    p->key.sport = p->key.dport = p->window = p->l4_header = p->flags = 0;
    if (p->fragment & 0x1fff)
        return;
    if (proto == IPPROTO_TCP && mlc_has(c, sizeof(struct tcphdr))) {
        struct tcphdr *tcp = c->at;
        p->key.sport = tcp->source;
        p->key.dport = tcp->dest;
        p->window = bpf_ntohs(tcp->window);
        p->l4_header = ((__u8 *)tcp)[12] >> 4 << 2;
        p->flags = ((__u8 *)tcp)[13];
    } else if (proto == IPPROTO_UDP && mlc_has(c, sizeof(struct udphdr))) {
        struct udphdr *udp = c->at;
        p->key.sport = udp->source;
        p->key.dport = udp->dest;
        p->l4_header = sizeof *udp;
    } else if (proto == IPPROTO_ICMP && mlc_has(c, MLC_ICMP_HEADER)) {
        p->l4_header = MLC_ICMP_HEADER;
    }
}

static __always_inline int mlc_parse(void *data, void *end, struct mlc_packet *p) {
    struct mlc_cursor c = {data, end};
    int error = mlc_parse_ethernet(&c, p);
    if (error != MLC_NO_ERROR)
        return error;
    error = mlc_parse_ip(&c, p);
    if (error != MLC_NO_ERROR)
        return error;
    mlc_parse_l4(&c, p);
    MLC_REREAD();
    return MLC_NO_ERROR;
}

static __always_inline __u64 mlc_port_class(__be16 port) {
    __u64 x = bpf_ntohs(port);
    return mlc_above(x, 0) + mlc_above(x, 1023) + mlc_above(x, 32767);
}

static __always_inline void mlc_header_features(struct mlc_area *a) {
    const struct mlc_packet *p = &a->packet;
    __u64 proto = p->key.proto, flags = p->flags;
    MLC_SET(a, IS_TCP, mlc_equal(proto, IPPROTO_TCP));
    MLC_SET(a, IS_UDP, mlc_equal(proto, IPPROTO_UDP));
    MLC_SET(a, IS_ICMP, mlc_equal(proto, IPPROTO_ICMP));
    MLC_SET(a, IP_LEN, p->ip_len);
    MLC_SET(a, L8_PAYLOAD, mlc_l8_u16(mlc_excess(p->ip_len, p->ip_header + p->l4_header)));
    MLC_SET(a, IP_OPT_LEN, p->ip_header - sizeof(struct iphdr));
    MLC_SET(a, IS_FRAG, mlc_above(p->fragment & 0x3fff, 0));
    MLC_SET(a, DF, p->fragment >> 14 & 1);
    MLC_SET(a, FIN, flags & 1);
    MLC_SET(a, SYN, flags >> 1 & 1);
    MLC_SET(a, RST, flags >> 2 & 1);
    MLC_SET(a, PSH, flags >> 3 & 1);
    MLC_SET(a, ACK, flags >> 4 & 1);
    MLC_SET(a, URG, flags >> 5 & 1);
    MLC_SET(a, ECE_CWR, (flags >> 6 | flags >> 7) & 1);
    MLC_SET(a, L8_TCP_WIN, mlc_l8_u16(p->window));
    MLC_SET(a, TCP_OPT_LEN, mlc_excess(p->l4_header, sizeof(struct tcphdr)));
    MLC_SET(a, SPORT_CLS, mlc_port_class(p->key.sport));
    MLC_SET(a, DPORT_CLS, mlc_port_class(p->key.dport));
}

#endif
