#ifndef MLC_CODEGEN_OBJECT_H
#define MLC_CODEGEN_OBJECT_H

#include "CodeGen.h"

#include <linux/bpf.h>

/*
 * A finished BPF object, decoded: the instructions of all executable sections one
 * after the other, as a loader would see them. The objects are LLVM's own, so
 * nothing is checked that only a damaged file could break.
 */
typedef struct mlc_insn {
    struct bpf_insn raw;
    int64_t to;       /* jumps, and calls of BPF functions: the instruction they lead to; -1: none */
    uint64_t address; /* of what a relocated lddw refers to, in the object in memory; 0: none */
    int line;         /* of the listing; 0: the entry program's */
} mlc_insn;

typedef struct mlc_function {
    const char *name;
    int64_t first, n; /* instructions */
    int stack, chain; /* bytes; chain includes callees, -1: not computed yet */
} mlc_function;

typedef struct mlc_object {
    const char *data;
    size_t size;
    mlc_insn *insn; /* a lddw takes two, of which the second is all zero but for its immediate */
    int64_t n;
    mlc_function *function;
    int n_functions;
    int64_t rodata; /* bytes */
    uint64_t frame; /* address of the map mlc_frame, as in mlc_insn; 0: there is none */
} mlc_object;

/* `data` must stay. */
mlc_object *mlc_object_decode(mlc_arena *arena, const char *data, size_t size);
const mlc_function *mlc_object_function(const mlc_object *o, const char *name); /* NULL: there is none */
bool mlc_insn_is_wide(const mlc_insn *insn);                                    /* a lddw */
bool mlc_insn_is_call(const mlc_insn *insn);                                    /* of a BPF function */

typedef struct mlc_run_count {
    int64_t times;
    bool constant; /* a load from the object's own read-only data */
} mlc_run_count;

/*
 * Runs mlc_model once, on inputs of 0, and counts how often each instruction is
 * executed: runs[i] for instruction i, all zero before. The model's code has no
 * branch that depends on data, so the counts hold for every input. False where
 * something is met that the model's code does not use, or after too many steps.
 */
bool mlc_object_walk(mlc_arena *arena, const mlc_object *o, const mlc_layout *layout, mlc_run_count *runs);

#endif
