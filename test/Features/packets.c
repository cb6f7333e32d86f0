// clang-format off: lit reads these lines.
// REQUIRES: bpf
// RUN: %S/Inputs/build-filter %source %t.all.o xdp "mlc_xdp mlc_frame mlc_stats mlc_flows mlc_sources mlc_destinations mlc_now" -DGROUPS=47 -DBUILTINS=0x7ffffffffff -DCLOCK_FROM_MAP=1 -DPAYLOAD_OFF=3 -DPAYLOAD_LEN=150
// RUN: %build/test/Features/packets %t.all.o 47 0 0 3 150
// RUN: %S/Inputs/build-filter %source %t.odd.o xdp "mlc_xdp mlc_frame mlc_stats mlc_flows mlc_sources mlc_destinations mlc_now" -DGROUPS=31 -DBUILTINS=0x7ffffffffff -DCLOCK_FROM_MAP=1 -DPKT_BEGIN=3 -DPKT_END=50
// RUN: %build/test/Features/packets %t.odd.o 31 3 50 0 0
// RUN: %S/Inputs/build-filter %source %t.bytes.o xdp "mlc_xdp mlc_frame mlc_stats" -DGROUPS=16 -DPKT_BEGIN=0 -DPKT_END=48
// RUN: %build/test/Features/packets %t.bytes.o 16 0 48 0 0
// RUN: %S/Inputs/build-filter %source %t.long.o xdp "mlc_xdp mlc_frame mlc_stats" -DGROUPS=16 -DPKT_BEGIN=10 -DPKT_END=410
// RUN: %build/test/Features/packets %t.long.o 16 10 410 0 0
// RUN: %S/Inputs/build-filter %source %t.header.o xdp "mlc_xdp mlc_frame mlc_stats" -DGROUPS=49 -DBUILTINS=0x7ffff -DPKT_BEGIN=14 -DPKT_END=34 -DPAYLOAD_OFF=0 -DPAYLOAD_LEN=64
// RUN: %build/test/Features/packets %t.header.o 49 14 34 0 64
// clang-format on

/*
 * Packets of every kind, whole and cut at every length, give what the reference
 * says: features, raw bytes, payload, verdict and counters.
 */
#include "mlc/rng.h"

#include "Kernel.h"
#include "Reference.h"

enum { MAX_PACKET = 1600, N_RANDOM = 20000, HEADER_FEATURES = 19 };

typedef struct test {
    kernel kernel;
    reference reference;
    mlc_rng rng;
    unsigned groups;
    size_t pkt_begin, pkt_end, payload_off, payload_len;
    uint64_t now, errors[MLC_N_PACKET_ERRORS], decisions[2];
    int packets, bad;
} test;

static uint64_t pick(test *t, uint64_t n) {
    return mlc_rng_next(&t->rng) % n;
}

static void fail(test *t, const char *what, const uint8_t *b, size_t n) {
    if (t->bad++ > 10)
        return;
    fprintf(stderr, "packet %d: %s\n", t->packets, what);
    for (size_t i = 0; i < n && i < 100; i++)
        fprintf(stderr, "%02x", b[i]);
    fputc('\n', stderr);
}

static void check_error(test *t, int error, int verdict, const uint8_t *b, size_t n) {
    t->errors[error]++;
    if (verdict != ON_ERROR_VERDICT)
        fail(t, "is an error, but was classified", b, n);
}

