/*
 * Arithmetic without branches. A branch on packet data is mispredicted half of
 * the time and doubles what the verifier has to follow; BPF has neither select
 * nor count-leading-zeros. The compiler knows all these idioms and would turn
 * them back into branches, hence mlc_opaque around what they compare.
 */
#ifndef MLC_BITS_H
#define MLC_BITS_H

#include <linux/types.h>

static __always_inline __u64 mlc_opaque(__u64 x) {
    asm("" : "+r"(x));
    return x;
}

/* 1 if x > limit, else 0; both below 2^63. */
static __always_inline __u64 mlc_above(__u64 x, __u64 limit) {
    return mlc_opaque(limit - x) >> 63;
}

/* 1 if x == c, else 0; both below 2^63. */
static __always_inline __u64 mlc_equal(__u64 x, __u64 c) {
    return mlc_opaque((x ^ c) - 1) >> 63;
}

/* All ones if the difference d is negative, else 0. */
static __always_inline __u64 mlc_negative(__s64 d) {
    return mlc_opaque((__u64)((__s64)mlc_opaque((__u64)d) >> 63));
}

/* max(0, a - b) for values below 2^63. */
static __always_inline __u64 mlc_excess(__u64 a, __u64 b) {
    __s64 d = (__s64)(a - b);
    return (__u64)d & ~mlc_negative(d);
}

static __always_inline __u64 mlc_max(__u64 a, __u64 b) {
    return b + mlc_excess(a, b);
}

static __always_inline __u64 mlc_min(__u64 a, __u64 b) {
    return a - mlc_excess(a, b);
}

/*
 * l8(x) = 8*e + m with e = floor(log2 x) and m = x*8 >> e, which is 8..15 (e = 0
 * for x = 0, so l8(0) = 0). Binary search for e: each step halves the range that
 * is left and shifts m into place. x < 2^bits, a constant of 16, 32 or 40.
 */
static __always_inline __u64 mlc_l8_bits(__u64 x, int bits) {
    __u64 m = x << 3, e = 0, step;
#define MLC_STEP(LOG2)                                      \
    step = mlc_above(m, (8ull << (1 << LOG2)) - 1) << LOG2; \
    m >>= step;                                             \
    e += step
    if (bits > 32) {
        MLC_STEP(5);
    }
    if (bits > 16) {
        MLC_STEP(4);
    }
    MLC_STEP(3);
    MLC_STEP(2);
    MLC_STEP(1);
    MLC_STEP(0);
#undef MLC_STEP
    return e * 8 + m;
}

/* l8 of min(x, 2^40 - 1), for any x. */
static __always_inline __u64 mlc_l8(__u64 x) {
    __u64 too_large = mlc_negative(-(__s64)(x >> 40));
    return mlc_l8_bits((x | too_large) & ((1ull << 40) - 1), 40);
}

static __always_inline __u64 mlc_l8_u16(__u16 x) {
    return mlc_l8_bits(x, 16);
}

static __always_inline __u64 mlc_l8_u32(__u32 x) {
    return mlc_l8_bits(x, 32);
}

/* A bit of a 64-bit set, chosen by a multiplicative hash. */
static __always_inline __u64 mlc_bucket(__u32 x) {
    return 1ull << (x * 0x9E3779B1u >> 26);
}

#endif
