#ifndef MLC_RUN_EXPLAIN_H
#define MLC_RUN_EXPLAIN_H

#include "Manifest.h"

#include <linux/bpf.h>

/* Why the kernel refused a program. Strings are printable and in the arena. */
typedef struct mlc_rejection {
    int err;                   /* errno, positive */
    const char *reason;        /* the verifier's own words, or the kernel's or libbpf's; never NULL */
    const char *hint;          /* what to do, or NULL */
    int insn;                  /* instruction that the verifier was looking at; -1: unknown */
    int line;                  /* its source line; 0: unknown */
    const char *source;        /* text of that line, or NULL */
    const mlc_node_line *node; /* the model's node on that line, or NULL */
} mlc_rejection;

/*
 * `log` is the verifier's log ("" when there is none), `heard` libbpf's first
 * warning ("" likewise), `manifest` may be NULL.
 */
mlc_rejection mlc_explain(mlc_run *run, int err, enum bpf_prog_type type, const char *log, const char *heard,
                          const mlc_manifest *manifest);

/* "rejected at node 'Gemm_0' (Gemm), line 3, instruction 812: reason" */
const char *mlc_rejection_str(mlc_run *run, const mlc_rejection *r);

/* The capability that this process lacks to load programs of `type`, or NULL. */
const char *mlc_missing_capability(enum bpf_prog_type type);

/* "6.18.44" */
const char *mlc_kernel_release(void);

/* Number that follows "`key` " in a verifier log's summary, e.g. "total_states"; -1 when absent. */
long mlc_log_number(const char *log, const char *key);

#endif