static void check_packet(test *t, const uint8_t *b, size_t n) {
    int verdict = kernel_run(&t->kernel, t->now, b, n);
    t->packets++;
    if (n < t->pkt_end) {
        check_error(t, MLC_PACKET_SHORT, verdict, b, n);
        return;
    }
    uint16_t x[MLC_N_BUILTINS] = {0};
    const uint8_t *payload = b;
    size_t payload_n = 0;
    bool parses = t->groups & ~(unsigned)MLC_GROUP_PACKET_BYTES;
    int error = parses ? ref_step(&t->reference, t->now, b, n, x, &payload, &payload_n) : -1;
    if (error >= 0) {
        check_error(t, error, verdict, b, n);
        return;
    }
    t->decisions[x[0]]++;
    if (verdict != (x[0] ? XDP_DROP : XDP_PASS))
        fail(t, "wrong verdict", b, n);

    const uint8_t *frame = kernel_frame(&t->kernel);
    int n_features = !parses ? 0 : t->groups & MLC_GROUP_FLOW ? MLC_N_BUILTINS : HEADER_FEATURES;
    if (memcmp(frame, x, (size_t)n_features * 2) != 0)
        fail(t, "features differ", b, n);
    frame += MLC_FEATURES_BYTES;
    if (memcmp(frame, b + t->pkt_begin, t->pkt_end - t->pkt_begin) != 0)
        fail(t, "packet bytes differ", b, n);
    frame += (t->pkt_end - t->pkt_begin + 7) / 8 * 8;
    uint8_t expected[MAX_PACKET] = {0};
    if (payload_n > t->payload_off) {
        size_t have = payload_n - t->payload_off;
        memcpy(expected, payload + t->payload_off, have < t->payload_len ? have : t->payload_len);
    }
    if (memcmp(frame, expected, t->payload_len) != 0)
        fail(t, "payload differs", b, n);
}

static void put16(uint8_t *p, unsigned x) {
    p[0] = (uint8_t)(x >> 8);
    p[1] = (uint8_t)x;
}

typedef struct shape {
    int vlan_tags;
    unsigned vlan_type, ether_type, version, words, fragment, proto, tcp_words, payload, padding,
        ip_len_error;
} shape;

/* A packet of the given shape; addresses, ports, flags and the rest are random, from few values. */
static size_t build(test *t, const shape *s, uint8_t b[MAX_PACKET]) {
    for (size_t i = 0; i < MAX_PACKET; i++)
        b[i] = (uint8_t)mlc_rng_next(&t->rng);
    size_t at = 12;
    for (int i = 0; i < s->vlan_tags; i++, at += 4)
        put16(b + at, s->vlan_type);
    put16(b + at, s->ether_type);
    uint8_t *ip = b + at + 2, *l4 = ip + 4 * s->words;
    size_t l4_n = s->proto == 6 ? 4 * s->tcp_words : 8, n = 4 * s->words + l4_n + s->payload;
    ip[0] = (uint8_t)(s->version << 4 | s->words);
    put16(ip + 2, (unsigned)n + s->ip_len_error);
    put16(ip + 6, s->fragment);
    ip[9] = (uint8_t)s->proto;
    for (int i = 12; i < 20; i++)
        ip[i] = (uint8_t)(i % 4 == 3 ? pick(t, 7) : 10);
    for (int i = 0; i < 4; i += 2)
        put16(l4 + i, (unsigned[]){0, 80, 1023, 1024, 32767, 32768, 65535}[pick(t, 7)]);
    if (s->proto == 6)
        l4[12] = (uint8_t)(s->tcp_words << 4);
    return at + 2 + n + s->padding;
}

static void advance_clock(test *t) {
    static const uint64_t steps[] = {
        0, 1, 999, 1000, 50000, 1000000, 1000000000, (uint64_t)1 << 30, (uint64_t)1 << 33};
    if (pick(t, 50) == 0)
        t->now -= pick(t, 1000000); /* another CPU's clock is behind */
    else if (pick(t, 500) == 0)
        t->now += ((uint64_t)1 << 36) + pick(t, 3) - 1;
    else
        t->now += steps[pick(t, pick(t, 4) ? 6 : 9)];
}

static void random_packet(test *t) {
    uint8_t b[MAX_PACKET];
    shape s = {
        .vlan_tags = pick(t, 3) ? 0 : (int)pick(t, 4),
        .vlan_type = pick(t, 2) ? 0x8100 : 0x88a8,
        .ether_type = pick(t, 40) ? 0x0800 : (unsigned[]){0x86dd, 0x0806, 0x8847}[pick(t, 3)],
        .version = pick(t, 60) ? 4 : (unsigned)pick(t, 16),
        .words = pick(t, 4) ? 5 : (unsigned)pick(t, 16),
        .fragment = pick(t, 4) ? 0x4000 : (unsigned)pick(t, 65536),
        .proto = (unsigned[]){6, 6, 6, 17, 17, 1, 47, 132}[pick(t, 8)],
        .tcp_words = pick(t, 3) ? 5 : (unsigned)pick(t, 16),
        .payload = (unsigned)pick(t, pick(t, 3) ? 40 : 1200),
        .padding = pick(t, 3) ? 0 : (unsigned)pick(t, 20),
        .ip_len_error = pick(t, 20) ? 0 : (unsigned)pick(t, 65536),
    };
    size_t n = build(t, &s, b);
    if (pick(t, 4) == 0)
        n = 14 + pick(t, n - 13);
    advance_clock(t);
    check_packet(t, b, n);
}

