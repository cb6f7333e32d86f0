/* Read-only tables, shared where their entries are the same. */
#include "Lowering.h"

#include <assert.h>
#include <string.h>

typedef struct mlc_table_entry {
    const int64_t *data;
    int64_t n;
    LLVMValueRef global;
    LLVMTypeRef type;
    mlc_storage storage;
    int64_t padded; /* entries */
    struct mlc_table_entry *next;
} table_entry;

static int64_t power_of_two_at_least(int64_t n) {
    int64_t p = 1;
    while (p < n)
        p <<= 1;
    return p;
}

/* Padding repeats the last entry: with the index masked, the verifier sees an
 * access within bounds, and no comparison is needed. */
static table_entry *table_global(mlc_lower *l, const int64_t *data, int64_t n, int64_t padded) {
    for (table_entry *e = l->tables; e; e = e->next)
        if (e->n == n && e->padded == padded && memcmp(e->data, data, (size_t)n * sizeof *data) == 0)
            return e;
    table_entry *e = MLC_NEW(l->arena, table_entry);
    mlc_value range = {.shape = {.rank = 1, .dim = {n}}, .lo = (int64_t *)data, .hi = (int64_t *)data};
    *e = (table_entry){
        .data = data, .n = n, .storage = mlc_storage_of(&range, false), .padded = padded, .next = l->tables};
    l->tables = e;
    LLVMTypeRef element = mlc_lower_int(l, e->storage.width);
    LLVMValueRef *x = MLC_NEW_ARRAY(l->arena, e->padded, LLVMValueRef);
    for (int64_t i = 0; i < e->padded; i++)
        x[i] = LLVMConstInt(element, (unsigned long long)data[i < n ? i : n - 1], true);
    LLVMValueRef init = LLVMConstArray2(element, x, (uint64_t)e->padded);
    e->type = LLVMTypeOf(init);
    int number = 0;
    for (table_entry *other = e->next; other; other = other->next)
        number++;
    e->global = LLVMAddGlobal(l->module, e->type, mlc_arena_printf(l->arena, "mlc_table_%d", number));
    LLVMSetInitializer(e->global, init);
    LLVMSetGlobalConstant(e->global, true);
    LLVMSetLinkage(e->global, LLVMInternalLinkage);
    LLVMSetAlignment(e->global, 8);
    return e;
}

static LLVMValueRef table_load(mlc_lower *l, const table_entry *e, LLVMValueRef base, LLVMValueRef index) {
    LLVMTypeRef element = mlc_lower_int(l, e->storage.width);
    LLVMValueRef at = LLVMBuildGEP2(l->builder, element, base, &index, 1, "");
    LLVMValueRef x = LLVMBuildLoad2(l->builder, element, at, "");
    LLVMSetVolatile(x, true); /* not behind the join */
    mlc_lower_join(l);
    if (e->storage.width == 8)
        return x;
    return e->storage.is_signed ? LLVMBuildSExt(l->builder, x, l->i64, "")
                                : LLVMBuildZExt(l->builder, x, l->i64, "");
}

LLVMValueRef mlc_l_table(mlc_lower *l, const int64_t *data, int64_t n, LLVMValueRef index) {
    table_entry *e = table_global(l, data, n, power_of_two_at_least(n));
    return table_load(l, e, e->global, mlc_l_and(l, index, mlc_l_const(l, e->padded - 1)));
}

LLVMValueRef mlc_l_table_at(mlc_lower *l, const int64_t *data, int64_t n, int64_t first, int bits,
                            LLVMValueRef index) {
    table_entry *e = table_global(l, data, n, 2 * n);
    assert(first >= 0 && bits < 32 && first + ((int64_t)1 << bits) <= e->padded);
    LLVMValueRef offset = mlc_l_const(l, first),
                 base =
                     LLVMBuildGEP2(l->builder, mlc_lower_int(l, e->storage.width), e->global, &offset, 1, "");
    return table_load(l, e, base, index);
}

LLVMValueRef mlc_lower_words(mlc_lower *l, const int64_t *data, int64_t n) {
    LLVMValueRef init =
        LLVMConstStringInContext2(l->context, (const char *)data, (size_t)n * sizeof *data, true);
    LLVMValueRef g = LLVMAddGlobal(l->module, LLVMTypeOf(init), "mlc_words");
    LLVMSetInitializer(g, init);
    LLVMSetGlobalConstant(g, true);
    LLVMSetLinkage(g, LLVMInternalLinkage);
    LLVMSetAlignment(g, 8);
    return g;
}
