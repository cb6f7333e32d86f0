#ifndef MLC_CODEGEN_ASIDE_H
#define MLC_CODEGEN_ASIDE_H

#include "Lowering.h"

/* Emission of a global function in the middle of another: the kernel verifies it once, and by itself. */
typedef struct mlc_aside {
    mlc_lower outer;
    LLVMBasicBlockRef block;
    LLVMMetadataRef location;
} mlc_aside;

/* A new function, named MLC_ROLL_PREFIX and a number, that returns an int. */
LLVMValueRef mlc_aside_function(mlc_lower *l, LLVMTypeRef type);
/* From here on code goes into fn, whose debug scope is given. */
mlc_aside mlc_aside_begin(mlc_lower *l, LLVMValueRef fn, LLVMMetadataRef scope, int line);
/* Returns 0 from the function unless `condition`: what the kernel cannot know of its parameters. */
void mlc_aside_require(mlc_lower *l, LLVMValueRef condition);
/* Ends the function, and goes on where mlc_aside_begin left off. */
void mlc_aside_end(mlc_lower *l, const mlc_aside *aside);

#endif
