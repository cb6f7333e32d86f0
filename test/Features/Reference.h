/*
 * The built-in features in plain C, for one packet after the other: written from
 * their definition, with branches, divisions and linear search, to be compared
 * with what bpf-helpers computes in the kernel.
 */
#ifndef REFERENCE_H
#define REFERENCE_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "mlc/packet.h"

enum { REF_MAX_STATES = 1 << 16 };

typedef struct ref_flow {
    uint32_t saddr, daddr;
    uint16_t sport, dport;
    uint8_t proto;
    uint64_t first, last, packets, bytes, squares, iat_max, min, max, syn, finrst, psh;
} ref_flow;

typedef struct ref_host {
    uint32_t addr;
    uint64_t start, packets, bytes, ports, peers, new_flows, syn;
} ref_host;

typedef struct reference {
    ref_flow *flows;
    ref_host *sources, *destinations;
    int n_flows, n_sources, n_destinations;
} reference;

static inline uint64_t ref_l8(uint64_t x) {
    if (x == 0)
        return 0;
    if (x > ((uint64_t)1 << 40) - 1)
        x = ((uint64_t)1 << 40) - 1;
    uint64_t e = 63 - (uint64_t)__builtin_clzll(x);
    return 8 * (e + 1) + (((x << 3) >> e) & 7);
}

static inline uint64_t ref_bucket(uint32_t x) {
    return (uint64_t)1 << ((uint32_t)(x * 0x9E3779B1u) >> 26);
}

static inline int ref_port_class(uint16_t p) {
    return p == 0 ? 0 : p < 1024 ? 1 : p < 32768 ? 2 : 3;
}

static inline uint16_t ref_be16(const uint8_t *p) {
    return (uint16_t)(p[0] << 8 | p[1]);
}

static inline uint32_t ref_be32(const uint8_t *p) {
    return (uint32_t)ref_be16(p) << 16 | ref_be16(p + 2);
}

static inline ref_flow *ref_find_flow(reference *r, const ref_flow *key, int *is_new) {
    for (int i = r->n_flows - 1; i >= 0; i--) {
        ref_flow *f = &r->flows[i];
        if (f->saddr == key->saddr && f->daddr == key->daddr && f->sport == key->sport &&
            f->dport == key->dport && f->proto == key->proto)
            return f;
    }
    if (r->n_flows == REF_MAX_STATES)
        abort();
    *is_new = 1;
    r->flows[r->n_flows] = *key;
    return &r->flows[r->n_flows++];
}

static inline ref_host *ref_find_host(ref_host *hosts, int *n, uint32_t addr, uint64_t now, uint64_t window) {
    ref_host *h = NULL;
    for (int i = *n - 1; i >= 0 && !h; i--)
        if (hosts[i].addr == addr)
            h = &hosts[i];
    if (!h && *n == REF_MAX_STATES)
        abort();
    int fresh = !h || (now > h->start && now - h->start >= window);
    if (!h)
        h = &hosts[(*n)++];
    if (fresh)
        *h = (ref_host){.addr = addr, .start = now};
    return h;
}

static inline void ref_free(reference *r) {
    free(r->flows);
    free(r->sources);
    free(r->destinations);
}

static inline void ref_init(reference *r) {
    *r = (reference){.flows = calloc(REF_MAX_STATES, sizeof(ref_flow)),
                     .sources = calloc(REF_MAX_STATES, sizeof(ref_host)),
                     .destinations = calloc(REF_MAX_STATES, sizeof(ref_host))};
    if (!r->flows || !r->sources || !r->destinations)
        abort();
}

