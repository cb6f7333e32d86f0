/*
 * Weights and biases, in read-only memory in the order of the code.
 *
 * A 64-bit immediate takes two instruction slots in the program and, on x86, two
 * in the cache of decoded instructions; a load takes one. 32-128-64-2 at 8 bits:
 * 1.79 us with immediates, 1.53 us without. And a hardened JIT (bpf_jit_harden)
 * blinds immediates, with up to six instructions each: 4.26 us against 1.91 us.
 */
#include "Lowering.h"

/* Reach of a load's offset, in constants; a function's first one is at its base. */
enum { REACH = 32760 / 8 };

struct mlc_pool {
    LLVMValueRef placeholder; /* stands for the memory until its size is known */
    int64_t *data, n, capacity;
};

static int64_t append(mlc_lower *l, int64_t c) {
    struct mlc_pool *p = l->pool;
    if (!p) {
        p = l->pool = MLC_NEW(l->arena, struct mlc_pool);
        p->placeholder = LLVMAddGlobal(l->module, l->i64, "");
    }
    if (p->n == p->capacity) {
        int64_t *old = p->data;
        p->capacity = p->capacity ? 2 * p->capacity : 1024;
        p->data = MLC_NEW_ARRAY(l->arena, p->capacity, int64_t);
        for (int64_t i = 0; i < p->n; i++)
            p->data[i] = old[i];
    }
    p->data[p->n] = c;
    return p->n++;
}

/* The base is opaque, or LLVM would load the full address for every constant. */
static void move_base(mlc_lower *l, int64_t at) {
    LLVMValueRef index = mlc_l_const(l, at),
                 address = LLVMBuildGEP2(l->builder, l->i64, l->pool->placeholder, &index, 1, "");
    address = mlc_lower_barrier(l, LLVMBuildPtrToInt(l->builder, address, l->i64, ""));
    l->pool_base = LLVMBuildIntToPtr(l->builder, address, l->ptr, "");
    l->pool_first = at;
}

LLVMValueRef mlc_l_pooled(mlc_lower *l, int64_t c) {
    int64_t at = append(l, c);
    if (!l->pool_base || at - l->pool_first >= REACH)
        move_base(l, at);
    LLVMValueRef offset = mlc_l_const(l, at - l->pool_first),
                 address = LLVMBuildGEP2(l->builder, l->i64, l->pool_base, &offset, 1, ""),
                 x = LLVMBuildLoad2(l->builder, l->i64, address, "");
    LLVMSetVolatile(x, true); /* stays where it is: few values may be alive at a time */
    return x;
}

void mlc_lower_finish_pool(mlc_lower *l) {
    struct mlc_pool *p = l->pool;
    if (!p)
        return;
    LLVMValueRef *x = MLC_NEW_ARRAY(l->arena, p->n, LLVMValueRef);
    for (int64_t i = 0; i < p->n; i++)
        x[i] = mlc_l_const(l, p->data[i]);
    LLVMValueRef init = LLVMConstArray2(l->i64, x, (uint64_t)p->n),
                 global = LLVMAddGlobal(l->module, LLVMTypeOf(init), "mlc_weights");
    LLVMSetInitializer(global, init);
    LLVMSetGlobalConstant(global, true);
    LLVMSetLinkage(global, LLVMInternalLinkage);
    LLVMSetAlignment(global, 8);
    LLVMReplaceAllUsesWith(p->placeholder, global);
    LLVMDeleteGlobal(p->placeholder);
}
