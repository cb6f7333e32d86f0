#ifndef MLC_OP_H
#define MLC_OP_H

#include "mlc/graph.h"

/*
 * The op registry. An op, or a tight family of ops, is one file in lib/Ops that
 * defines one table of rows with MLC_OPS(Family, {...}, {...}); the build globs
 * the folder. Two kinds of rows:
 *
 *  ONNX ops (domains "", "ai.onnx.ml", "com.microsoft", ...) live in IMPORTED and
 *  SHAPED graphs: infer, eval and quantize.
 *
 *  Integer ops (domain "mlc") live in INTEGER graphs: check, interval, eval_int,
 *  lower and generate. They are few; every ONNX op is rewritten into them.
 */
typedef struct mlc_quant mlc_quant; /* quantize.h */
typedef struct mlc_lower mlc_lower; /* lower.h */
typedef struct mlc_rng mlc_rng;     /* rng.h */

typedef struct mlc_attr_spec {
    const char *name;
    mlc_attr_kind kind;
} mlc_attr_spec;

typedef struct mlc_op {
    const char *domain; /* "" for ai.onnx */
    const char *name;
    int since, until;   /* first and last version of the domain this row is for; until 0: newest */
    const char *doc;    /* one line */
    const char *limits; /* what is not supported, one line; NULL: nothing */
    int min_in, max_in, min_out, max_out; /* max -1: variadic */
    /* Known attributes, ended by {0}; others are an error on import, except that
     * NULL accepts none. */
    const mlc_attr_spec *attrs;

    /* Sets dtype and shape of every output, from the inputs' shapes and constants
     * (mlc_infer_* helpers below). Reports and returns false on anything that
     * breaks ONNX's specification, so that eval and quantize need not check. */
    bool (*infer)(mlc_graph *g, mlc_node *node);

    /* Real-valued reference: out[k] is allocated with dtype and shape of node->out[k]
     * and is filled in; an omitted optional input is NULL. Float results are rounded
     * to the output's dtype by the caller. Cannot fail: division by zero, NaN and
     * infinity follow IEEE 754. Used by FoldConstants, calibration and tests. */
    void (*eval)(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out);

    /* Rewrites the node into integer nodes (quantize.h). Reports and returns false
     * when that is not possible. */
    bool (*quantize)(mlc_quant *q, const mlc_node *node);

    /* --- integer ops; every function may rely on check having passed --- */

    /* Checks arity, shapes and attributes, and sets the outputs' shapes when they
     * are not yet shaped. */
    bool (*check)(mlc_graph *g, mlc_node *node);

    /* From the inputs' intervals, fills out[0]->lo/hi (allocated by the caller).
     * Sound for every combination of input values. Reports and returns false when
     * an intermediate of eval_int or lower could leave int64, or an operand its
     * domain (a divisor 0, a table index outside the table). */
    bool (*interval)(mlc_graph *g, mlc_node *node);

    /* The reference semantics, on whole tensors of plain int64. */
    void (*eval_int)(const mlc_node *node, const int64_t *const *in, int64_t *out);

    /* Emits element `index` of the output as an i64 (an LLVMValueRef); NULL: it has
     * been handed over by mlc_l_also or mlc_l_also_lane. */
    void *(*lower)(mlc_lower *l, const mlc_node *node, int64_t index);

    /* How often an element of input k is read to compute the whole output, at
     * most: 1 lets the producer be computed in place. NULL: 1 for every input. */
    int64_t (*reads)(const mlc_node *node, int k);

    /* lower computes several elements at once, or each from many (dot products,
     * reductions): in-place computation must ask for them in order. */
    bool block;

    /* So many leading inputs are element-wise: an element of the output depends on the
     * one of each that is broadcast to it, which lower takes with mlc_l_input, or from
     * the interval where that is one number. The inputs behind are read whole. 0: the op is not element-wise. */
    int elementwise;

    /* The flat index of the element to compute at `step`, a permutation of the
     * output's elements. NULL: in order. */
    int64_t (*order)(const mlc_node *node, int64_t step);

    /* Estimated BPF instructions of one output element. NULL: 4. */
    int64_t (*cost)(const mlc_node *node);

    /* Appends a random valid instance of the op to `g` (stage INTEGER), creating
     * graph inputs with intervals as it needs, and returns its node. Used by the
     * differential tests; every attribute and corner the op has must be reachable. */
    mlc_node *(*generate)(mlc_graph *g, mlc_rng *rng);
} mlc_op;

typedef struct mlc_op_family {
    const mlc_op *rows;
    int n;
} mlc_op_family;

#define MLC_OPS(Family, ...)                             \
    static const mlc_op rows_##Family[] = {__VA_ARGS__}; \
    const mlc_op_family mlc_ops_##Family = {rows_##Family, sizeof rows_##Family / sizeof rows_##Family[0]}

/* All rows sorted by domain, name and version. */
const mlc_op *const *mlc_ops(int *n);
/* The row for a version of the domain; NULL: none. "ai.onnx" is the same as "". */
const mlc_op *mlc_op_find(const char *domain, const char *name, int version);
/* The integer op "mlc".name; asserts that it exists. */
const mlc_op *mlc_iop(const char *name);
bool mlc_op_is_integer(const mlc_op *op);
/* A node of op "mlc".Gather that takes all elements of its only input in order: a change of shape. */
bool mlc_is_reshape(const mlc_node *node);
/* "Relu" or "com.microsoft.QGemm": as diagnostics and the text form name it. */
const char *mlc_op_display(mlc_arena *arena, const mlc_op *op);

/* --- help for infer functions (lib/Ops/Infer.c) --- */

/* Sets an output's dtype and shape; NULL out (omitted) is fine. Reports a shape
 * with a negative dimension or more than MLC_MAX_ELEMENTS elements, and one that
 * contradicts what the file declares for that value. */
bool mlc_infer_set(mlc_graph *g, mlc_node *node, int k, mlc_dtype dtype, const mlc_shape *shape);
/* Output 0 like input 0. Ready to be used as a row's infer. */
bool mlc_infer_same(mlc_graph *g, mlc_node *node);
/* Broadcast of all inputs, dtype of input 0; inputs must have one dtype. */
bool mlc_infer_broadcast(mlc_graph *g, mlc_node *node);
/* As broadcast, dtype BOOL. */
bool mlc_infer_compare(mlc_graph *g, mlc_node *node);
/* Input k must be constant (reported otherwise, naming the input); NULL after reporting. */
const mlc_tensor *mlc_infer_constant(mlc_graph *g, mlc_node *node, int k);
/* Normalizes a negative axis; reports one outside [-rank, rank-1]. */
bool mlc_infer_axis(mlc_graph *g, mlc_node *node, int64_t axis, int rank, int *out);
/* Axes from input `k` if the node has it, else from attribute "axes"; *n = -1 when neither is there. */
bool mlc_infer_axes(mlc_graph *g, mlc_node *node, int k, int rank, int axes[MLC_MAX_RANK], int *n);
/* The same for eval and quantize, after infer has passed. */
int mlc_node_axes(const mlc_node *node, int k, int rank, int axes[MLC_MAX_RANK]);
int mlc_axis(int64_t axis, int rank);

#endif
