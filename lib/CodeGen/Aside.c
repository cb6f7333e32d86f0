#include "Aside.h"

enum { AREAS = 3, NUMBERS = 2, MAX_PARAMS = AREAS + NUMBERS };

/* The areas that are parameters. */
static unsigned area_params(const mlc_lower *l) {
    return mlc_lower_is_bpf(l) ? 0 : AREAS;
}

static LLVMTypeRef aside_type(mlc_lower *l) {
    LLVMTypeRef params[MAX_PARAMS];
    unsigned n = area_params(l);
    for (unsigned k = 0; k < n; k++)
        params[k] = l->ptr;
    for (unsigned k = 0; k < NUMBERS; k++)
        params[n + k] = l->i32;
    return LLVMFunctionType(l->i32, params, n + NUMBERS, false);
}

static void require(mlc_lower *l, LLVMValueRef condition) {
    LLVMBasicBlockRef good = LLVMAppendBasicBlockInContext(l->context, l->function, ""),
                      bad = LLVMAppendBasicBlockInContext(l->context, l->function, "");
    LLVMBuildCondBr(l->builder, condition, good, bad);
    LLVMPositionBuilderAtEnd(l->builder, bad);
    LLVMBuildRet(l->builder, LLVMConstInt(l->i32, 0, false));
    LLVMPositionBuilderAtEnd(l->builder, good);
}

mlc_aside mlc_aside_begin(mlc_lower *l, int line, const char *const names[2], const int64_t most[2],
                          LLVMValueRef at[2]) {
    mlc_aside aside = {.outer = *l,
                       .block = LLVMGetInsertBlock(l->builder),
                       .location = LLVMGetCurrentDebugLocation2(l->builder)};
    aside.fn = LLVMAddFunction(l->module, mlc_arena_printf(l->arena, MLC_ROLL_PREFIX "%d", l->n_rolls++),
                               aside_type(l));
    mlc_lower_attribute(l, aside.fn, "noinline");
    mlc_lower_attribute(l, aside.fn, "nounwind");
    unsigned n = area_params(l);
    mlc_lower_enter(l, aside.fn, mlc_debug_aside(l->debug, aside.fn, names, n > 0, line), line, n == 0);
    for (unsigned k = 0; k < n; k++)
        l->base[MLC_AREA_IN + k] = LLVMGetParam(aside.fn, k);
    for (unsigned k = 0; k < NUMBERS; k++) {
        at[k] = LLVMBuildZExt(l->builder, LLVMGetParam(aside.fn, n + k), l->i64, "");
        require(l, LLVMBuildICmp(l->builder, LLVMIntULE, at[k], mlc_l_const(l, most[k]), ""));
    }
    return aside;
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

void mlc_aside_call(mlc_lower *l, const mlc_aside *aside, const LLVMValueRef at[2]) {
    LLVMValueRef args[MAX_PARAMS];
    unsigned n = area_params(l);
    for (unsigned k = 0; k < n; k++)
        args[k] = l->base[MLC_AREA_IN + k];
    for (unsigned k = 0; k < NUMBERS; k++)
        args[n + k] = LLVMBuildTrunc(l->builder, at[k], l->i32, "");
    LLVMBuildCall2(l->builder, aside_type(l), aside->fn, args, n + NUMBERS, "");
}
