#ifndef MLC_RNG_H
#define MLC_RNG_H

#include <stdint.h>

/* SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number
 * generators", 2014): the same numbers on every machine. */
typedef struct mlc_rng {
    uint64_t state;
} mlc_rng;

static inline uint64_t mlc_rng_next(mlc_rng *r) {
    uint64_t z = r->state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* Uniform in [lo, hi]; the slight modulo bias does not matter to tests. */
static inline int64_t mlc_rng_range(mlc_rng *r, int64_t lo, int64_t hi) {
    uint64_t span = (uint64_t)hi - (uint64_t)lo + 1;
    return (int64_t)((uint64_t)lo + (span ? mlc_rng_next(r) % span : mlc_rng_next(r)));
}

#endif
