/* The vocabulary of lower.h. */
#include "Lowering.h"

#include <assert.h>
#include <string.h>

LLVMValueRef mlc_l_const(mlc_lower *l, int64_t x) {
    return LLVMConstInt(l->i64, (unsigned long long)x, true);
}

/* The value of a constant; false when x is not one. */
static bool constant(LLVMValueRef x, int64_t *c) {
    if (!LLVMIsAConstantInt(x))
        return false;
    *c = LLVMConstIntGetSExtValue(x);
    return true;
}

LLVMValueRef mlc_l_add(mlc_lower *l, LLVMValueRef a, LLVMValueRef b) {
    int64_t c;
    if (constant(a, &c) && c == 0)
        return b;
    if (constant(b, &c) && c == 0)
        return a;
    return LLVMBuildAdd(l->builder, a, b, "");
}

static bool is_immediate(int64_t c) {
    return c >= INT32_MIN && c <= INT32_MAX;
}

LLVMValueRef mlc_l_add_immediate(mlc_lower *l, LLVMValueRef x, int64_t c) {
    const int64_t half = (int64_t)1 << 31;
    LLVMValueRef narrow = LLVMIsASExtInst(x) ? LLVMGetOperand(x, 0) : NULL;
    if (narrow && LLVMTypeOf(narrow) == l->i32 && is_immediate(c - half)) {
        /* 2^31 makes an unsigned number of it, which takes no shifts to extend. */
        narrow = LLVMBuildAdd(l->builder, narrow, LLVMConstInt(l->i32, (unsigned long long)half, false), "");
        x = LLVMBuildZExt(l->builder, narrow, l->i64, "");
        c -= half;
    }
    /* Opaque: LLVM would multiply both parts of the sum by what the sum is multiplied by. */
    return is_immediate(c) ? mlc_l_opaque(l, mlc_l_add(l, x, mlc_l_const(l, c))) : NULL;
}

LLVMValueRef mlc_l_sub(mlc_lower *l, LLVMValueRef a, LLVMValueRef b) {
    int64_t c;
    if (constant(b, &c) && c == 0)
        return a;
    return LLVMBuildSub(l->builder, a, b, "");
}

LLVMValueRef mlc_l_mul(mlc_lower *l, LLVMValueRef a, LLVMValueRef b) {
    int64_t c;
    if (constant(b, &c))
        return mlc_l_mul_const(l, a, c);
    if (constant(a, &c))
        return mlc_l_mul_const(l, b, c);
    return LLVMBuildMul(l->builder, a, b, "");
}

LLVMValueRef mlc_l_mul_const(mlc_lower *l, LLVMValueRef x, int64_t c) {
    if (c == 0 || c == 1)
        return c ? x : mlc_l_const(l, 0);
    if (c == -1)
        return LLVMBuildNeg(l->builder, x, "");
    uint64_t u = (uint64_t)c;
    if ((u & (u - 1)) == 0)
        return mlc_l_shl(l, x, __builtin_ctzll(u));
    return LLVMBuildMul(l->builder, x, mlc_l_const(l, c), "");
}

LLVMValueRef mlc_lower_barrier(mlc_lower *l, LLVMValueRef x) {
    if (!l->barrier) {
        l->barrier_type = LLVMFunctionType(l->i64, &l->i64, 1, false);
        l->barrier =
            LLVMGetInlineAsm(l->barrier_type, "", 0, "=r,0", 4, false, false, LLVMInlineAsmDialectATT, false);
    }
    return LLVMBuildCall2(l->builder, l->barrier_type, l->barrier, &x, 1, "");
}

void mlc_lower_join(mlc_lower *l) {
    static const char jumps[] = "goto +0\n\tgoto +0";
    if (!mlc_lower_is_bpf(l))
        return;
    LLVMTypeRef type = LLVMFunctionType(LLVMVoidTypeInContext(l->context), NULL, 0, false);
    LLVMValueRef code =
        LLVMGetInlineAsm(type, jumps, sizeof jumps - 1, "", 0, true, false, LLVMInlineAsmDialectATT, false);
    LLVMBuildCall2(l->builder, type, code, NULL, 0, "");
}

static LLVMValueRef shift(mlc_lower *l, LLVMValueRef x, int bits, LLVMOpcode op) {
    assert(bits >= 0 && bits < 64);
    return bits ? LLVMBuildBinOp(l->builder, op, x, mlc_l_const(l, bits), "") : x;
}

