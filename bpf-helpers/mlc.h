/*
 * What entry programs and the code that mlc generates know of each other. The
 * compiler defines everything declared `extern` here as an internal constant or
 * function before it optimizes, so tests of the constants cost nothing, and maps
 * that are then not referenced disappear from the object.
 */
#ifndef MLC_BPF_H
#define MLC_BPF_H

#include <linux/bpf.h>
#include <stddef.h>

#include <bpf/bpf_helpers.h>

#include "mlc/packet.h"

/* A map that only the code below a constant test refers to: SEC() would add
 * __attribute__((used)) and keep it. */
#define MLC_MAP __attribute__((section(".maps")))

/* The model: lib/CodeGen/README.md. */
extern void mlc_model(const __u8 *in, __u8 *out, __u8 *scratch);

/* The first entry of the per-CPU map mlc_frame. Never NULL in fact, but the
 * verifier asks for the test. */
extern void *mlc_frame_get(void);
extern const __u32 mlc_frame_scratch; /* byte offset in the frame */

/* --- packet programs; the meanings are those of mlc/features.h --- */

extern const __u32 mlc_feature_groups;      /* MLC_GROUP_* */
extern const __u32 mlc_feature_builtins[2]; /* low and high word of the set of built-ins used */
extern const __u32 mlc_pkt_begin, mlc_pkt_end;
extern const __u32 mlc_payload_off, mlc_payload_len;

/* Byte offsets in the frame, multiples of 8. The feature area has
 * MLC_FEATURES_BYTES and is always there; the areas of packet and payload have
 * their length rounded up to 8; `out` begins with the decision, whose low byte
 * is all that is read. */
extern const __u32 mlc_frame_features, mlc_frame_packet, mlc_frame_payload, mlc_frame_out;

extern const __u32 mlc_verdicts[MLC_MAX_DECISIONS]; /* by decision; entries behind mlc_n_decisions exist */
extern const __u32 mlc_n_decisions;
extern const __u32 mlc_on_error_verdict;
extern const __u32 mlc_clock_from_map; /* 1: time is mlc_now (replayed captures, tests) */

/* --- bpf-raw --- */

/* The index is in a map: without CAP_PERFMON, a store to the stack is followed by a speculation barrier. */
extern void *mlc_in_get(const volatile __u32 *index); /* NULL: no such sample */
extern void *mlc_out_get(const volatile __u32 *index);

#endif
