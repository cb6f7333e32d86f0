#include "IntLower.h"

#include "Int.h"

LLVMValueRef mlc_int_lower_operand(mlc_lower *l, const mlc_node *node, int k, int64_t i) {
    return mlc_l_input(l, node->in[k], mlc_int_index(node, k, i));
}

LLVMValueRef mlc_int_lower_binary(mlc_lower *l, const mlc_node *node, int64_t i,
                                  LLVMValueRef (*build)(mlc_lower *l, LLVMValueRef a, LLVMValueRef b)) {
    LLVMValueRef a = mlc_int_lower_operand(l, node, 0, i);
    LLVMValueRef b = mlc_int_lower_operand(l, node, 1, i);
    return build(l, a, b);
}

LLVMValueRef mlc_int_choose_const(mlc_lower *l, LLVMValueRef bit, int64_t a, int64_t b) {
    int64_t difference = (int64_t)((uint64_t)a - (uint64_t)b); /* wraps, and so does the sum */
    return mlc_l_add(l, mlc_l_mul_const(l, bit, difference), mlc_l_const(l, b));
}

static bool is_immediate(int64_t c) {
    return c >= INT32_MIN && c <= INT32_MAX;
}

LLVMValueRef mlc_int_lower_product(mlc_lower *l, LLVMValueRef x, int64_t c) {
    uint64_t u = c < 0 ? 0 - (uint64_t)c : (uint64_t)c;
    bool shift = (u & (u - 1)) == 0;
    return shift || is_immediate(c) ? mlc_l_mul_const(l, x, c) : mlc_l_mul(l, mlc_l_pooled(l, c), x);
}

/* --- blocks of dot products --- */

static bool is_cut(const mlc_node *node) {
    const int64_t *starts;
    return mlc_int_chunks(node, &starts) > 1;
}

static void start_block(mlc_int_block *b) {
    b->n = b->words = 0;
}

/* Word by word; a block ends where it is full, and between groups. */
static void collect_channels(mlc_int_block *b, const mlc_node *node, int64_t channel, int64_t group,
                             int64_t channels) {
    int64_t n_words, at = 0;
    const int64_t *words = mlc_attr_ints(node, "words", &n_words);
    int most = MLC_INT_WORDS;
    if (is_cut(node)) /* each word's sums of chunks take two registers more */
        most = 1;
    else if (n_words && words[0] <= 4 && node->op == mlc_iop("Linear"))
        /* What follows the sums of a short block overlaps with the next one's multiplications: the processor
         * looks ahead some hundred instructions. Lookups are short chains that overlap anyway. */
        most = MLC_INT_WORDS / 2;
    bool found = false;
    for (int64_t k = 0; at < channels; k++) {
        int64_t size = n_words ? words[k] : 1;
        if (b->words &&
            (b->words == most || mlc_int_packing_order(node, at) / group != b->channel[0] / group)) {
            if (found)
                return;
            start_block(b);
        }
        b->first[b->words++] = b->n;
        for (int64_t j = 0; j < size; j++) {
            int64_t c = mlc_int_packing_order(node, at + j);
            b->channel[b->n++] = c;
            found = found || c == channel;
        }
        b->first[b->words] = b->n;
        at += size;
    }
}

/* Lanes of one width; every other one is in one of two words in the end, with twice the room. */
static void place_in_chunks(mlc_int_block *b, int word) {
    int width = mlc_int_chunk_width(b->node);
    for (int j = b->first[word]; j < b->first[word + 1]; j++) {
        int at = j - b->first[word];
        b->at[j] = at * width;
        b->lane[j].at = (at & ~1) * width;
        b->lane[j].top = j + 2 >= b->first[word + 1];
    }
}

static bool has_chunks(const mlc_int_block *b, int word) {
    return is_cut(b->node) && b->first[word + 1] - b->first[word] > 1;
}

int mlc_int_block_word(const mlc_int_block *b, int j) {
    int word = 0;
    while (j >= b->first[word + 1])
        word++;
    return 2 * word + (has_chunks(b, word) ? (j - b->first[word]) & 1 : 0);
}

/* Bits of each lane where four have a quarter of the word each: they may leave it together (IntClamp.h).
 * 0: lanes take what they need. */
static int quarter(const mlc_int_block *b, int word, int64_t base, int64_t step) {
    bool fits = b->node->op == mlc_iop("Linear") && b->first[word + 1] - b->first[word] == 4;
    for (int j = b->first[word]; j < b->first[word + 1] && fits; j++)
        fits = mlc_int_lane_width(b->node, b->channel[j], base + b->channel[j] * step) <= 16;
    return fits ? 16 : 0;
}

mlc_int_block mlc_int_block_of(const mlc_node *node, int64_t channel, int64_t group, int64_t channels,
                               int64_t base, int64_t step) {
    mlc_int_block b = {.node = node};
    collect_channels(&b, node, channel, group, channels);
    int64_t aligned;
    mlc_attr_ints(node, "align", &aligned);
    int uniform = (int)mlc_attr_int(node, "lane", 0), spare = mlc_attr_find(node, "pool") != NULL;
    for (int k = 0; k < b.words; k++) {
        bool single = b.first[k + 1] - b.first[k] == 1;
        int at = 0, equal = uniform ? uniform : quarter(&b, k, base, step);
        for (int j = b.first[k]; j < b.first[k + 1]; j++) {
            b.out[j] = base + b.channel[j] * step;
            if (single && !aligned)
                continue; /* the word is the output */
            mlc_lane *lane = &b.lane[j];
            *lane = (mlc_lane){.at = at,
                               .width = mlc_int_lane_width(node, b.channel[j], b.out[j]),
                               .top = j + 1 == b.first[k + 1],
                               .low = mlc_int_lane_low(node, b.channel[j], b.out[j])};
            int size = equal ? equal : lane->width + spare;
            at += size;
            /* Up to the word's end: a shift extracts it. Alone, it has small weights instead. */
            if (lane->top && !single)
                lane->at = 64 - size;
            b.at[j] = lane->at;
        }
        if (is_cut(node) && !single)
            place_in_chunks(&b, k);
    }
    return b;
}

