#ifndef MLC_PASS_H
#define MLC_PASS_H

#include "mlc/graph.h"
#include "mlc/mlc.h"
#include "mlc/quantize.h"

/* What the passes share. Filled by the driver from the command line. */
typedef struct mlc_calibration {
    int n_samples;
    /* inputs[s][k]: sample s of graph input k, of its shape and dtype. */
    const mlc_tensor *const *const *inputs;
    const int64_t *index;  /* of each sample in the file */
    int64_t total;         /* samples in the file */
    const int64_t *labels; /* of each sample, negative: none; NULL: no labels given */
} mlc_calibration;

/* What `quantize` leaves for reports: the model it started from, and which integer
 * value stands for each of its values. Valid until the next pass changes the graph. */
typedef struct mlc_origin {
    const mlc_graph *graph;    /* SHAPED */
    mlc_value *const *integer; /* by id of graph's values; NULL: none */
    const mlc_saturation *saturation;
    int n_saturations;
    const struct mlc_dot *dots; /* precision of the dot products */
    int n_dots;
} mlc_origin;

typedef struct mlc_pass_context {
    const mlc_options *options;
    const mlc_calibration *calibration; /* NULL: none */
    const struct mlc_target *target;    /* NULL: none; only passes that a packet target needs look at it */
    const struct mlc_feature_binding *binding; /* packet targets: where the inputs come from */
    mlc_origin origin;                         /* set by the pass `quantize` */
    const struct mlc_actions *actions; /* set by the pass `decide` of packet targets, for code generation */
} mlc_pass_context;

/*
 * A pass takes a graph that satisfies `before` and leaves one that satisfies
 * `after`, in place or as a new graph. Returns NULL after reporting. All passes
 * are listed, in order, in lib/Passes/Passes.def.
 */
typedef struct mlc_pass {
    const char *name; /* as in --print-after=NAME */
    const char *doc;
    mlc_stage before, after;
    mlc_graph *(*run)(mlc_graph *g, mlc_pass_context *context);
} mlc_pass;

const mlc_pass *mlc_passes(int *n);
const mlc_pass *mlc_pass_find(const char *name);

/* Runs one pass and verifies what it leaves. */
mlc_graph *mlc_pass_run(const mlc_pass *pass, mlc_graph *g, mlc_pass_context *context);

/* Reads sample inputs (.npz with an array for each graph input, sample index
 * first; .npy or .csv for a single input) for a SHAPED graph. Reports and
 * returns false on anything that does not fit the model. */
bool mlc_calibration_read(mlc_graph *g, const char *path, mlc_calibration **out);
/* Adds the labels: "F.npz:ARRAY", "F.npz" (array "y", or the only one) or "F.csv". */
bool mlc_calibration_read_labels(mlc_graph *g, const char *spec, mlc_calibration *c);

/* --- evaluation --- */

/* The real-valued model on a SHAPED graph. inputs[k] matches g->inputs[k]; the
 * result has one tensor per value, indexed by id (constants included). */
const mlc_tensor **mlc_eval_real(const mlc_graph *g, const mlc_tensor *const *inputs, mlc_arena *arena);

/* Evaluates one node of a SHAPED graph: results rounded to their dtypes. Arena-allocated. */
const mlc_tensor **mlc_eval_node(mlc_arena *arena, const mlc_node *node, const mlc_tensor *const *in);
/* Whether the model quantizes anything by itself. */
bool mlc_quantizes(const mlc_graph *graph);
/* The same without rounding the results of nodes to their dtypes, floats as DOUBLE:
 * what certified bounds are about. Models that quantize themselves are rounded all
 * the same: there the float arithmetic is part of what they specify. */
const mlc_tensor **mlc_eval_exact(const mlc_graph *g, const mlc_tensor *const *inputs, mlc_arena *arena);

/* The reference evaluator of INTEGER graphs: one int64 array per value, by id.
 * inputs[k] holds the elements of g->inputs[k], inside their intervals. */
const int64_t **mlc_eval_int(const mlc_graph *g, const int64_t *const *inputs, mlc_arena *arena);

/* A sample of the model as the integer graph takes it: rounded to the format of
 * input `v` in the arithmetic of the sample's type, limited to its interval, NaN as
 * 0. *outside counts limited elements. */
const int64_t *mlc_input_to_int(mlc_arena *arena, const mlc_value *v, const mlc_tensor *sample,
                                int64_t *outside);

#endif
