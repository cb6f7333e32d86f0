/* Read-only tables, shared where their entries are the same. */
#include "Lowering.h"

#include <assert.h>
#include <string.h>

typedef struct mlc_table_entry {
    const int64_t *data;
    int64_t n;
    mlc_storage storage;
    int64_t padded; /* entries */
    int64_t at;     /* byte of the constants' memory (Constants.c) */
    struct mlc_table_entry *next;
} table_entry;

static int64_t power_of_two_at_least(int64_t n) {
    int64_t p = 1;
    while (p < n)
        p <<= 1;
    return p;
}

/* Little-endian, as the target; returns where they begin. */
static int64_t append_entries(mlc_lower *l, const table_entry *e) {
    int64_t per_word = 8 / e->storage.width, n = (e->padded + per_word - 1) / per_word;
    int64_t *words = MLC_NEW_ARRAY(l->arena, n, int64_t);
    int bits = 8 * e->storage.width;
    for (int64_t i = 0; i < e->padded; i++) {
        uint64_t x = (uint64_t)e->data[i < e->n ? i : e->n - 1];
        x = bits == 64 ? x : x & (((uint64_t)1 << bits) - 1);
        words[i / per_word] = (int64_t)((uint64_t)words[i / per_word] | x << (i % per_word * bits));
    }
    return 8 * mlc_pool_append(l, words, n);
}

/* Padding repeats the last entry: with the index masked, the verifier sees an
 * access within bounds, and no comparison is needed. */
static const table_entry *table_of(mlc_lower *l, const int64_t *data, int64_t n, int64_t padded) {
    for (table_entry *e = l->tables; e; e = e->next)
        if (e->n == n && e->padded == padded && memcmp(e->data, data, (size_t)n * sizeof *data) == 0)
            return e;
    table_entry *e = MLC_NEW(l->arena, table_entry);
    mlc_value range = {.shape = {.rank = 1, .dim = {n}}, .lo = (int64_t *)data, .hi = (int64_t *)data};
    *e = (table_entry){
        .data = data, .n = n, .storage = mlc_storage_of(&range, false), .padded = padded, .next = l->tables};
    e->at = append_entries(l, e);
    l->tables = e;
    return e;
}

static LLVMValueRef table_load(mlc_lower *l, const table_entry *e, int64_t first, int64_t n,
                               LLVMValueRef index) {
    LLVMTypeRef element = mlc_lower_int(l, e->storage.width);
    int width = e->storage.width;
    LLVMValueRef offset = mlc_l_shl(l, index, __builtin_ctz((unsigned)width)),
                 at = mlc_pool_address(l, e->at + first * width, offset, n * width),
                 x = LLVMBuildLoad2(l->builder, element, at, "");
    LLVMSetVolatile(x, true); /* not behind the join */
    mlc_lower_join(l);
    if (width == 8)
        return x;
    return e->storage.is_signed ? LLVMBuildSExt(l->builder, x, l->i64, "")
                                : LLVMBuildZExt(l->builder, x, l->i64, "");
}

LLVMValueRef mlc_l_table(mlc_lower *l, const int64_t *data, int64_t n, LLVMValueRef index) {
    const table_entry *e = table_of(l, data, n, power_of_two_at_least(n));
    index = mlc_l_opaque(l, index); /* LLVM would leave out a mask that only the verifier needs */
    return table_load(l, e, 0, e->padded, mlc_l_and(l, index, mlc_l_const(l, e->padded - 1)));
}

LLVMValueRef mlc_l_table_at(mlc_lower *l, const int64_t *data, int64_t n, int64_t first, int bits,
                            LLVMValueRef index) {
    const table_entry *e = table_of(l, data, n, 2 * n);
    assert(first >= 0 && bits < 32 && first + ((int64_t)1 << bits) <= e->padded);
    return table_load(l, e, first, (int64_t)1 << bits, index);
}

LLVMValueRef mlc_lower_words(mlc_lower *l, const int64_t *data, int64_t n, int64_t zeros) {
    int64_t *words = MLC_NEW_ARRAY(l->arena, n + zeros, int64_t);
    memcpy(words, data, (size_t)n * sizeof *data);
    LLVMValueRef init =
        LLVMConstStringInContext2(l->context, (const char *)words, (size_t)(n + zeros) * sizeof *words, true);
    LLVMValueRef g = LLVMAddGlobal(l->module, LLVMTypeOf(init), "mlc_words");
    LLVMSetInitializer(g, init);
    LLVMSetGlobalConstant(g, true);
    LLVMSetLinkage(g, LLVMInternalLinkage);
    LLVMSetAlignment(g, 8);
    return g;
}
