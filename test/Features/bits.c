// The branch-free arithmetic of the packet programs, on this machine.
// RUN: %build/test/Features/bits

#include <linux/types.h>

#include <stdbool.h>
#include <stdio.h>

#include "../../bpf-helpers/bits.h"

#include "Reference.h"

#include "mlc/rng.h"

static int bad;

static void expect(bool holds, const char *what, uint64_t a, uint64_t b) {
    if (holds)
        return;
    printf("%s of %llu and %llu\n", what, (unsigned long long)a, (unsigned long long)b);
    bad++;
}

static void check_l8(uint64_t x) {
    expect(mlc_l8(x) == ref_l8(x), "l8", x, 0);
    expect(mlc_l8_u32((uint32_t)x) == ref_l8((uint32_t)x), "l8_u32", x, 0);
    expect(mlc_l8_u16((uint16_t)x) == ref_l8((uint16_t)x), "l8_u16", x, 0);
    expect(mlc_bucket((uint32_t)x) == ref_bucket((uint32_t)x), "bucket", x, 0);
}

static void check_pair(uint64_t a, uint64_t b) {
    a >>= 1, b >>= 1; /* below 2^63, as they promise to be */
    expect(mlc_above(a, b) == (a > b), "above", a, b);
    expect(mlc_equal(a, b) == (a == b), "equal", a, b);
    expect(mlc_equal(a, a) == 1, "equal", a, a);
    expect(mlc_excess(a, b) == (a > b ? a - b : 0), "excess", a, b);
    expect(mlc_max(a, b) == (a > b ? a : b), "max", a, b);
    expect(mlc_min(a, b) == (a < b ? a : b), "min", a, b);
}

int main(void) {
    mlc_rng rng = {1};
    for (uint64_t x = 0; x < 70000; x++)
        check_l8(x);
    for (int bit = 0; bit < 64; bit++) {
        uint64_t power = (uint64_t)1 << bit;
        for (uint64_t d = 0; d < 9; d++) {
            check_l8(power - d);
            check_l8(power + d);
            check_l8(power + (power >> 3) * d - 1);
            check_pair(power + d, power);
            check_pair(power, power + 2 * d);
        }
    }
    check_l8(UINT64_MAX);
    for (int i = 0; i < 100000; i++) {
        uint64_t a = mlc_rng_next(&rng) >> (mlc_rng_next(&rng) & 63), b = mlc_rng_next(&rng) >> (a & 63);
        check_l8(a);
        check_pair(a, b);
    }
    return bad != 0;
}
