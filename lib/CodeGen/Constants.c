/*
 * Weights, biases and tables, in read-only memory in the order of the code.
 *
 * A 64-bit immediate takes two instruction slots in the program and, on x86, two
 * in the cache of decoded instructions; a load takes one. 32-128-64-2 at 8 bits:
 * 1.79 us with immediates, 1.53 us without. And a hardened JIT (bpf_jit_harden)
 * blinds immediates, with up to six instructions each: 4.26 us against 1.91 us.
 */
#include "Lowering.h"

/* Reach of a load's offset, in constants; a function's first one is at its base. */
enum { REACH = 32760 / 8 };

/* Bytes of a table up to which the memory may be padded for it. */
enum { MOST_RANGE = 8192 };

struct mlc_pool {
    LLVMValueRef placeholder; /* stands for the memory until its size is known */
    int64_t *data, n, capacity;
    int64_t least; /* bytes that the memory has in the end */
};

static struct mlc_pool *pool_of(mlc_lower *l) {
    if (!l->pool) {
        l->pool = MLC_NEW(l->arena, struct mlc_pool);
        l->pool->placeholder = LLVMAddGlobal(l->module, l->i64, "");
    }
    return l->pool;
}

int64_t mlc_pool_append(mlc_lower *l, const int64_t *words, int64_t n) {
    struct mlc_pool *p = pool_of(l);
    int64_t at = p->n;
    if (at + n > p->capacity) {
        int64_t *old = p->data;
        p->capacity = 2 * (at + n) + 1024;
        p->data = MLC_NEW_ARRAY(l->arena, p->capacity, int64_t);
        for (int64_t i = 0; i < at; i++)
            p->data[i] = old[i];
    }
    for (int64_t i = 0; i < n; i++)
        p->data[at + i] = words[i];
    p->n += n;
    return at;
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
    if (l->cg->options->constants == MLC_CONSTANTS_IMMEDIATE)
        return mlc_l_const(l, c);
    int64_t at = mlc_pool_append(l, &c, 1);
    if (!l->pool_base || at - l->pool_first >= REACH)
        move_base(l, at);
    LLVMValueRef offset = mlc_l_const(l, at - l->pool_first),
                 address = LLVMBuildGEP2(l->builder, l->i64, l->pool_base, &offset, 1, ""),
                 x = LLVMBuildLoad2(l->builder, l->i64, address, "");
    LLVMSetVolatile(x, true); /* stays where it is: few values may be alive at a time */
    return x;
}

/*
 * The offset is the first operand, as LLVM changes that one in place, and the
 * constant comes last, where a load takes it. The verifier wants base + offset
 * inside the memory even if what follows takes the address back.
 */
static LLVMValueRef from_base(mlc_lower *l, int64_t at, LLVMValueRef offset) {
    LLVMValueRef base = LLVMBuildPtrToInt(l->builder, l->pool_base, l->i64, ""),
                 sum = LLVMBuildAdd(l->builder, offset, base, ""), constant = mlc_l_const(l, at);
    return LLVMBuildGEP2(l->builder, l->i8, LLVMBuildIntToPtr(l->builder, sum, l->ptr, ""), &constant, 1, "");
}

LLVMValueRef mlc_pool_address(mlc_lower *l, int64_t first, LLVMValueRef offset, int64_t range) {
    int64_t base = 8 * l->pool_first, at = first - base;
    if (l->pool_base && at >= INT16_MIN && at <= INT16_MAX && range <= MOST_RANGE) {
        if (l->pool->least < base + range)
            l->pool->least = base + range;
        return from_base(l, at, offset);
    }
    LLVMValueRef constant = mlc_l_const(l, first),
                 address = LLVMBuildGEP2(l->builder, l->i8, l->pool->placeholder, &constant, 1, "");
    return LLVMBuildGEP2(l->builder, l->i8, address, &offset, 1, "");
}

void mlc_lower_finish_pool(mlc_lower *l) {
    struct mlc_pool *p = l->pool;
    if (!p)
        return;
    while (8 * p->n < p->least) {
        const int64_t zero = 0;
        mlc_pool_append(l, &zero, 1);
    }
    LLVMValueRef *x = MLC_NEW_ARRAY(l->arena, p->n, LLVMValueRef);
    for (int64_t i = 0; i < p->n; i++)
        x[i] = mlc_l_const(l, p->data[i]);
    LLVMValueRef init = LLVMConstArray2(l->i64, x, (uint64_t)p->n),
                 global = LLVMAddGlobal(l->module, LLVMTypeOf(init), "mlc_constants");
    LLVMSetInitializer(global, init);
    LLVMSetGlobalConstant(global, true);
    LLVMSetLinkage(global, LLVMInternalLinkage);
    LLVMSetAlignment(global, 8);
    LLVMReplaceAllUsesWith(p->placeholder, global);
    LLVMDeleteGlobal(p->placeholder);
}
