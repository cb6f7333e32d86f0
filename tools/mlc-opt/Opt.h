#ifndef MLC_OPT_TOOL_H
#define MLC_OPT_TOOL_H

#include "mlc/pass.h"

enum { MAX_PASSES = 32 };

typedef struct opt_arguments {
    const char *input, *pass[MAX_PASSES], *eval, *outputs, *generate, *directory, *emit, *calibrate,
        *precision, *input_format;
    int n_passes, samples, nodes, count, certify;
    bool list_int_ops;
    uint64_t seed;
} opt_arguments;

/* A random INTEGER graph; its sinks are among its outputs. NULL after reporting. */
mlc_graph *opt_generate(mlc_arena *arena, mlc_diag *diag, const opt_arguments *a, uint64_t seed);
/* One file NAME.SEED.graph in --directory for each of --count seeds. */
bool opt_generate_files(mlc_arena *arena, mlc_diag *diag, const opt_arguments *a);
/* The integer ops of the registry, one per line. */
void opt_list_int_ops(void);
/* Inputs for an INTEGER graph: extremes first, then uniform in each element's interval. */
bool opt_write_samples(mlc_graph *g, const opt_arguments *a);
/* Outputs for the samples of an .npz, sample index first. */
bool opt_evaluate(mlc_graph *g, const opt_arguments *a);
/* Runs the pipeline on an IMPORTED graph and compares its evaluators on --certify
 * inputs. Reports results outside their bounds. */
bool opt_certify(mlc_graph *g, const opt_arguments *a);
/* All values of a model that quantizes itself, by id, for a sample on which the integer graph has the values
 * q. Counts in *ties the elements that float rounding would have decided otherwise. */
const mlc_tensor **opt_reference(const mlc_origin *origin, const mlc_tensor *const *inputs,
                                 const int64_t *const *q, mlc_arena *arena, int64_t *ties);

#endif
