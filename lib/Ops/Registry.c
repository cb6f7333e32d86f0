#include "mlc/op.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* OpFamilies.inc is generated: one MLC_OP_FAMILY(name) per file of this folder. */
#define MLC_OP_FAMILY(name) extern const mlc_op_family mlc_ops_##name;
#include "OpFamilies.inc"
#undef MLC_OP_FAMILY

static const mlc_op_family *const families[] = {
#define MLC_OP_FAMILY(name) &mlc_ops_##name,
#include "OpFamilies.inc"
#undef MLC_OP_FAMILY
};
enum { N_FAMILIES = sizeof families / sizeof families[0] };

static const mlc_op **sorted;
static int n_sorted;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static int compare_name(const char *domain, const char *name, const mlc_op *op) {
    int order = strcmp(domain, op->domain);
    return order ? order : strcmp(name, op->name);
}

static int compare(const void *x, const void *y) {
    const mlc_op *a = *(const mlc_op *const *)x, *b = *(const mlc_op *const *)y;
    int order = compare_name(a->domain, a->name, b);
    return order ? order : (a->since > b->since) - (a->since < b->since);
}

static void sort(void) {
    int n = 0;
    for (int i = 0; i < N_FAMILIES; i++)
        n += families[i]->n;
    /* Lives as long as the process: the one allocation outside an arena. */
    sorted = calloc((size_t)n, sizeof *sorted);
    if (!sorted)
        abort();
    for (int i = 0; i < N_FAMILIES; i++)
        for (int k = 0; k < families[i]->n; k++)
            sorted[n_sorted++] = &families[i]->rows[k];
    qsort(sorted, (size_t)n, sizeof *sorted, compare);
}

const mlc_op *const *mlc_ops(int *n) {
    pthread_once(&once, sort);
    *n = n_sorted;
    return sorted;
}

const mlc_op *mlc_op_find(const char *domain, const char *name, int version) {
    int n;
    const mlc_op *const *ops = mlc_ops(&n);
    if (strcmp(domain, "ai.onnx") == 0)
        domain = "";
    int low = 0, high = n;
    while (low < high) {
        int middle = low + (high - low) / 2;
        if (compare_name(domain, name, ops[middle]) > 0)
            low = middle + 1;
        else
            high = middle;
    }
    for (; low < n && compare_name(domain, name, ops[low]) == 0; low++)
        if (ops[low]->since <= version && (ops[low]->until == 0 || version <= ops[low]->until))
            return ops[low];
    return NULL;
}

const mlc_op *mlc_iop(const char *name) {
    const mlc_op *op = mlc_op_find("mlc", name, 1);
    assert(op);
    return op;
}

bool mlc_op_is_integer(const mlc_op *op) {
    return strcmp(op->domain, "mlc") == 0;
}

const char *mlc_op_display(mlc_arena *arena, const mlc_op *op) {
    return op->domain[0] ? mlc_arena_printf(arena, "%s.%s", op->domain, op->name) : op->name;
}
