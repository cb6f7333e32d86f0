#include "Loop.h"

#include <assert.h>
#include <string.h>

enum { MAX_EXACT = 1 << 16 };

int mlc_loop_carry(mlc_loop *loop, LLVMValueRef start) {
    assert(loop->n < MLC_LOOP_CARRIED);
    loop->carried[loop->n] = start;
    return loop->n++;
}

int mlc_loop_carry_pointer(mlc_loop *loop, mlc_cursor start, int64_t step) {
    assert(loop->n_pointers < MLC_LOOP_POINTERS && step >= 0);
    loop->pointer[loop->n_pointers].at = start;
    loop->pointer[loop->n_pointers].step = step;
    return loop->n_pointers++;
}

bool mlc_has_may_goto(const mlc_options *options) {
    return options->kernel >= MLC_KERNEL(6, 9);
}

bool mlc_loop_is_free(const mlc_lower *l) {
    return mlc_lower_is_bpf(l) && mlc_has_may_goto(l->cg->options);
}

static LLVMBasicBlockRef append_block(mlc_lower *l) {
    return LLVMAppendBasicBlockInContext(l->context, l->function, "");
}

static void go_on(mlc_lower *l, LLVMBasicBlockRef block) {
    LLVMBuildBr(l->builder, block);
    LLVMPositionBuilderAtEnd(l->builder, block);
}

