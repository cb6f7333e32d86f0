#ifndef MLC_CODEGEN_ASIDE_H
#define MLC_CODEGEN_ASIDE_H

#include "Lowering.h"

/*
 * Emission of a function in the middle of another: the kernel verifies it once, and by itself.
 *
 *   int mlc_roll_N(u32 a, u32 b)
 *
 * The function looks up the areas. Were they parameters, the verifier would refuse to move
 * pointers into them by variable amounts without CAP_PERFMON. On the host they are, in
 * front of the others.
 */
typedef struct mlc_aside {
    mlc_lower outer;
    LLVMBasicBlockRef block;
    LLVMMetadataRef location;
    LLVMValueRef fn;
} mlc_aside;

/* From here on code goes into a new function, which does nothing unless its parameters are at most
 * most[]: that the kernel cannot know. at[] are the parameters, as i64. */
mlc_aside mlc_aside_begin(mlc_lower *l, int line, const char *const names[2], const int64_t most[2],
                          LLVMValueRef at[2]);
/* Ends the function, and goes on where mlc_aside_begin left off. */
void mlc_aside_end(mlc_lower *l, const mlc_aside *aside);
/* Calls it from where code goes; at[] are i64. */
void mlc_aside_call(mlc_lower *l, const mlc_aside *aside, const LLVMValueRef at[2]);

#endif
