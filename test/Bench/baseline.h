/*
 * What the baselines of test/Bench share: int8 networks in C as publications write
 * them. Weights are constants in .rodata, activations bytes in a per-CPU map,
 * accumulators 32 bits; a factor, a shift and two comparisons requantize. baseline.py
 * writes the rest: weights, struct scratch, and mlc_model of these functions.
 *
 * UNROLLED asks clang to unroll every loop of a dense layer, which makes weights
 * immediates. Entry and maps are those of the target bpf-raw (lib/CodeGen/README.md).
 */
#ifndef MLC_BENCH_BASELINE_H
#define MLC_BENCH_BASELINE_H

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#ifdef UNROLLED
#define LOOP _Pragma("clang loop unroll(full)")
#else
#define LOOP _Pragma("clang loop unroll(disable)")
#endif

#define INLINE static __always_inline

INLINE __s8 narrow(__s64 t, int lo) {
    if (t < lo)
        t = lo;
    if (t > 127)
        t = 127;
    return t;
}

/* y = x / step, x fixed-point numbers of 32 bits */
INLINE void quantize(const __s32 *x, __s8 *y, int n, __s64 factor) {
    LOOP for (int i = 0; i < n; i++) y[i] = narrow((x[i] * factor + (1 << 29)) >> 30, -127);
}

INLINE __s32 dot(const __s8 *w, const __s8 *x, int n, __s32 acc) {
    LOOP for (int k = 0; k < n; k++) acc += (int)w[k] * x[k];
    return acc;
}

INLINE void dense_relu(const __s8 *w, const __s32 *b, const __s8 *x, __s8 *y, int n, int k, int factor) {
    LOOP for (int o = 0; o < n; o++) y[o] =
        narrow(((__s64)dot(w + o * k, x, k, b[o]) * factor + (1 << 23)) >> 24, 0);
}

INLINE void dense(const __s8 *w, const __s32 *b, const __s8 *x, __s32 *y, int n, int k) {
    LOOP for (int o = 0; o < n; o++) y[o] = dot(w + o * k, x, k, b[o]);
}

/* A number below `n`, in assembler so that the verifier sees the comparison of this very register. */
INLINE __u64 below(__u64 x, __u64 n) {
    __asm__ volatile("if %0 < %1 goto +1\n%0 = 0" : "+r"(x) : "ri"(n));
    return x;
}

/* A callback of bpf_loop that computes element i of a layer. */
#define STEP(NAME, COUNT)                              \
    INLINE void NAME##_at(struct scratch *s, __u32 i); \
    static long NAME(__u32 i, void *context) {         \
        struct scratch *s = get_scratch();             \
        if (!s)                                        \
            return 1;                                  \
        NAME##_at(s, below(i, COUNT));                 \
        return 0;                                      \
    }                                                  \
    INLINE void NAME##_at(struct scratch *s, __u32 i)

INLINE __s8 conv_relu(const __s8 *w, const __s32 *b, const __s8 *x, __u32 i, int c, int h, int width, int n,
                      int size, int factor) {
    int oh = h - size + 1, ow = width - size + 1;
    __u64 px = below(i % ow, ow), py = below(i / ow % oh, oh), o = below(i / (ow * oh), n);
    __s32 acc = b[o];
    LOOP for (int ic = 0; ic < c; ic++) {
        for (int ky = 0; ky < size; ky++) {
            for (int kx = 0; kx < size; kx++)
                acc +=
                    (int)w[((o * c + ic) * size + ky) * size + kx] * x[(ic * h + py + ky) * width + px + kx];
        }
    }
    return narrow(((__s64)acc * factor + (1 << 23)) >> 24, 0);
}

INLINE __s8 max_pool(const __s8 *x, __u32 i, int c, int h, int width) {
    int oh = h / 2, ow = width / 2;
    __u64 px = below(i % ow, ow), py = below(i / ow % oh, oh), ic = below(i / (ow * oh), c);
    const __s8 *at = x + (ic * h + 2 * py) * width + 2 * px;
    __s8 a = at[0] > at[1] ? at[0] : at[1], b = at[width] > at[width + 1] ? at[width] : at[width + 1];
    return a > b ? a : b;
}

#define MAP(NAME, TYPE, VALUE)  \
    struct {                    \
        __uint(type, TYPE);     \
        __uint(max_entries, 1); \
        __type(key, __u32);     \
        __type(value, VALUE);   \
    } NAME SEC(".maps")

struct in {
    __s32 x[INPUTS];
};
struct out {
    __s32 y[OUTPUTS];
};
MAP(mlc_in, BPF_MAP_TYPE_ARRAY, struct in);
MAP(mlc_out, BPF_MAP_TYPE_ARRAY, struct out);

struct scratch;
INLINE void mlc_model(const __s32 *in, __s32 *out, struct scratch *s);
INLINE struct scratch *get_scratch(void);

__u32 mlc_next, mlc_count;

SEC("socket")
int mlc_raw(struct __sk_buff *ctx) {
    __u32 i = mlc_next;
    mlc_next = i + 1 < mlc_count ? i + 1 : 0;
    struct in *in = bpf_map_lookup_elem(&mlc_in, &i);
    struct out *out = bpf_map_lookup_elem(&mlc_out, &i);
    struct scratch *s = get_scratch();
    if (in && out && s)
        mlc_model(in->x, out->y, s);
    return 0;
}

char _license[] SEC("license") = "GPL";

#endif
