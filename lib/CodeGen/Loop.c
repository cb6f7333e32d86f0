#include "Loop.h"

#include <assert.h>
#include <string.h>

int mlc_loop_carry(mlc_loop *loop, LLVMValueRef start) {
    assert(loop->n < MLC_LOOP_CARRIED);
    loop->carried[loop->n] = start;
    return loop->n++;
}

void mlc_loop_fence(mlc_lower *l, LLVMValueRef counter) {
    if (!mlc_lower_is_bpf(l))
        return;
    if (!l->fence) {
        LLVMBasicBlockRef here = LLVMGetInsertBlock(l->builder), first = LLVMGetEntryBasicBlock(l->function);
        LLVMMetadataRef location = LLVMGetCurrentDebugLocation2(l->builder);
        LLVMPositionBuilderBefore(l->builder, LLVMGetFirstInstruction(first));
        l->fence = LLVMBuildAlloca(l->builder, l->i64, "");
        LLVMPositionBuilderAtEnd(l->builder, here);
        LLVMSetCurrentDebugLocation2(l->builder, location);
    }
    LLVMSetVolatile(LLVMBuildStore(l->builder, counter, l->fence), true);
}

LLVMValueRef mlc_loop_move(mlc_lower *l, LLVMValueRef pointer, int64_t bytes) {
    LLVMValueRef at = mlc_lower_barrier(l, LLVMBuildPtrToInt(l->builder, pointer, l->i64, "")),
                 step = mlc_l_const(l, bytes);
    return LLVMBuildGEP2(l->builder, l->i8, LLVMBuildIntToPtr(l->builder, at, l->ptr, ""), &step, 1, "");
}

void mlc_loop_begin(mlc_lower *l, mlc_loop *loop) {
    loop->at = mlc_l_const(l, 0);
    if (loop->count == 1)
        return;
    LLVMBasicBlockRef before = LLVMGetInsertBlock(l->builder);
    loop->head = LLVMAppendBasicBlockInContext(l->context, l->function, "");
    LLVMBuildBr(l->builder, loop->head);
    LLVMPositionBuilderAtEnd(l->builder, loop->head);
    for (int k = 0; k < loop->n; k++) {
        LLVMValueRef start = loop->carried[k];
        loop->carried[k] = LLVMBuildPhi(l->builder, LLVMTypeOf(start), "");
        LLVMAddIncoming(loop->carried[k], &start, &before, 1);
    }
    LLVMValueRef zero = loop->at;
    loop->at = LLVMBuildPhi(l->builder, l->i64, "");
    LLVMAddIncoming(loop->at, &zero, &before, 1);
    mlc_loop_fence(l, loop->at);
}

void mlc_loop_end(mlc_lower *l, mlc_loop *loop) {
    if (loop->count > 1) {
        LLVMBasicBlockRef end = LLVMGetInsertBlock(l->builder);
        for (int k = 0; k < loop->n; k++)
            LLVMAddIncoming(loop->carried[k], &loop->next[k], &end, 1);
        LLVMValueRef next = LLVMBuildAdd(l->builder, loop->at, mlc_l_const(l, 1), "");
        LLVMAddIncoming(loop->at, &next, &end, 1);
        LLVMValueRef more = LLVMBuildICmp(l->builder, LLVMIntULT, next, mlc_l_const(l, loop->count), "");
        LLVMBasicBlockRef behind = LLVMAppendBasicBlockInContext(l->context, l->function, "");
        LLVMBuildCondBr(l->builder, more, loop->head, behind);
        LLVMPositionBuilderAtEnd(l->builder, behind);
    }
    memcpy(loop->carried, loop->next, sizeof loop->carried);
}
