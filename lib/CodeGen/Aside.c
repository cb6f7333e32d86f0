#include "Aside.h"

LLVMValueRef mlc_aside_function(mlc_lower *l, LLVMTypeRef type) {
    LLVMValueRef fn =
        LLVMAddFunction(l->module, mlc_arena_printf(l->arena, MLC_ROLL_PREFIX "%d", l->n_rolls++), type);
    mlc_lower_attribute(l, fn, "noinline");
    mlc_lower_attribute(l, fn, "nounwind");
    return fn;
}

mlc_aside mlc_aside_begin(mlc_lower *l, LLVMValueRef fn, LLVMMetadataRef scope, int line) {
    mlc_aside aside = {.outer = *l,
                       .block = LLVMGetInsertBlock(l->builder),
                       .location = LLVMGetCurrentDebugLocation2(l->builder)};
    mlc_lower_enter(l, fn, scope, line);
    return aside;
}

void mlc_aside_require(mlc_lower *l, LLVMValueRef condition) {
    LLVMBasicBlockRef good = LLVMAppendBasicBlockInContext(l->context, l->function, ""),
                      bad = LLVMAppendBasicBlockInContext(l->context, l->function, "");
    LLVMBuildCondBr(l->builder, condition, good, bad);
    LLVMPositionBuilderAtEnd(l->builder, bad);
    LLVMBuildRet(l->builder, LLVMConstInt(l->i32, 0, false));
    LLVMPositionBuilderAtEnd(l->builder, good);
}

void mlc_aside_end(mlc_lower *l, const mlc_aside *aside) {
    LLVMBuildRet(l->builder, LLVMConstInt(l->i32, 0, false));
    /* What belongs to the module stays; what belongs to the function goes back. */
    mlc_lower outer = aside->outer;
    outer.n_rolls = l->n_rolls;
    outer.tables = l->tables;
    outer.pool = l->pool;
    outer.barrier = l->barrier;
    outer.barrier_type = l->barrier_type;
    *l = outer;
    LLVMPositionBuilderAtEnd(l->builder, aside->block);
    LLVMSetCurrentDebugLocation2(l->builder, aside->location);
}