/* -1 and the features, or the packet's error. `payload` and `payload_n`: the bytes behind the L4 header. */
static inline int ref_step(reference *r, uint64_t now, const uint8_t *b, size_t n,
                           uint16_t out[MLC_N_BUILTINS], const uint8_t **payload, size_t *payload_n) {
    size_t at = 14;
    if (n < at)
        return MLC_PACKET_BAD_HEADER;
    uint16_t type = ref_be16(b + 12);
    for (int i = 0; i < 2 && (type == 0x8100 || type == 0x88a8); i++, at += 4) {
        if (n < at + 4)
            return MLC_PACKET_BAD_HEADER;
        type = ref_be16(b + at + 2);
    }
    if (type != 0x0800)
        return MLC_PACKET_NOT_IPV4;
    b += at;
    n -= at;
    if (n < 20)
        return MLC_PACKET_BAD_HEADER;
    if (b[0] >> 4 != 4)
        return MLC_PACKET_NOT_IPV4;
    size_t header = (b[0] & 15u) * 4;
    if (header < 20 || n < header)
        return MLC_PACKET_BAD_HEADER;

    uint16_t len = ref_be16(b + 2), fragment = ref_be16(b + 6), window = 0;
    ref_flow key = {.saddr = ref_be32(b + 12), .daddr = ref_be32(b + 16), .proto = b[9]};
    size_t l4 = 0, options = 0;
    unsigned flags = 0;
    const uint8_t *p = b + header;
    if (!(fragment & 0x1fff)) {
        if (key.proto == 6 && n >= header + 20) {
            key.sport = ref_be16(p);
            key.dport = ref_be16(p + 2);
            l4 = (size_t)(p[12] >> 4) * 4;
            options = l4 > 20 ? l4 - 20 : 0;
            flags = p[13];
            window = ref_be16(p + 14);
        } else if (key.proto == 17 && n >= header + 8) {
            key.sport = ref_be16(p);
            key.dport = ref_be16(p + 2);
            l4 = 8;
        } else if (key.proto == 1 && n >= header + 8) {
            l4 = 8;
        }
    }
    size_t inside = len > header + l4 ? len - header - l4 : 0,
           available = n > header + l4 ? n - header - l4 : 0;
    *payload = p + l4;
    *payload_n = inside < available ? inside : available;

    int new_flow = 0, syn_only = key.proto == 6 && (flags & 0x12) == 0x02;
    ref_flow *f = ref_find_flow(r, &key, &new_flow);
    if (new_flow || (now > f->last && now - f->last > (uint64_t)1 << 36)) {
        new_flow = 1;
        key.first = key.last = now;
        key.min = key.max = len;
        *f = key;
    }
    uint64_t iat = 0;
    if (now > f->last) {
        iat = now - f->last;
        f->last = now;
    }
    f->packets++;
    f->bytes += len;
    f->squares += (uint64_t)len * len;
    if (iat > f->iat_max)
        f->iat_max = iat;
    if (len < f->min)
        f->min = len;
    if (len > f->max)
        f->max = len;
    f->syn += (flags & 2) != 0;
    f->finrst += (flags & 5) != 0;
    f->psh += (flags & 8) != 0;

    ref_host *s = ref_find_host(r->sources, &r->n_sources, key.saddr, now, (uint64_t)1 << 33);
    s->packets++;
    s->bytes += len;
    s->ports |= ref_bucket(key.dport);
    s->peers |= ref_bucket(key.daddr);
    s->new_flows += (uint64_t)new_flow;
    s->syn += (uint64_t)syn_only;
    ref_host *d = ref_find_host(r->destinations, &r->n_destinations, key.daddr, now, (uint64_t)1 << 30);
    d->packets++;
    d->peers |= ref_bucket(key.saddr);
    d->new_flows += (uint64_t)new_flow;
    d->syn += (uint64_t)syn_only;

    uint64_t mean = f->bytes / f->packets, duration = f->last - f->first;
    uint64_t x[MLC_N_BUILTINS] = {
        key.proto == 6,
        key.proto == 17,
        key.proto == 1,
        len,
        ref_l8(inside),
        header - 20,
        (fragment & 0x3fff) != 0,
        fragment >> 14 & 1,
        flags & 1,
        flags >> 1 & 1,
        flags >> 2 & 1,
        flags >> 3 & 1,
        flags >> 4 & 1,
        flags >> 5 & 1,
        (flags & 0xc0) != 0,
        ref_l8(window),
        options,
        (uint64_t)ref_port_class(key.sport),
        (uint64_t)ref_port_class(key.dport),
        ref_l8(f->packets),
        ref_l8(f->bytes),
        mean,
        ref_l8(f->squares / f->packets - mean * mean),
        f->min,
        f->max,
        ref_l8(duration / 1000),
        ref_l8(iat / 1000),
        f->packets > 1 ? ref_l8(duration / 1000 / (f->packets - 1)) : 0,
        ref_l8(f->iat_max / 1000),
        ref_l8(f->syn),
        ref_l8(f->finrst),
        ref_l8(f->psh),
        ref_l8(s->packets),
        ref_l8(s->new_flows),
        ref_l8(s->syn),
        (uint64_t)__builtin_popcountll(s->ports),
        (uint64_t)__builtin_popcountll(s->peers),
        s->bytes / s->packets,
        ref_l8((now > s->start ? now - s->start : 0) / 1000),
        ref_l8(d->packets),
        ref_l8(d->new_flows),
        ref_l8(d->syn),
        (uint64_t)__builtin_popcountll(d->peers),
    };
    for (int i = 0; i < MLC_N_BUILTINS; i++)
        out[i] = (uint16_t)x[i];
    return -1;
}

#endif
