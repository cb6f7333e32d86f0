/*
 * Where functions find what lies in the frame. Entry 0 is a parameter. The others are
 * looked up, in front of the function's code, once that asks for them; on the host
 * one entry lies behind the other.
 */
#include "Lowering.h"

#include <string.h>

static LLVMBasicBlockRef append_block(mlc_lower *l) {
    return LLVMAppendBasicBlockInContext(l->context, l->function, "");
}

void mlc_lower_enter(mlc_lower *l, LLVMValueRef fn, LLVMMetadataRef scope, int line) {
    l->function = fn;
    l->scope = scope;
    l->memo = NULL;
    l->pool_base = NULL;
    for (int area = MLC_AREA_SCRATCH + 1; area < MLC_N_AREAS; area++)
        l->base[area] = NULL;
    l->prologue = append_block(l);
    LLVMPositionBuilderAtEnd(l->builder, l->prologue);
    mlc_debug_line(l->debug, l->builder, scope, line);
    if (l->cg->layout.n_entries == 1)
        return;
    LLVMBasicBlockRef code = append_block(l);
    LLVMBuildBr(l->builder, code);
    LLVMPositionBuilderAtEnd(l->builder, code);
}

static void build_return(mlc_lower *l) {
    LLVMTypeRef result = LLVMGetReturnType(LLVMGlobalGetValueType(l->function));
    if (LLVMGetTypeKind(result) == LLVMVoidTypeKind)
        LLVMBuildRetVoid(l->builder);
    else
        LLVMBuildRet(l->builder, LLVMConstNull(result));
}

/* Nothing is NULL in fact, but the verifier asks for the test. */
static LLVMValueRef look_up(mlc_lower *l, unsigned entry) {
    LLVMValueRef map = LLVMGetNamedGlobal(l->module, "mlc_frame");
    if (!map)
        map = LLVMAddGlobal(l->module, LLVMArrayType2(l->ptr, 4), "mlc_frame");
    LLVMValueRef end = LLVMGetBasicBlockTerminator(l->prologue);
    LLVMBasicBlockRef code = LLVMGetSuccessor(end, 0), none = append_block(l), found = append_block(l);
    LLVMInstructionEraseFromParent(end);
    LLVMPositionBuilderAtEnd(l->builder, l->prologue);
    LLVMValueRef base = mlc_bpf_map_entry(l->module, l->builder, map, entry);
    LLVMBuildCondBr(l->builder, LLVMBuildIsNotNull(l->builder, base, ""), found, none);
    LLVMPositionBuilderAtEnd(l->builder, none);
    build_return(l);
    LLVMPositionBuilderAtEnd(l->builder, found);
    LLVMBuildBr(l->builder, code);
    l->prologue = found;
    return base;
}

static LLVMValueRef behind(mlc_lower *l, unsigned entry) {
    int64_t offset = 0;
    for (unsigned k = 0; k < entry; k++)
        offset += l->cg->layout.entry_size[k];
    LLVMPositionBuilderBefore(l->builder, LLVMGetBasicBlockTerminator(l->prologue));
    LLVMValueRef bytes = mlc_l_const(l, offset);
    return LLVMBuildGEP2(l->builder, l->i8, l->base[MLC_AREA_SCRATCH], &bytes, 1, "");
}

LLVMValueRef mlc_lower_base(mlc_lower *l, mlc_area area) {
    if (!l->base[area]) {
        LLVMBasicBlockRef here = LLVMGetInsertBlock(l->builder);
        unsigned entry = area - MLC_AREA_SCRATCH;
        bool bpf = strncmp(LLVMGetTarget(l->module), "bpf", 3) == 0;
        l->base[area] = bpf ? look_up(l, entry) : behind(l, entry);
        LLVMPositionBuilderAtEnd(l->builder, here);
    }
    return l->base[area];
}
