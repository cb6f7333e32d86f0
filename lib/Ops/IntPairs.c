#include "IntPairs.h"

#include "Int.h"
#include "mlc/cost.h"

enum { HALF = 32 };

typedef struct pairs {
    const mlc_node *node;
    const mlc_value *memory; /* has the elements of the node's input */
    int64_t first;           /* element of input 0 of this sum */
    int64_t inputs;
    int64_t begin, end; /* inputs in whole words */
    int n;              /* inputs of a word */
} pairs;

static int64_t weight(const pairs *p, int64_t k) {
    return p->node->in[1]->constant->i[k];
}

/* What input k, and input k + n / 2 above it, are multiplied by. */
static int64_t pair_weight(const pairs *p, int64_t k) {
    return (int64_t)((uint64_t)weight(p, k + p->n / 2) + ((uint64_t)weight(p, k) << HALF));
}

/* Whether any of inputs [k, end) counts. */
static bool any(const pairs *p, int64_t k, int64_t end) {
    while (k < end && !weight(p, k))
        k++;
    return k < end;
}

static bool find_words(mlc_lower *l, const mlc_node *node, int64_t i, pairs *p) {
    int64_t inputs = node->in[1]->shape.dim[1];
    *p = (pairs){.node = node, .memory = node->in[0], .first = i * inputs, .inputs = inputs};
    while ((p->n = mlc_l_word_elements(l, p->memory)) == 0 && p->memory->producer &&
           mlc_is_reshape(p->memory->producer))
        p->memory = p->memory->producer->in[0];
    if (!p->n)
        return false;
    p->begin = (p->n - p->first % p->n) % p->n;
    p->end = p->begin + (inputs - p->begin) / p->n * p->n;
    return p->begin < p->end;
}

/* What the lower half adds up to. */
static mlc_wide garbage(const pairs *p) {
    mlc_wide sum = {0, 0};
    for (int64_t word = p->begin; word < p->end; word += p->n)
        for (int64_t k = word; k < word + p->n / 2; k++) {
            int64_t w = weight(p, k + p->n / 2);
            mlc_wide term = mlc_int_product((mlc_wide){w, w}, mlc_int_range(p->node->in[0], p->first + k));
            sum.lo += term.lo;
            sum.hi += term.hi;
        }
    return sum;
}

/* Estimated time of adding x * w to a sum. */
static double single_ns(int64_t w) {
    uint64_t u = w < 0 ? 0 - (uint64_t)w : (uint64_t)w;
    double product = u <= 1 ? 0 : u & (u - 1) ? MLC_NS_MULTIPLY : MLC_NS_OTHER;
    return w ? MLC_NS_LOAD + product + MLC_NS_OTHER : 0;
}

/* Of a word: its load, and for each pair the load of a weight, the multiplication and the addition; a mask
 * and a shift or copy, where there are several. */
static double word_ns(const pairs *p, int64_t word) {
    double ns = any(p, word, word + p->n) ? MLC_NS_LOAD : 0;
    for (int64_t k = word; k < word + p->n / 2; k++)
        if (pair_weight(p, k))
            ns += MLC_NS_LOAD + MLC_NS_MULTIPLY + MLC_NS_OTHER * (p->n > 2 ? 3 : 1);
    return ns;
}

/* Besides, there are a mask, what the sum begins with, and the extraction of the output. */
static bool pays(const pairs *p) {
    double single = 0, paired = 2 * MLC_NS_LOAD + 2 * MLC_NS_OTHER;
    for (int64_t k = p->begin; k < p->end; k++)
        single += single_ns(weight(p, k));
    for (int64_t word = p->begin; word < p->end; word += p->n)
        paired += word_ns(p, word);
    return paired < single;
}

static LLVMValueRef plus(mlc_lower *l, LLVMValueRef sum, LLVMValueRef x) {
    return sum ? mlc_l_add(l, sum, x) : x;
}

/* Inputs [k, end), which are in no whole word. */
static LLVMValueRef add_single(mlc_lower *l, const pairs *p, int64_t k, int64_t end, LLVMValueRef sum) {
    for (; k < end; k++)
        if (weight(p, k)) {
            LLVMValueRef x = mlc_l_input(l, p->node->in[0], p->first + k);
            sum = plus(l, sum, mlc_int_lower_product(l, x, (int64_t)((uint64_t)weight(p, k) << HALF)));
        }
    return sum;
}

static LLVMValueRef add_words(mlc_lower *l, const pairs *p, LLVMValueRef sum) {
    int bits = 64 / p->n;
    const uint64_t element = ((uint64_t)1 << bits) - 1;
    LLVMValueRef mask = p->n > 2 ? mlc_l_pooled(l, (int64_t)(element | element << HALF)) : NULL;
    for (int64_t word = p->begin; word < p->end; word += p->n) {
        if (!any(p, word, word + p->n))
            continue;
        LLVMValueRef x = mlc_l_input_word(l, p->memory, p->first + word);
        for (int j = 0; j < p->n / 2; j++) {
            int64_t w = pair_weight(p, word + j);
            if (!w)
                continue;
            LLVMValueRef pair = mlc_l_lshr(l, x, j * bits);
            sum = plus(l, sum, mlc_int_lower_product(l, mask ? mlc_l_and(l, pair, mask) : pair, w));
        }
    }
    return sum;
}

bool mlc_int_pairs_lower(mlc_lower *l, const mlc_node *node, int64_t i) {
    pairs p;
    if (!find_words(l, node, i, &p) || !pays(&p))
        return false;
    mlc_wide lower = garbage(&p);
    mlc_lane lane = {.at = HALF,
                     .width = mlc_int_lane_width(node, 0, i),
                     .top = true,
                     .low = mlc_int_lane_low(node, 0, i)};
    if ((lower.hi - lower.lo) >> HALF || lane.width > 64 - HALF)
        return false;
    uint64_t bias = (uint64_t)node->in[2]->constant->i[0] - (uint64_t)lane.low,
             start = (bias << HALF) - (uint64_t)lower.lo;
    LLVMValueRef sum = add_single(l, &p, 0, p.begin, NULL);
    sum = add_words(l, &p, sum);
    sum = add_single(l, &p, p.end, p.inputs, sum);
    lane.word = plus(l, sum, mlc_l_pooled(l, (int64_t)start));
    mlc_l_also_lane(l, node, i, &lane);
    return true;
}