static void add(mlc_lower *l, mlc_int_block *b, int word, LLVMValueRef x) {
    b->sum[word] = b->sum[word] ? mlc_l_add(l, b->sum[word], x) : x;
}

/* c[j] of the outputs in a word, each shifted to its lane. */
static int64_t pack(const mlc_int_block *b, int word, const int64_t *c) {
    uint64_t packed = 0;
    for (int j = b->first[word]; j < b->first[word + 1]; j++)
        packed += (uint64_t)c[j] << b->at[j];
    return (int64_t)packed;
}

void mlc_int_block_add(mlc_lower *l, mlc_int_block *b, const mlc_value *in, int64_t i, const int64_t *c) {
    LLVMValueRef x = NULL;
    for (int word = 0; word < b->words; word++) {
        int64_t packed = pack(b, word, c);
        if (!packed)
            continue;
        if (!x)
            x = mlc_l_input(l, in, i);
        if (packed == -1 && b->sum[word])
            b->sum[word] = mlc_l_sub(l, b->sum[word], x);
        else
            add(l, b, word, mlc_int_lower_product(l, x, packed));
    }
}

void mlc_int_block_add_term(mlc_lower *l, mlc_int_block *b, int j, LLVMValueRef x) {
    add(l, b, j, x);
}

/* sum += c */
static void add_constant(mlc_lower *l, mlc_int_block *b, int word, int64_t c) {
    if (c || !b->sum[word])
        add(l, b, word, is_immediate(c) ? mlc_l_const(l, c) : mlc_l_pooled(l, c));
}

/* The even lanes of a word. */
static LLVMValueRef every_other(mlc_lower *l, LLVMValueRef x, LLVMValueRef mask, LLVMValueRef sum) {
    x = mlc_l_and(l, x, mask);
    return sum ? mlc_l_add(l, sum, x) : x;
}

void mlc_int_block_end_chunk(mlc_lower *l, mlc_int_block *b, const int64_t *c) {
    int width = mlc_int_chunk_width(b->node);
    uint64_t bits = 0;
    for (int at = 0; at < 64; at += 2 * width)
        bits |= (((uint64_t)1 << width) - 1) << at;
    for (int word = 0; word < b->words; word++) {
        if (!has_chunks(b, word))
            continue;
        add_constant(l, b, word, pack(b, word, c));
        LLVMValueRef mask = mlc_l_pooled(l, (int64_t)bits), *wide = b->wide[word];
        wide[0] = every_other(l, b->sum[word], mask, wide[0]);
        wide[1] = every_other(l, mlc_l_lshr(l, b->sum[word], width), mask, wide[1]);
        b->sum[word] = NULL;
    }
}

void mlc_int_block_close(mlc_lower *l, mlc_int_block *b, const int64_t *c) {
    int64_t offset[MLC_INT_WORDS * MLC_INT_LANES];
    for (int j = 0; j < b->n; j++)
        offset[j] = (int64_t)((uint64_t)c[j] - (uint64_t)b->lane[j].low);
    for (int word = 0; word < b->words; word++)
        if (!has_chunks(b, word))
            add_constant(l, b, word, pack(b, word, offset));
}

/* The highest bit of each lane of a word. */
static uint64_t guards(const mlc_int_block *b, int word, int lane) {
    uint64_t bits = 0;
    for (int j = b->first[word]; j < b->first[word + 1]; j++)
        bits |= (uint64_t)1 << (b->lane[j].at + lane - 1);
    return bits;
}

/* With the guard bits set, a subtraction leaves them where a lane of y is not less than
 * x's. From the bit of such a lane, the mask of all bits below it: max = x + (y - x & mask). */
static LLVMValueRef max_of_lanes(mlc_lower *l, LLVMValueRef x, LLVMValueRef y, uint64_t guard, int lane) {
    LLVMValueRef g = mlc_l_pooled(l, (int64_t)guard), d = mlc_l_sub(l, mlc_l_add(l, y, g), x);
    LLVMValueRef kept = mlc_l_and(l, d, g);
    LLVMValueRef mask = mlc_l_sub(l, kept, mlc_l_lshr(l, kept, lane - 1));
    return mlc_l_add(l, x, mlc_l_and(l, d, mask));
}

void mlc_int_block_max(mlc_lower *l, mlc_int_block *b, const mlc_int_block *other) {
    int lane = (int)mlc_attr_int(b->node, "lane", 0);
    for (int word = 0; word < b->words; word++) {
        LLVMValueRef x = b->sum[word], y = other->sum[word];
        bool single = b->first[word + 1] - b->first[word] == 1;
        b->sum[word] = single ? mlc_l_max(l, x, y) : max_of_lanes(l, x, y, guards(b, word, lane), lane);
    }
}

void mlc_int_block_finish(mlc_lower *l, mlc_int_block *b) {
    for (int word = 0; word < b->words; word++)
        for (int j = b->first[word]; j < b->first[word + 1]; j++) {
            b->lane[j].word = has_chunks(b, word) ? b->wide[word][(j - b->first[word]) & 1] : b->sum[word];
            if (b->lane[j].width)
                mlc_l_also_lane(l, b->node, b->out[j], &b->lane[j]);
            else
                mlc_l_also(l, b->node, b->out[j], b->sum[word]);
        }
}
