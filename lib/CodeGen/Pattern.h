#ifndef MLC_CODEGEN_PATTERN_H
#define MLC_CODEGEN_PATTERN_H

#include "Loop.h"

/*
 * One element of a stored value, standing for all of them: the code of a loop's
 * body. The chain of element-wise nodes that computes the value in place is copied
 * with scalars for its values, whose intervals are the hulls of all elements; what
 * the nodes' own functions prove and emit for the copy then holds for each. A
 * constant that is not the same for all elements becomes a column of a table in
 * .rodata, [element][column].
 */
typedef struct mlc_pattern_value mlc_pattern_value;

/* What has a piece of memory for each element: the stored value, the table, operands. */
typedef struct mlc_pattern_stream {
    const mlc_value *value; /* NULL: the table */
    mlc_cursor at;          /* where the element at hand lies, less the value's offset in its area */
    LLVMValueRef pointer;   /* there; NULL: not yet computed */
} mlc_pattern_stream;

enum { MLC_PATTERN_STREAMS = 10 };

struct mlc_pattern {
    const mlc_node *node;   /* whose value is stored */
    mlc_value *result;      /* the copy of that value */
    int64_t elements;       /* of the stored value */
    const mlc_node *bottom; /* computed by whoever emits the pattern; NULL: none */
    mlc_pattern_value *values;
    int n_columns, cap_columns;
    const int64_t **column; /* each with `elements` numbers */
    LLVMValueRef table;     /* NULL: not emitted yet, or there are no columns */
    int n_streams;
    mlc_pattern_stream stream[MLC_PATTERN_STREAMS]; /* the stored value's is the first */

    int64_t plus;   /* the element being emitted, behind the one at hand */
    LLVMValueRef x; /* what `bottom` computes for it */
};

/* NULL: the elements do not look alike, or the hulls prove too little. `bottom` is a
 * node of the chain, or `node` itself, or NULL. */
mlc_pattern *mlc_pattern_make(mlc_lower *l, const mlc_node *node, const mlc_node *bottom);
/* Whether elements are looked up in tables, but for what is computed by `bottom`. */
bool mlc_pattern_looks_up(const mlc_pattern *p);
/* Adds a column; to be called before anything is emitted. */
int mlc_pattern_add_column(mlc_lower *l, mlc_pattern *p, const int64_t *data);

/* Makes `element` the one at hand. Loops move on by at most `behind` elements behind
 * all that there are (Loop.h). */
void mlc_pattern_begin(mlc_lower *l, mlc_pattern *p, LLVMValueRef element, int64_t behind);
/* A loop that makes `step` elements a round: to be called before it, and in its body or behind
 * it where elements are to be made. */
int mlc_pattern_carry(const mlc_lower *l, const mlc_pattern *p, mlc_loop *loop, int64_t step);
void mlc_pattern_enter(mlc_pattern *p, const mlc_loop *loop, int first);

/* Element p->plus of a column. */
LLVMValueRef mlc_pattern_column(mlc_lower *l, mlc_pattern *p, int column);
/* Stores eight bytes: elements from p->plus on, and what is missing of them to a word. */
void mlc_pattern_store_word(mlc_lower *l, mlc_pattern *p, LLVMValueRef x);
/* Computes element p->plus, from p->x where there is a bottom, and stores it. */
void mlc_pattern_store(mlc_lower *l, mlc_pattern *p);

#endif
