#ifndef MLC_GRAPH_H
#define MLC_GRAPH_H

#include "mlc/arena.h"
#include "mlc/diag.h"

#include <stdbool.h>
#include <stdint.h>

/*
 * The graph: one structure for all stages of the pipeline. mlc_graph_verify
 * checks the invariants of a stage after every pass.
 *
 *  IMPORTED  what the file says: shapes of inner values unknown.
 *  SHAPED    every value has dtype and static shape, batch is 1, constants are
 *            folded, every value is a graph input, a constant or a node output.
 *  INTEGER   no float is left. All ops are of domain "mlc". Every value is an
 *            int64 tensor with real = (q - zero) * scale and a proven interval
 *            [lo,hi] per element; no computation inside an op can overflow int64.
 */
typedef enum mlc_stage { MLC_IMPORTED, MLC_SHAPED, MLC_INTEGER } mlc_stage;

/* Numbered as ONNX's TensorProto.DataType. */
typedef enum mlc_dtype {
    MLC_UNDEFINED = 0,
    MLC_FLOAT = 1,
    MLC_UINT8 = 2,
    MLC_INT8 = 3,
    MLC_UINT16 = 4,
    MLC_INT16 = 5,
    MLC_INT32 = 6,
    MLC_INT64 = 7,
    MLC_STRING = 8,
    MLC_BOOL = 9,
    MLC_FLOAT16 = 10,
    MLC_DOUBLE = 11,
    MLC_UINT32 = 12,
    MLC_UINT64 = 13,
    MLC_BFLOAT16 = 16,
    MLC_UINT4 = 21,
    MLC_INT4 = 22,
} mlc_dtype;

bool mlc_dtype_is_float(mlc_dtype t);   /* FLOAT DOUBLE FLOAT16 BFLOAT16 */
bool mlc_dtype_is_integer(mlc_dtype t); /* the signed and unsigned integers and BOOL */
const char *mlc_dtype_name(mlc_dtype t); /* ONNX spelling in lower case: "float", "uint8"...; "undefined" */
mlc_dtype mlc_dtype_from_name(const char *name); /* MLC_UNDEFINED when unknown */
/* Smallest and largest value of an integer type; UINT64 is cut to INT64_MAX. */
void mlc_dtype_range(mlc_dtype t, int64_t *lo, int64_t *hi);
/* `x` as a value of float type `t` holds it (round to nearest even); other types: x. */
double mlc_dtype_round(mlc_dtype t, double x);

enum { MLC_MAX_RANK = 8 };
/* Bound on the elements of any one tensor: keeps products of dimensions and
 * byte sizes far from overflow. */
#define MLC_MAX_ELEMENTS ((int64_t)1 << 28)

typedef struct mlc_shape {
    int rank; /* 0: scalar */
    int64_t dim[MLC_MAX_RANK];
} mlc_shape;

int64_t mlc_shape_elements(const mlc_shape *s); /* 1 for a scalar */
bool mlc_shape_equal(const mlc_shape *a, const mlc_shape *b);
/* Row-major strides in elements. */
void mlc_shape_strides(const mlc_shape *s, int64_t strides[MLC_MAX_RANK]);
/* numpy's rule; false when the shapes do not broadcast. */
bool mlc_shape_broadcast(const mlc_shape *a, const mlc_shape *b, mlc_shape *out);
/* The flat index into `from` of the element broadcast to flat index `i` of `to`. */
int64_t mlc_shape_broadcast_index(const mlc_shape *from, const mlc_shape *to, int64_t i);
/* "[1,20]"; arena-allocated. */
const char *mlc_shape_str(mlc_arena *arena, const mlc_shape *s);

/*
 * Elements, row-major. Float types are held as double (every value exactly
 * representable in `dtype`), integer types and BOOL (0 or 1) as int64, strings
 * as char pointers.
 */
typedef struct mlc_tensor {
    mlc_dtype dtype;
    mlc_shape shape;
    union {
        double *f;
        int64_t *i;
        const char **s;
    };
} mlc_tensor;

/* Zeroed elements. */
mlc_tensor *mlc_tensor_create(mlc_arena *arena, mlc_dtype dtype, const mlc_shape *shape);
mlc_tensor *mlc_tensor_scalar_f(mlc_arena *arena, double x);
mlc_tensor *mlc_tensor_scalar_i(mlc_arena *arena, int64_t x);
/* Element i of a float or integer tensor as double. */
double mlc_tensor_real(const mlc_tensor *t, int64_t i);

typedef struct mlc_graph mlc_graph;
typedef struct mlc_node mlc_node;
typedef struct mlc_value mlc_value;
struct mlc_op;
struct mlc_names;

struct mlc_value {
    const char *name; /* unique within the graph, as the file has it: escape before printing */
    mlc_dtype dtype;
    mlc_shape shape;
    bool shaped;          /* shape is known */
    bool dynamic_batch;   /* graph input or output whose leading dimension the file leaves open; shape.dim[0] is 1 */
    const mlc_tensor *constant; /* not NULL: a constant, producer is NULL */
    mlc_node *producer;   /* NULL: graph input or constant */
    int id;               /* dense per graph, for side tables */

    /* INTEGER stage. */
    mlc_dtype model_dtype; /* graph inputs and outputs: the type in the model; UNDEFINED: int64. `dtype` is INT64 */
    double scale;
    int64_t zero;
    int64_t *lo, *hi; /* proven interval of each element */
    double *err;      /* per element: bound on |(q - zero)*scale - real value|; NULL: exact */
};