/* One flow at gaps around every limit: 1 ns too few, exactly, and 1 ns too many. */
static void time_packets(test *t) {
    static const shape s = {0, 0, 0x0800, 4, 5, 0, 17, 5, 30, 0, 0};
    uint8_t b[MAX_PACKET];
    size_t n = build(t, &s, b);
    for (int bits = 9; bits < 38; bits++) {
        for (int i = -1; i <= 1; i++) {
            t->now += ((uint64_t)1 << bits) + (uint64_t)(int64_t)i;
            check_packet(t, b, n);
            check_packet(t, b, n);
        }
    }
}

/* Every bit of the fragment field alone. */
static void fragments(test *t) {
    for (int bit = 0; bit < 16; bit++) {
        shape s = {0, 0, 0x0800, 4, 5, 1u << bit, 6, 5, 30, 0, 0};
        uint8_t b[MAX_PACKET];
        check_packet(t, b, build(t, &s, b));
    }
}

/* Every length from an Ethernet header on. */
static void cut_packets(test *t) {
    static const shape shapes[] = {
        {0, 0, 0x0800, 4, 5, 0, 6, 5, 30, 0, 0},      {0, 0, 0x0800, 4, 5, 0, 6, 15, 30, 0, 0},
        {0, 0, 0x0800, 4, 15, 0, 6, 10, 30, 0, 0},    {1, 0x8100, 0x0800, 4, 5, 0, 17, 5, 30, 0, 0},
        {2, 0x88a8, 0x0800, 4, 9, 0, 1, 5, 30, 0, 0}, {3, 0x8100, 0x0800, 4, 5, 0, 6, 5, 30, 0, 0},
        {0, 0, 0x0800, 4, 5, 0x2000, 6, 5, 30, 0, 0}, {0, 0, 0x0800, 4, 5, 0x2001, 17, 5, 30, 0, 0},
        {0, 0, 0x86dd, 6, 5, 0, 6, 5, 30, 0, 0},
    };
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        uint8_t b[MAX_PACKET];
        size_t n = build(t, &shapes[i], b);
        for (size_t cut = 14; cut <= n; cut++) {
            t->now += 1000;
            check_packet(t, b, cut);
        }
    }
}

int main(int argc, char **argv) {
    if (argc != 7)
        return 2;
    test t = {.rng = {1}, .now = 1000000000000};
    t.groups = (unsigned)atoi(argv[2]);
    size_t *numbers[] = {&t.pkt_begin, &t.pkt_end, &t.payload_off, &t.payload_len};
    for (int i = 0; i < 4; i++)
        *numbers[i] = strtoul(argv[3 + i], NULL, 10);
    kernel_open(&t.kernel, argv[1]);
    ref_init(&t.reference);
    time_packets(&t);
    fragments(&t);
    cut_packets(&t);
    for (int i = 0; i < N_RANDOM; i++)
        random_packet(&t);
    for (uint32_t i = 0; i < MLC_N_PACKET_ERRORS; i++)
        if (kernel_count(&t.kernel, MLC_MAX_DECISIONS + i) != t.errors[i])
            fail(&t, "an error counter differs", NULL, 0);
    for (uint32_t i = 0; i < 2; i++)
        if (kernel_count(&t.kernel, i) != t.decisions[i])
            fail(&t, "a decision counter differs", NULL, 0);
    printf("%d packets: %lu not-ipv4, %lu bad-header, %lu short-packet, %lu others, %lu TCP; %d wrong\n",
           t.packets, t.errors[0], t.errors[1], t.errors[2], t.decisions[0], t.decisions[1], t.bad);
    kernel_close(&t.kernel);
    ref_free(&t.reference);
    return t.bad != 0;
}
