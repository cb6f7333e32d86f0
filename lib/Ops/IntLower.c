#include "IntLower.h"

#include "Int.h"

LLVMValueRef mlc_int_lower_operand(mlc_lower *l, const mlc_node *node, int k, int64_t i) {
    return mlc_l_input(l, node->in[k], mlc_int_index(node, k, i));
}

LLVMValueRef mlc_int_choose_const(mlc_lower *l, LLVMValueRef bit, int64_t a, int64_t b) {
    int64_t difference = (int64_t)((uint64_t)a - (uint64_t)b); /* wraps, and so does the sum */
    return mlc_l_add(l, mlc_l_mul_const(l, bit, difference), mlc_l_const(l, b));
}

int mlc_int_lanes(const mlc_node *node, int *width) {
    const mlc_value *y = node->out[0];
    *width = 1;
    for (int64_t i = 0; i < mlc_int_elements(y); i++) {
        uint64_t range = (uint64_t)y->hi[i] - (uint64_t)y->lo[i];
        int bits = range ? 64 - __builtin_clzll(range) : 1;
        if (bits > *width)
            *width = bits;
    }
    int lanes = 64 / *width;
    return lanes > MLC_INT_LANES ? MLC_INT_LANES : lanes;
}

mlc_int_block mlc_int_block_of(const mlc_node *node, int lanes, int width, int64_t at, int64_t count,
                               int64_t first, int64_t step) {
    int64_t size = (int64_t)MLC_INT_SUMS * lanes, begin = at / size * size;
    mlc_int_block b = {.node = node, .lanes = lanes, .width = width};
    b.n = (int)(count - begin < size ? count - begin : size);
    for (int j = 0; j < b.n; j++)
        b.out[j] = first + (begin + j) * step;
    return b;
}

static void add(mlc_lower *l, mlc_int_block *b, int sum, LLVMValueRef x) {
    b->sum[sum] = b->sum[sum] ? mlc_l_add(l, b->sum[sum], x) : x;
}

/* c[j] of the outputs in accumulator `sum`, each shifted to its lane. */
static int64_t pack(const mlc_int_block *b, int sum, const int64_t *c) {
    uint64_t packed = 0;
    for (int lane = 0; lane < b->lanes && sum * b->lanes + lane < b->n; lane++)
        packed += (uint64_t)c[sum * b->lanes + lane] << (lane * b->width);
    return (int64_t)packed;
}

static int sums(const mlc_int_block *b) {
    return (b->n + b->lanes - 1) / b->lanes;
}

void mlc_int_block_add(mlc_lower *l, mlc_int_block *b, const mlc_value *in, int64_t i, const int64_t *c) {
    LLVMValueRef x = NULL;
    for (int sum = 0; sum < sums(b); sum++) {
        int64_t packed = pack(b, sum, c);
        if (!packed)
            continue;
        if (!x)
            x = mlc_l_input(l, in, i);
        if (packed == -1 && b->sum[sum])
            b->sum[sum] = mlc_l_sub(l, b->sum[sum], x);
        else
            add(l, b, sum, mlc_l_mul_const(l, x, packed));
    }
}

void mlc_int_block_add_term(mlc_lower *l, mlc_int_block *b, int j, LLVMValueRef x) {
    add(l, b, j, x);
}

/* Output j out of its lane. */
static LLVMValueRef extract(mlc_lower *l, const mlc_int_block *b, int j) {
    LLVMValueRef x = b->sum[j / b->lanes];
    int lane = j % b->lanes;
    bool top = lane == b->lanes - 1 || j == b->n - 1; /* nothing above it */
    x = mlc_l_lshr(l, x, lane * b->width);
    if (!top)
        x = mlc_l_and(l, x, mlc_l_const(l, (int64_t)(((uint64_t)1 << b->width) - 1)));
    return mlc_l_add(l, x, mlc_l_const(l, b->node->out[0]->lo[b->out[j]]));
}

LLVMValueRef mlc_int_block_finish(mlc_lower *l, mlc_int_block *b, const int64_t *c, int64_t index) {
    int64_t offset[MLC_INT_SUMS * MLC_INT_LANES];
    for (int j = 0; j < b->n; j++) {
        uint64_t low = b->lanes > 1 ? (uint64_t)b->node->out[0]->lo[b->out[j]] : 0;
        offset[j] = (int64_t)((uint64_t)c[j] - low);
    }
    for (int sum = 0; sum < sums(b); sum++) {
        int64_t packed = pack(b, sum, offset);
        if (packed || !b->sum[sum])
            add(l, b, sum, mlc_l_const(l, packed));
    }
    LLVMValueRef wanted = NULL;
    for (int j = 0; j < b->n; j++) {
        LLVMValueRef y = b->lanes > 1 ? extract(l, b, j) : b->sum[j];
        if (b->out[j] == index)
            wanted = y;
        else
            mlc_l_also(l, b->node, b->out[j], y);
    }
    return wanted;
}

int64_t mlc_int_cost_weights(const mlc_node *node) {
    const mlc_tensor *w = node->in[1]->constant;
    int64_t cost = 0, n = mlc_shape_elements(&w->shape);
    int width, lanes = mlc_int_lanes(node, &width);
    for (int64_t i = 0; i < n; i++) {
        int64_t c = w->i[i];
        if (!c)
            continue;
        bool immediate = c >= INT32_MIN && c <= INT32_MAX;
        cost += c == 1 || c == -1 ? 1 : immediate ? 3 : 4;
    }
    /* A load serves all outputs of a block; a packed constant takes two slots. */
    cost = lanes > 1 ? cost * 4 / (3 * lanes) + cost / (MLC_INT_SUMS * lanes) : cost + cost / MLC_INT_SUMS / 2;
    return 2 + (lanes > 1 ? 3 : 0) + cost / w->shape.dim[0];
}