typedef enum mlc_attr_kind {
    MLC_ATTR_INT,
    MLC_ATTR_FLOAT,
    MLC_ATTR_STRING,
    MLC_ATTR_TENSOR,
    MLC_ATTR_GRAPH,
    MLC_ATTR_INTS,
    MLC_ATTR_FLOATS,
    MLC_ATTR_STRINGS,
} mlc_attr_kind;

typedef struct mlc_attr {
    const char *name;
    mlc_attr_kind kind;
    int64_t n; /* elements of ints, floats, strings */
    union {
        int64_t i;
        double f;
        const char *s;
        const mlc_tensor *t;
        mlc_graph *g;
        const int64_t *ints;
        const double *floats;
        const char *const *strings;
    };
} mlc_attr;

struct mlc_node {
    const struct mlc_op *op;
    const char *name;   /* never NULL; made up from the op and a number where the file has none */
    const char *origin; /* INTEGER: the ONNX node it came from, "name (Op)"; NULL elsewhere */
    int opset;          /* version of the op's domain that the file imports */
    mlc_value **in;     /* an omitted optional input is NULL */
    int n_in;
    mlc_value **out;    /* an omitted optional output is NULL */
    int n_out;
    mlc_attr *attr;
    int n_attr;
    int line;           /* line in the printed listing, from 1; 0: not printed yet */
    mlc_node *prev, *next;
};

typedef struct mlc_property {
    const char *key, *value;
} mlc_property;

struct mlc_graph {
    mlc_arena *arena;
    mlc_diag *diag;
    mlc_stage stage;
    const char *name;
    mlc_node *first, *last; /* in topological order */
    mlc_value **inputs, **outputs;
    int n_inputs, n_outputs;
    mlc_value **values; /* all values, indexed by id */
    int n_values, cap_values;
    int n_nodes;
    struct mlc_names *names; /* private to lib/Graph/Graph.c */
    mlc_property *props; /* metadata_props */
    int n_props;
    const char *producer; /* "pytorch 2.13.0"; "" when unknown */
    unsigned char sha256[32]; /* of the model file (with external data) */
};

mlc_graph *mlc_graph_create(mlc_arena *arena, mlc_diag *diag);
/* `name` NULL or already taken: a fresh name is made from it. Names are copied. */
mlc_value *mlc_graph_value(mlc_graph *g, const char *name);
mlc_value *mlc_graph_find(const mlc_graph *g, const char *name); /* NULL when absent */
/* `t` is not copied. In an INTEGER graph the interval is set as well. */
/* `name` must not be taken; it is copied. */
void mlc_graph_rename(mlc_graph *g, mlc_value *v, const char *name);
mlc_value *mlc_graph_constant(mlc_graph *g, const char *name, const mlc_tensor *t);
/* Appends a node before `before` (NULL: at the end). Arrays are copied. Sets
 * `producer` of the outputs. */
mlc_node *mlc_graph_insert(mlc_graph *g, mlc_node *before, const struct mlc_op *op, const char *name,
                           mlc_value *const *in, int n_in, mlc_value *const *out, int n_out);
void mlc_graph_remove(mlc_graph *g, mlc_node *node);
/* Every use of `from`, graph outputs included, becomes a use of `to`. */
void mlc_graph_replace(mlc_graph *g, mlc_value *from, mlc_value *to);
/* Removes nodes none of whose outputs is used. Returns how many. */
int mlc_graph_sweep(mlc_graph *g);
void mlc_graph_add_input(mlc_graph *g, mlc_value *v);
void mlc_graph_add_output(mlc_graph *g, mlc_value *v);
bool mlc_graph_is_output(const mlc_graph *g, const mlc_value *v);
const char *mlc_graph_property(const mlc_graph *g, const char *key); /* NULL when absent */

/* Uses of each value by nodes and graph outputs; arena array of n_values counts. */
int *mlc_graph_uses(const mlc_graph *g, mlc_arena *arena);

/* Attributes. The typed getters return `missing` where the node has none;
 * a wrong kind was already reported by the importer against the op's table. */
const mlc_attr *mlc_attr_find(const mlc_node *node, const char *name);
int64_t mlc_attr_int(const mlc_node *node, const char *name, int64_t missing);
double mlc_attr_float(const mlc_node *node, const char *name, double missing);
const char *mlc_attr_string(const mlc_node *node, const char *name, const char *missing);
/* NULL and *n = 0 where missing. */
const int64_t *mlc_attr_ints(const mlc_node *node, const char *name, int64_t *n);
void mlc_attr_set_int(mlc_graph *g, mlc_node *node, const char *name, int64_t x);
void mlc_attr_set_ints(mlc_graph *g, mlc_node *node, const char *name, const int64_t *x, int64_t n);

/* Reports every broken invariant of g->stage; these are bugs of the compiler,
 * or errors of a hand-written text file. */
bool mlc_graph_verify(mlc_graph *g);

/* The text form; see docs in lib/Graph/README.md. Sets node->line. Owned by the arena. */
const char *mlc_graph_print(mlc_graph *g, mlc_arena *arena);
/* NULL after reporting "file:line: error: ...". */
mlc_graph *mlc_graph_parse(mlc_arena *arena, mlc_diag *diag, const char *text, size_t size);
/* The same from a file. */
mlc_graph *mlc_graph_read(mlc_arena *arena, mlc_diag *diag, const char *path);
/* Graphviz. */
const char *mlc_graph_dot(mlc_graph *g, mlc_arena *arena);

#define MLC_FOR_NODES(g, node) for (mlc_node *node = (g)->first; node; node = node->next)
#define MLC_FOR_NODES_SAFE(g, node, following) \
    for (mlc_node *node = (g)->first, *following = node ? node->next : NULL; node; \
         node = following, following = node ? node->next : NULL)

#endif
