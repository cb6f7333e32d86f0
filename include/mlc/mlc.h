#ifndef MLC_H
#define MLC_H

/*
 * libmlc: the same functions as the `mlc` command. A compilation is one
 * mlc_options in, one mlc_result out; no global state but LLVM's own.
 */
#include "mlc/diag.h"

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum mlc_emit {
    MLC_EMIT_OBJ,
    MLC_EMIT_ASM,
    MLC_EMIT_LLVM_IR,
    MLC_EMIT_GRAPH,
    MLC_EMIT_DOT,
    MLC_EMIT_JSON, /* the manifest */
} mlc_emit;

typedef enum mlc_unroll {
    MLC_UNROLL_AUTO, /* loops where they are faster, or the code would grow too large */
    MLC_UNROLL_FULL, /* no loops */
    MLC_UNROLL_NONE, /* loops wherever they are possible */
} mlc_unroll;

/* Where unrolled code has constants that fit no immediate of 32 bits: packed weights above all. */
typedef enum mlc_constants {
    MLC_CONSTANTS_AUTO,      /* in memory: faster in all that was measured */
    MLC_CONSTANTS_MEMORY,    /* loaded from read-only data */
    MLC_CONSTANTS_IMMEDIATE, /* immediates of 64 bits */
} mlc_constants;

#define MLC_KERNEL(major, minor) ((unsigned)(major) << 16 | (unsigned)(minor))

typedef struct mlc_options {
    const char *input;    /* .onnx, or the text form of a graph (any stage) */
    const char *target;   /* "bpf-xdp", "bpf-raw", "host" */
    const char *mcpu;     /* "v1".."v4"; NULL: "v3" */
    unsigned kernel;      /* the oldest Linux that is to load the object, as MLC_KERNEL(5, 10), the default */
    char opt_level;       /* '0'..'3' or 's' */
    const char *features; /* list of names, or the path of a JSON file; NULL: from the model's metadata */
    const char *actions;  /* see lib/Target/README.md; NULL: metadata or the default */
    const char *on_error; /* "pass" or "drop"; NULL: metadata or "pass" */
    const char *calibrate;    /* .npz or .csv; NULL: none */
    const char *input_format; /* of float inputs (lib/Passes/InputFormat.c); NULL: metadata or q15.16 */
    const char *precision;    /* "32", "16", "8" to "2", "ternary", "auto"; NULL: "32" */
    const char *labels;       /* of the samples of `calibrate`: "F.npz[:ARRAY]" or "F.csv"; NULL: none */
    double max_error;         /* precision auto: of the outputs on the samples; 0: not asked for */
    double max_accuracy_drop; /* precision auto: in percent, on the samples; negative: not asked for */
    bool report;              /* fill in `report` and `table` of the result */
    mlc_emit emit;
    const char *stop_after;         /* pass name; the graph is the result */
    const char *const *print_after; /* pass names, "all" among them; ended by NULL; may be NULL */
    bool check_only;
    mlc_unroll unroll;
    mlc_constants constants;
    bool clock_from_map; /* packet targets: time comes from the global mlc_now, for replayed captures */
} mlc_options;

typedef struct mlc_stats {
    long macs;         /* multiply-accumulates of one inference */
    long instructions; /* BPF instructions of the object */
    long stack;        /* bytes, the deepest call chain */
    long scratch;      /* bytes of the per-CPU frame */
    long rodata;       /* bytes of tables */
    /* With mlc_options.report, of the model's part; 0: not counted. */
    long executed; /* instructions of one inference */
    double ns;     /* estimated, of one inference (mlc/cost.h) */
} mlc_stats;

typedef struct mlc_result {
    char *data; /* malloc'ed; free with mlc_result_free */
    size_t size;
    mlc_stats stats;
    /* With mlc_options.report: JSON, and the same as a table. malloc'ed; NULL where
     * the input was no model or the pipeline stopped early. */
    char *report, *table;
} mlc_result;

void mlc_options_init(mlc_options *options);
/* Returns false after reporting to `diag`; `result` is then empty. */
bool mlc_compile(const mlc_options *options, mlc_diag *diag, mlc_result *result);
void mlc_result_free(mlc_result *result);
const char *mlc_version(void);

#ifdef __cplusplus
}
#endif
#endif
