#ifndef MLC_GRAPH_PARSE_H
#define MLC_GRAPH_PARSE_H

#include "Text.h"
#include "mlc/op.h"

/* The interval that all elements together have, as a node's line states it. */
typedef struct mlc_interval {
    bool given;
    int64_t lo, hi;
} mlc_interval;

/* What the text says about a value. */
typedef struct mlc_mention {
    int first, read, defined; /* lines; 0: nowhere */
    mlc_interval interval;
} mlc_mention;

/* A graph that is being read. */
typedef struct mlc_scope {
    struct mlc_scope *outer; /* of a subgraph */
    int depth;
    mlc_graph *g;
    mlc_mention *mentions; /* by value id */
    int cap;
} mlc_scope;

typedef struct mlc_parser {
    mlc_scanner s;
    mlc_scope *scope;
    mlc_stage stage;
    struct mlc_opset {
        const char *domain;
        int version;
    } *opsets;
    int n_opsets;
} mlc_parser;

/* All report and return false on an error. */

/* "graph NAME { ... }" without the first word. */
bool mlc_parse_subgraph(mlc_parser *p, mlc_graph **g);

/* ParseData.c */

/* A type, and in INTEGER graphs interval, scale, zero and error bound. With
 * `summary` the interval goes there and the value's own stays unset. */
bool mlc_parse_value_type(mlc_parser *p, mlc_value *v, mlc_interval *summary);
/* "[1, 2, 3]" of a type that was read before. */
bool mlc_parse_elements(mlc_parser *p, mlc_dtype dtype, const mlc_shape *shape, const mlc_tensor **tensor);
/* "{a = 1, b = [1, 2]}"; the op states the kinds. */
bool mlc_parse_attrs(mlc_parser *p, const mlc_op *op, mlc_attr **attrs, int *n);

#endif
