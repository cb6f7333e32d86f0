#ifndef MLC_LOWERING_H
#define MLC_LOWERING_H

#include "CodeGen.h"

/* State of emitting one model; behind the functions of lower.h. */
typedef struct mlc_memo mlc_memo;

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
    LLVMValueRef base[MLC_N_AREAS]; /* parameters of `function` */

    LLVMValueRef barrier;
    LLVMTypeRef barrier_type;

    mlc_memo *memo; /* elements handed over by mlc_l_also in the current function */
    struct mlc_table_entry *tables;
    int n_parts;
};

LLVMTypeRef mlc_lower_int(mlc_lower *l, int width);

#endif
