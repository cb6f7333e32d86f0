#include "IntLower.h"

#include "Int.h"

LLVMValueRef mlc_int_lower_operand(mlc_lower *l, const mlc_node *node, int k, int64_t i) {
    return mlc_l_input(l, node->in[k], mlc_int_index(node, k, i));
}

LLVMValueRef mlc_int_choose_const(mlc_lower *l, LLVMValueRef bit, int64_t a, int64_t b) {
    int64_t difference = (int64_t)((uint64_t)a - (uint64_t)b); /* wraps, and so does the sum */
    return mlc_l_add(l, mlc_l_mul_const(l, bit, difference), mlc_l_const(l, b));
}

mlc_int_block mlc_int_block_of(int64_t index, int64_t start, int64_t count) {
    int64_t at = (index - start) / 4 * 4;
    return (mlc_int_block){.first = start + at, .n = count - at < 4 ? (int)(count - at) : 4};
}

void mlc_int_block_add_term(mlc_lower *l, mlc_int_block *b, int j, LLVMValueRef x) {
    b->sum[j] = b->sum[j] ? mlc_l_add(l, b->sum[j], x) : x;
}

void mlc_int_block_add(mlc_lower *l, mlc_int_block *b, int j, LLVMValueRef x, int64_t c) {
    if (c == -1 && b->sum[j])
        b->sum[j] = mlc_l_sub(l, b->sum[j], x);
    else if (c)
        mlc_int_block_add_term(l, b, j, mlc_l_mul_const(l, x, c));
}

void mlc_int_block_add_const(mlc_lower *l, mlc_int_block *b, int j, int64_t c) {
    if (c || !b->sum[j])
        mlc_int_block_add_term(l, b, j, mlc_l_const(l, c));
}

LLVMValueRef mlc_int_block_finish(mlc_lower *l, const mlc_node *node, const mlc_int_block *b, int64_t index) {
    for (int j = 0; j < b->n; j++)
        if (b->first + j != index)
            mlc_l_also(l, node, b->first + j, b->sum[j]);
    return b->sum[index - b->first];
}

int64_t mlc_int_cost_weights(const mlc_tensor *w) {
    int64_t cost = 0, n = mlc_shape_elements(&w->shape);
    for (int64_t i = 0; i < n; i++) {
        int64_t c = w->i[i];
        if (!c)
            continue;
        bool immediate = c >= INT32_MIN && c <= INT32_MAX;
        cost += c == 1 || c == -1 ? 1 : immediate ? 3 : 4;
    }
    return cost + cost / 3; /* the loads: one for four outputs */
}
