/*
 * Where functions find the areas. What is no parameter is looked up, in front of the
 * function's code, once that asks for it; on the host the entries of the frame lie
 * one behind the other.
 */
#include "Lowering.h"

#include <string.h>

bool mlc_lower_is_bpf(const mlc_lower *l) {
    return strncmp(LLVMGetTarget(l->module), "bpf", 3) == 0;
}

static LLVMBasicBlockRef append_block(mlc_lower *l) {
    return LLVMAppendBasicBlockInContext(l->context, l->function, "");
}

void mlc_lower_enter(mlc_lower *l, LLVMValueRef fn, LLVMMetadataRef scope, int line, bool looks_up) {
    l->function = fn;
    l->scope = scope;
    l->memo = NULL;
    l->pool_base = NULL;
    memset(l->base, 0, sizeof l->base);
    l->frame = l->fence = NULL;
    l->prologue = append_block(l);
    LLVMPositionBuilderAtEnd(l->builder, l->prologue);
    mlc_debug_line(l->debug, l->builder, scope, line);
    if (!looks_up && l->cg->layout.n_entries == 1)
        return;
    LLVMBasicBlockRef code = append_block(l);
    LLVMBuildBr(l->builder, code);
    LLVMPositionBuilderAtEnd(l->builder, code);
}

void mlc_lower_return(mlc_lower *l) {
    LLVMTypeRef result = LLVMGetReturnType(LLVMGlobalGetValueType(l->function));
    if (LLVMGetTypeKind(result) == LLVMVoidTypeKind)
        LLVMBuildRetVoid(l->builder);
    else
        LLVMBuildRet(l->builder, LLVMConstNull(result));
}

/* What the glue and the entry define. */
static LLVMValueRef global(mlc_lower *l, const char *name, LLVMTypeRef type) {
    LLVMValueRef g = LLVMGetNamedGlobal(l->module, name);
    return g ? g : LLVMAddGlobal(l->module, type, name);
}

/* Nothing is NULL in fact, but the verifier asks for the test. */
static LLVMValueRef look_up(mlc_lower *l, const char *name, LLVMValueRef key) {
    LLVMValueRef map = global(l, name, LLVMArrayType2(l->ptr, 4)),
                 end = LLVMGetBasicBlockTerminator(l->prologue);
    LLVMBasicBlockRef code = LLVMGetSuccessor(end, 0), none = append_block(l), found = append_block(l);
    LLVMInstructionEraseFromParent(end);
    LLVMPositionBuilderAtEnd(l->builder, l->prologue);
    LLVMValueRef base = mlc_bpf_map_lookup(l->module, l->builder, map, key);
    LLVMBuildCondBr(l->builder, LLVMBuildIsNotNull(l->builder, base, ""), found, none);
    LLVMPositionBuilderAtEnd(l->builder, none);
    mlc_lower_return(l);
    LLVMPositionBuilderAtEnd(l->builder, found);
    LLVMBuildBr(l->builder, code);
    l->prologue = found;
    return base;
}

static LLVMValueRef behind(mlc_lower *l, LLVMValueRef base, int64_t offset) {
    LLVMPositionBuilderBefore(l->builder, LLVMGetBasicBlockTerminator(l->prologue));
    LLVMValueRef bytes = mlc_l_const(l, offset);
    return LLVMBuildGEP2(l->builder, l->i8, base, &bytes, 1, "");
}

static LLVMValueRef look_up_entry(mlc_lower *l, unsigned k) {
    return look_up(l, "mlc_frame", mlc_bpf_key(l->module, k));
}

static LLVMValueRef find(mlc_lower *l, mlc_area area) {
    const mlc_layout *layout = &l->cg->layout;
    const mlc_target *target = l->cg->target;
    const char *map = area == MLC_AREA_IN ? target->in : area == MLC_AREA_OUT ? target->out : NULL;
    if (map)
        return look_up(l, map, global(l, target->key, l->i32));
    if (area > MLC_AREA_SCRATCH)
        return look_up_entry(l, area - MLC_AREA_SCRATCH);
    if (!l->frame)
        l->frame = look_up_entry(l, 0);
    return behind(l, l->frame,
                  area == MLC_AREA_SCRATCH ? layout->scratch_offset
                  : area == MLC_AREA_OUT   ? layout->out_offset
                                           : 0);
}

/* The host's, of an entry behind the first. */
static LLVMValueRef find_entry(mlc_lower *l, mlc_area area) {
    int64_t offset = 0;
    for (int a = MLC_AREA_SCRATCH; a < (int)area; a++)
        offset += mlc_area_size(&l->cg->layout, (mlc_area)a);
    return behind(l, l->base[MLC_AREA_SCRATCH], offset);
}

LLVMValueRef mlc_lower_base(mlc_lower *l, mlc_area area) {
    if (!l->base[area]) {
        LLVMBasicBlockRef here = LLVMGetInsertBlock(l->builder);
        LLVMMetadataRef location = LLVMGetCurrentDebugLocation2(l->builder);
        l->base[area] = mlc_lower_is_bpf(l) ? find(l, area) : find_entry(l, area);
        LLVMPositionBuilderAtEnd(l->builder, here);
        LLVMSetCurrentDebugLocation2(l->builder, location);
    }
    return l->base[area];
}

void mlc_lower_reach(mlc_lower *l, mlc_area area, int64_t bytes) {
    if (bytes > l->cg->layout.reach[area])
        l->cg->layout.reach[area] = bytes;
}