/* The store that the verifier puts a barrier behind. With CAP_PERFMON it is all there is. */
static void fence(mlc_lower *l, LLVMValueRef counter) {
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

static LLVMValueRef behind(mlc_lower *l, LLVMValueRef pointer, LLVMValueRef bytes) {
    return LLVMBuildGEP2(l->builder, l->i8, pointer, &bytes, 1, "");
}

/*
 * A pointer for the next round. LLVM does not see that it is: it would compute pointers
 * from one another or from counters, and without CAP_PERFMON the verifier refuses
 * variable offsets that differ from round to round.
 */
static LLVMValueRef move(mlc_lower *l, LLVMValueRef pointer, int64_t bytes) {
    LLVMValueRef at = mlc_lower_barrier(l, LLVMBuildPtrToInt(l->builder, pointer, l->i64, ""));
    return behind(l, LLVMBuildIntToPtr(l->builder, at, l->ptr, ""), mlc_l_const(l, bytes));
}

static LLVMValueRef phi(mlc_lower *l, LLVMValueRef start, LLVMBasicBlockRef before) {
    LLVMValueRef x = LLVMBuildPhi(l->builder, LLVMTypeOf(start), "");
    LLVMAddIncoming(x, &start, &before, 1);
    return x;
}

/* --- may_goto --- */

static const mlc_storage slot64 = {.width = 8};

static int64_t slot_offset(const mlc_lower *l, int slot) {
    return l->cg->layout.loops_offset + 8 * slot;
}

static LLVMValueRef load_slot(mlc_lower *l, int slot) {
    return mlc_lower_load(l, mlc_lower_base(l, MLC_AREA_SCRATCH), slot_offset(l, slot), slot64);
}

static void store_slot(mlc_lower *l, int slot, LLVMValueRef x) {
    mlc_lower_store(l, mlc_lower_base(l, MLC_AREA_SCRATCH), slot_offset(l, slot), slot64, x);
}

/* Goes on in a new block; in another one where the kernel's patience ends. */
static void emit_may_goto(mlc_lower *l) {
    static const char code[] = "may_goto ${0:l}", constraint[] = "!i";
    LLVMTypeRef type = LLVMFunctionType(LLVMVoidTypeInContext(l->context), NULL, 0, false);
    LLVMValueRef jump = LLVMGetInlineAsm(type, code, sizeof code - 1, constraint, sizeof constraint - 1, true,
                                         false, LLVMInlineAsmDialectATT, false);
    LLVMBasicBlockRef body = append_block(l), out = append_block(l);
    LLVMBuildCallBr(l->builder, type, jump, body, &out, 1, NULL, 0, NULL, 0, "");
    LLVMPositionBuilderAtEnd(l->builder, out);
    mlc_lower_return(l);
    LLVMPositionBuilderAtEnd(l->builder, body);
}

static bool is_free(const mlc_lower *l, const mlc_loop *loop) {
    return mlc_loop_is_free(l) && !loop->counted;
}

int64_t mlc_loop_reach(const mlc_lower *l, const mlc_loop *loop) {
    if (!is_free(l, loop))
        return loop->count + 1;
    int64_t reach = loop->count;
    if (loop->loose || loop->count > MAX_EXACT)
        for (reach = 1; reach < loop->count;)
            reach *= 2;
    return reach;
}

/* Of round x of so many, a number that the verifier knows to be below the reach: where this
 * is no power of two, floor(fraction * count) of the fraction x / count in 32 bits. */
static LLVMValueRef bounded(mlc_lower *l, LLVMValueRef x, int64_t count, int64_t reach) {
    const int64_t one = (int64_t)1 << 32;
    if ((reach & (reach - 1)) == 0)
        return mlc_l_and(l, x, mlc_l_const(l, reach - 1));
    x = mlc_l_mul_const(l, x, (one + count - 1) / count);
    x = mlc_l_opaque(l, mlc_l_and(l, x, mlc_l_const(l, one - 1)));
    return mlc_l_opaque(l, mlc_l_lshr(l, mlc_l_mul_const(l, x, count), 32));
}

LLVMValueRef mlc_cursor_at(mlc_lower *l, const mlc_cursor *c) {
    LLVMValueRef sum = c->offset;
    for (int k = 0; k < c->n; k++) {
        LLVMValueRef round = bounded(l, load_slot(l, c->term[k].slot), c->term[k].count, c->term[k].reach),
                     moved = mlc_l_mul_const(l, round, c->term[k].step);
        /* What LLVM makes an `or` of has bounds that the verifier does not see. */
        sum = sum ? mlc_l_add(l, mlc_l_opaque(l, sum), mlc_l_opaque(l, moved)) : moved;
    }
    return sum ? behind(l, c->base, sum) : c->base;
}

LLVMValueRef mlc_loop_target(mlc_lower *l) {
    if (!l->roll_dst_base)
        l->roll_dst_base = mlc_cursor_at(l, l->roll_dst_at);
    return l->roll_dst_base;
}

/* --- both --- */

void mlc_loop_begin(mlc_lower *l, mlc_loop *loop) {
    loop->slot = -1;
    loop->at = mlc_l_const(l, 0);
    if (loop->count == 1)
        return;
    bool free = is_free(l, loop);
    if (free) {
        loop->slot = l->loop_depth++;
        assert(loop->slot < MLC_LOOP_SLOTS);
        loop->reach = mlc_loop_reach(l, loop);
        store_slot(l, loop->slot, loop->at);
    }
    LLVMValueRef start[MLC_LOOP_POINTERS];
    for (int k = 0; k < loop->n_pointers && !free; k++)
        start[k] = mlc_cursor_at(l, &loop->pointer[k].at);
    LLVMBasicBlockRef before = LLVMGetInsertBlock(l->builder);
    loop->head = append_block(l);
    go_on(l, loop->head);
    for (int k = 0; k < loop->n; k++)
        loop->carried[k] = phi(l, loop->carried[k], before);
    if (free) {
        emit_may_goto(l);
        return;
    }
    for (int k = 0; k < loop->n_pointers; k++)
        loop->pointer[k].at = (mlc_cursor){.base = phi(l, start[k], before)};
    loop->at = phi(l, loop->at, before);
    fence(l, loop->at);
}

mlc_cursor mlc_loop_pointer(const mlc_loop *loop, int k) {
    mlc_cursor at = loop->pointer[k].at;
    if (loop->slot >= 0 && loop->pointer[k].step) {
        at.term[at.n].slot = loop->slot;
        at.term[at.n].count = loop->count;
        at.term[at.n].reach = loop->reach;
        at.term[at.n++].step = loop->pointer[k].step;
    }
    return at;
}

/* Goes back to the head while `next` is a round, and on behind the loop. */
static void go_around(mlc_lower *l, mlc_loop *loop, LLVMValueRef next) {
    LLVMValueRef more = LLVMBuildICmp(l->builder, LLVMIntULT, next, mlc_l_const(l, loop->count), "");
    LLVMBasicBlockRef end = LLVMGetInsertBlock(l->builder), out = append_block(l);
    for (int k = 0; k < loop->n; k++)
        LLVMAddIncoming(loop->carried[k], &loop->next[k], &end, 1);
    LLVMBuildCondBr(l->builder, more, loop->head, out);
    LLVMPositionBuilderAtEnd(l->builder, out);
}

static void end_counted(mlc_lower *l, mlc_loop *loop) {
    LLVMValueRef next = LLVMBuildAdd(l->builder, loop->at, mlc_l_const(l, 1), "");
    LLVMBasicBlockRef end = LLVMGetInsertBlock(l->builder);
    LLVMAddIncoming(loop->at, &next, &end, 1);
    for (int k = 0; k < loop->n_pointers; k++) {
        LLVMValueRef at = loop->pointer[k].at.base, moved = move(l, at, loop->pointer[k].step);
        LLVMAddIncoming(at, &moved, &end, 1);
        loop->pointer[k].at.base = moved;
    }
    go_around(l, loop, next);
}

static void end_free(mlc_lower *l, mlc_loop *loop) {
    LLVMValueRef next = LLVMBuildAdd(l->builder, load_slot(l, loop->slot), mlc_l_const(l, 1), "");
    store_slot(l, loop->slot, next);
    go_around(l, loop, next);
    loop->slot = -1;
    l->loop_depth--;
}

void mlc_loop_end(mlc_lower *l, mlc_loop *loop) {
    bool is_counted = loop->count > 1 && loop->slot < 0;
    if (is_counted)
        end_counted(l, loop);
    else if (loop->count > 1)
        end_free(l, loop);
    for (int k = 0; k < loop->n_pointers && !is_counted; k++)
        loop->pointer[k].at.base =
            behind(l, loop->pointer[k].at.base, mlc_l_const(l, loop->count * loop->pointer[k].step));
    memcpy(loop->carried, loop->next, sizeof loop->carried);
}
