#ifndef MLC_RUN_MANIFEST_H
#define MLC_RUN_MANIFEST_H

#include "Run.h"
#include "mlc/graph.h"

/* One input or output of the model: where it lies in the in or out buffer of a
 * sample and what its integers mean. See lib/CodeGen/README.md. */
typedef struct mlc_binding {
    const char *name;
    mlc_dtype dtype;
    mlc_shape shape;
    int64_t elements;
    int width;      /* bytes of one stored integer: 1, 2, 4 or 8 */
    bool is_signed; /* of the stored integer */
    int64_t offset;
    double scale;
    int64_t zero;
    int64_t lo, hi; /* of the stored integer */
} mlc_binding;

typedef struct mlc_node_line {
    int line;
    const char *name, *op, *text;
} mlc_node_line;

typedef struct mlc_decision {
    const char *name, *verdict;
} mlc_decision;

typedef struct mlc_manifest {
    json_t *json;
    const char *target, *model;
    int64_t in_size, out_size, scratch_size;
    mlc_binding *inputs, *outputs;
    int n_inputs, n_outputs;
    mlc_decision *decisions;
    int n_decisions;
    const char **counters;
    int n_counters;
    mlc_node_line *nodes;
    int n_nodes;
} mlc_manifest;

/* *manifest is NULL when the object has none: it was not made by mlc. Returns
 * false after reporting a damaged one. Strings in it are not yet escaped. */
bool mlc_manifest_read(mlc_run *run, const char *path, mlc_manifest **manifest);

/* The same from its JSON, which the arena keeps. `where` is named in errors. */
mlc_manifest *mlc_manifest_parse(mlc_run *run, const char *where, json_t *json);

#endif
