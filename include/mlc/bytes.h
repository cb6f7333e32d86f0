#ifndef MLC_BYTES_H
#define MLC_BYTES_H

#include <math.h>
#include <stdint.h>
#include <string.h>

/* Numbers as files hold them. */

static inline uint64_t mlc_load_le(const uint8_t *p, int bytes) {
    uint64_t x = 0;
    for (int i = bytes - 1; i >= 0; i--)
        x = x << 8 | p[i];
    return x;
}

static inline uint64_t mlc_load_be(const uint8_t *p, int bytes) {
    uint64_t x = 0;
    for (int i = 0; i < bytes; i++)
        x = x << 8 | p[i];
    return x;
}

static inline void mlc_store_le(uint8_t *p, uint64_t x, int bytes) {
    for (int i = 0; i < bytes; i++)
        p[i] = (uint8_t)(x >> 8 * i);
}

/* The low `bits` of x as two's complement. */
static inline int64_t mlc_sign_extend(uint64_t x, int bits) {
    uint64_t sign = UINT64_C(1) << (bits - 1);
    x &= sign | (sign - 1);
    return (int64_t)((x ^ sign) - sign);
}

static inline double mlc_float_from_bits(uint32_t bits) {
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static inline double mlc_double_from_bits(uint64_t bits) {
    double d;
    memcpy(&d, &bits, sizeof d);
    return d;
}

static inline double mlc_half_from_bits(uint16_t bits) {
    int exponent = bits >> 10 & 31, fraction = bits & 1023;
    double x;
    if (exponent == 31)
        x = fraction ? (double)NAN : (double)INFINITY;
    else if (exponent == 0)
        x = ldexp(fraction, -24);
    else
        x = ldexp(fraction + 1024, exponent - 25);
    return bits >> 15 ? -x : x;
}

static inline double mlc_bfloat_from_bits(uint16_t bits) {
    return mlc_float_from_bits((uint32_t)bits << 16);
}

#endif