LLVMValueRef mlc_l_shl(mlc_lower *l, LLVMValueRef x, int bits) {
    return shift(l, x, bits, LLVMShl);
}

LLVMValueRef mlc_l_ashr(mlc_lower *l, LLVMValueRef x, int bits) {
    return shift(l, x, bits, LLVMAShr);
}

LLVMValueRef mlc_l_lshr(mlc_lower *l, LLVMValueRef x, int bits) {
    return shift(l, x, bits, LLVMLShr);
}

LLVMValueRef mlc_l_ashr_var(mlc_lower *l, LLVMValueRef x, LLVMValueRef bits) {
    return LLVMBuildAShr(l->builder, x, bits, "");
}

LLVMValueRef mlc_l_and(mlc_lower *l, LLVMValueRef a, LLVMValueRef b) {
    return LLVMBuildAnd(l->builder, a, b, "");
}

LLVMValueRef mlc_l_or(mlc_lower *l, LLVMValueRef a, LLVMValueRef b) {
    return LLVMBuildOr(l->builder, a, b, "");
}

LLVMValueRef mlc_l_xor(mlc_lower *l, LLVMValueRef a, LLVMValueRef b) {
    return LLVMBuildXor(l->builder, a, b, "");
}

LLVMValueRef mlc_l_udiv(mlc_lower *l, LLVMValueRef a, LLVMValueRef b) {
    return LLVMBuildUDiv(l->builder, a, b, "");
}

/*
 * An empty asm statement that returns its operand: LLVM knows nothing about the
 * result, so it cannot turn mask arithmetic back into a compare and a branch
 * (BPF has no select instruction, and the verifier then follows both ways of
 * every branch: 2^n states). test/CodeGen/branch-free.test fails when an LLVM
 * upgrade sees through it.
 */
LLVMValueRef mlc_l_opaque(mlc_lower *l, LLVMValueRef x) {
    return LLVMIsConstant(x) ? x : mlc_lower_barrier(l, x);
}

LLVMValueRef mlc_l_lane(mlc_lower *l, const mlc_lane *lane) {
    return mlc_l_add(l, mlc_l_lane_bits(l, lane, 0), mlc_l_const(l, lane->low));
}

LLVMValueRef mlc_l_lane_bits(mlc_lower *l, const mlc_lane *lane, int first) {
    if (first >= lane->width)
        return mlc_l_const(l, 0);
    LLVMValueRef x = mlc_l_lshr(l, lane->word, lane->at + first);
    if (lane->top || lane->at + lane->width == 64)
        return x;
    return mlc_l_and(l, x, mlc_l_const(l, (int64_t)(((uint64_t)1 << (lane->width - first)) - 1)));
}

LLVMValueRef mlc_l_sign_mask(mlc_lower *l, LLVMValueRef x) {
    return mlc_l_opaque(l, mlc_l_ashr(l, x, 63));
}

LLVMValueRef mlc_l_is_negative(mlc_lower *l, LLVMValueRef x) {
    return mlc_l_opaque(l, mlc_l_lshr(l, x, 63));
}

LLVMValueRef mlc_l_select(mlc_lower *l, LLVMValueRef mask, LLVMValueRef a, LLVMValueRef b) {
    return mlc_l_xor(l, b, mlc_l_and(l, mlc_l_xor(l, a, b), mask));
}

/* With d = b - a and m its sign mask: max = b - (d & m), min = a + (d & m). A
 * constant goes to `a`, where it costs an immediate instead of a register. */
LLVMValueRef mlc_l_max(mlc_lower *l, LLVMValueRef a, LLVMValueRef b) {
    if (LLVMIsConstant(b) && !LLVMIsConstant(a))
        return mlc_l_max(l, b, a);
    LLVMValueRef d = mlc_l_sub(l, b, a);
    return mlc_l_sub(l, b, mlc_l_and(l, d, mlc_l_sign_mask(l, d)));
}

LLVMValueRef mlc_l_min(mlc_lower *l, LLVMValueRef a, LLVMValueRef b) {
    if (LLVMIsConstant(b) && !LLVMIsConstant(a))
        return mlc_l_min(l, b, a);
    LLVMValueRef d = mlc_l_sub(l, b, a);
    return mlc_l_add(l, a, mlc_l_and(l, d, mlc_l_sign_mask(l, d)));
}
