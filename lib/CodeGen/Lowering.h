#ifndef MLC_LOWERING_H
#define MLC_LOWERING_H

#include "CodeGen.h"

/* State of emitting one model; behind the functions of lower.h. */
typedef struct mlc_memo mlc_memo;
typedef struct mlc_pattern mlc_pattern;

struct mlc_lower {
    mlc_codegen *cg;
    mlc_arena *arena;
    mlc_debug *debug;
    LLVMModuleRef module;
    LLVMContextRef context;
    LLVMBuilderRef builder;
    LLVMTypeRef i8, i16, i32, i64, ptr;

    LLVMValueRef function; /* being filled */
    LLVMMetadataRef scope;
    LLVMValueRef base[MLC_N_AREAS]; /* by mlc_lower_base; NULL: not yet looked up in `function` */
    LLVMValueRef frame;             /* entry 0 of the map, likewise */
    LLVMValueRef fence;             /* of loops in `function` (Loop.h); NULL: not yet there */
    int loop_depth;                 /* of loops around what is emitted that wait in the frame (Loop.h) */
    LLVMBasicBlockRef prologue;     /* of `function`, where areas are looked up */

    LLVMValueRef barrier;
    LLVMTypeRef barrier_type;

    bool **computed; /* by value: of one whose elements are computed where they are first read, those that
                      * are; NULL: it is not such a one */

    mlc_memo *memo; /* elements handed over by mlc_l_also in the current function */
    struct mlc_table_entry *tables;
    struct mlc_pool *pool;
    LLVMValueRef pool_base; /* in the current function; NULL: not yet there */
    int64_t pool_first;     /* number of the constant that it points to */
    int n_parts, n_rolls;
    int64_t walked; /* estimated instructions that the verifier walks through in loops */

    /* In a loop's body: the value read and the value written are reached through
     * pointers to the position at hand. */
    const mlc_value *roll_src, *roll_dst;
    LLVMValueRef roll_src_base, roll_dst_base; /* NULL: the latter is not yet computed, of ... */
    const struct mlc_cursor *roll_dst_at;

    mlc_pattern *pattern; /* whose element is being emitted; NULL: none (Pattern.h) */
};

#define MLC_ROLL_PREFIX "mlc_roll_"

bool mlc_lower_is_bpf(const mlc_lower *l);
/* Begins to emit a function. The areas that are its parameters are then set by the caller;
 * looks_up: there may be others, besides the frame's entries behind the first. */
void mlc_lower_enter(mlc_lower *l, LLVMValueRef fn, LLVMMetadataRef scope, int line, bool looks_up);
/* Returns nothing of value. */
void mlc_lower_return(mlc_lower *l);
/* The first byte of an area. */
LLVMValueRef mlc_lower_base(mlc_lower *l, mlc_area area);
/* Speculation can reach that many bytes of it. */
void mlc_lower_reach(mlc_lower *l, mlc_area area, int64_t bytes);

/* Element i of a stored value, as the node at its root computes it; stores it. */
void mlc_lower_store_element(mlc_lower *l, const mlc_node *node, int64_t i);
/* The node whose order of computation counts for a stored value's node. */
const mlc_node *mlc_lower_root(const mlc_lower *l, const mlc_node *node);
int64_t mlc_lower_cost(const mlc_lower *l, const mlc_node *node);
void mlc_lower_attribute(mlc_lower *l, LLVMValueRef fn, const char *name);
/* Emits a stored value by loops; false when that is not possible or does not pay, and
 * nothing was emitted. */
bool mlc_lower_rolled(mlc_lower *l, const mlc_node *node);
/* Estimated instructions of that code; -1: there is none. */
int64_t mlc_lower_rolled_cost(const mlc_lower *l, const mlc_node *node);

/* The memory of mlc_l_pooled. Appends n 64-bit words; returns the number of the first. */
int64_t mlc_pool_append(mlc_lower *l, const int64_t *words, int64_t n);
/* Address of byte `first + offset` of that memory; 0 <= offset < range. */
LLVMValueRef mlc_pool_address(mlc_lower *l, int64_t first, LLVMValueRef offset, int64_t range);
/* Makes it; once, when all code is emitted. */
void mlc_lower_finish_pool(mlc_lower *l);

/*
 * Behind an access at a variable offset. Without CAP_PERFMON the verifier follows,
 * for each addition to a pointer, also what a mispredicted CPU may do, and goes on
 * with both states until they meet: 2^n of them in straight-line code, which has
 * nowhere to meet but at jumps. A jump to the next instruction is none in machine
 * code; states are compared at every second one at the earliest. BPF only.
 */
void mlc_lower_join(mlc_lower *l);
/* x, which LLVM then knows nothing about. */
LLVMValueRef mlc_lower_barrier(mlc_lower *l, LLVMValueRef x);

LLVMTypeRef mlc_lower_int(mlc_lower *l, int width);

/* An integer in memory, as an i64, and back. `base` is a pointer, offsets are bytes. */
LLVMValueRef mlc_lower_load(mlc_lower *l, LLVMValueRef base, int64_t offset, mlc_storage s);
void mlc_lower_store(mlc_lower *l, LLVMValueRef base, int64_t offset, mlc_storage s, LLVMValueRef x);
/* n 64-bit numbers in .rodata, with so many zeros behind them. */
LLVMValueRef mlc_lower_words(mlc_lower *l, const int64_t *data, int64_t n, int64_t zeros);

/* mlc_l_input of a value of l->pattern. */
LLVMValueRef mlc_pattern_input(mlc_lower *l, const mlc_value *v);
/* The pattern by which a stored value is to be emitted as a dense layer's loop over
 * blocks of outputs and over inputs, or as an element-wise loop; NULL: it is not. */
mlc_pattern *mlc_roll_pattern(mlc_lower *l, const mlc_node *node, const mlc_node *root);
void mlc_lower_rolled_linear(mlc_lower *l, mlc_pattern *p, const mlc_node *linear);
void mlc_lower_rolled_elements(mlc_lower *l, mlc_pattern *p);

#endif
