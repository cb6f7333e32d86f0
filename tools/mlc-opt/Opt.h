#ifndef MLC_OPT_TOOL_H
#define MLC_OPT_TOOL_H

#include "mlc/graph.h"

enum { MAX_PASSES = 32 };

typedef struct opt_arguments {
    const char *input, *pass[MAX_PASSES], *eval, *outputs, *generate, *emit;
    int n_passes, samples;
    uint64_t seed;
} opt_arguments;

/* A random INTEGER graph; its sinks are its outputs. NULL after reporting. */
mlc_graph *opt_generate(mlc_arena *arena, mlc_diag *diag, const opt_arguments *a);
/* Inputs for an INTEGER graph: extremes first, then uniform in each element's interval. */
bool opt_write_samples(mlc_graph *g, const opt_arguments *a);
/* Outputs for the samples of an .npz, sample index first. */
bool opt_evaluate(mlc_graph *g, const opt_arguments *a);

#endif
