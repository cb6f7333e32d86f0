#include "IntClamp.h"

#include "Int.h"

/* --- tables --- */

/* What one output's numbers x >> shift become. */
typedef struct segment {
    const int64_t *entry; /* of `first` */
    int64_t first, last;  /* the numbers */
    int64_t zero;         /* (x >> shift) - zero is what is limited */
} segment;

static int64_t entry_of(const segment *s, int64_t number) {
    return s->entry[number - s->first];
}

static int shift_of(const mlc_node *node, int64_t i) {
    return (int)mlc_int_operand(node, 1, i).lo;
}

static segment segment_of(const mlc_node *node, int64_t i) {
    mlc_wide x = mlc_int_range(node->in[0], i);
    int shift = shift_of(node, i);
    segment s = {.first = (int64_t)(x.lo >> shift), .last = (int64_t)(x.hi >> shift)};
    s.entry = node->in[2]->constant->i + (s.first - mlc_attr_int(node, "first", 0));
    return s;
}

/* Numbers beyond are left to the table. */
#define FARTHEST ((int64_t)1 << 61)

/* Sets `zero`; false where the entries are something else than numbers limited to [0, most]. */
static bool is_clamp(segment *s, int64_t most) {
    s->zero = s->first - most; /* all are at the limit */
    for (int64_t t = s->first; t <= s->last && entry_of(s, t) < most; t++)
        s->zero = t - entry_of(s, t);
    for (int64_t t = s->first; t <= s->last; t++) {
        int64_t y = t - s->zero;
        if (entry_of(s, t) != (y < 0 ? 0 : y > most ? most : y))
            return false;
    }
    return true;
}

static int bits_of(int64_t x) {
    return x ? 64 - __builtin_clzll((uint64_t)x) : 0;
}

/* --- plans --- */

/*
 * In instructions, what an output may take. A lookup and its store are six: copy, shift, mask, base,
 * load, store. Without CAP_PERFMON they are twelve and more, and hardly anybody waits for a few more
 * with it, where multiplications take the time.
 */
enum { MOST_COST = 8 };

static int cost_of(const mlc_int_clamp *c) {
    int moved = 3 + 5 * (c->groups - 1); /* shift, mask and its load; for the others copy and union, too */
    return moved + (c->start != 0) * 2 + c->below * 6 + c->above * 7 + 1;
}

/* The lane of number k joins a group, or begins one. */
static bool add_to_group(mlc_int_clamp *c, int k, const mlc_int_laid *laid, int shift, int bits) {
    int right = laid->lane.at + shift - k * c->pitch, at = 0;
    if (right > 63)
        return false;
    while (at < c->groups && (c->group[at].source != laid->source || c->group[at].right != right))
        at++;
    if (at == c->groups) {
        c->group[at].source = laid->source;
        c->group[at].right = right;
        c->group[at].mask = 0;
        c->groups++;
    }
    c->group[at].mask |= (((uint64_t)1 << bits) - 1) << k * c->pitch;
    return true;
}

/* The lane of number k: its constants, and that it has room. */
static bool add_lane(mlc_int_clamp *c, int k, const mlc_int_laid *laid, int shift, const segment *s) {
    const int64_t half = (int64_t)1 << (c->pitch - 1);
    int64_t low = laid->lane.low >> shift, distance = s->zero - low; /* of zero from the lane's */
    int bits = bits_of(s->last - low);
    if (laid->lane.low & (((int64_t)1 << shift) - 1) || bits > c->pitch ||
        s->first - s->zero < -half + (c->above ? c->most + 1 : 0) || s->last - s->zero >= half ||
        !add_to_group(c, k, laid, shift, bits))
        return false;
    uint64_t start = (uint64_t)(c->below ? half : 0) - (uint64_t)distance;
    c->start += start << k * c->pitch;
    c->limit += (start - (uint64_t)c->most - 1) << k * c->pitch;
    c->one |= (uint64_t)1 << k * c->pitch;
    return true;
}

bool mlc_int_clamp_plan(const mlc_node *node, int64_t i, int64_t step, int n, int pitch,
                        const mlc_int_laid *laid, mlc_int_clamp *c) {
    *c = (mlc_int_clamp){.n = n, .pitch = pitch};
    if (n < 2 || n > MLC_INT_CLAMPED || n * pitch > 64)
        return false;
    const mlc_value *y = node->out[0];
    segment s[MLC_INT_CLAMPED];
    int64_t most = 0;
    for (int k = 0; k < n; k++) {
        if (y->lo[i + k * step] < 0)
            return false;
        most = y->hi[i + k * step] > most ? y->hi[i + k * step] : most;
    }
    c->most = most;
    c->bits = bits_of(most);
    if (c->bits == 0 || c->bits > pitch - 2)
        return false;
    for (int k = 0; k < n; k++) {
        s[k] = segment_of(node, i + k * step);
        if (s[k].first < -FARTHEST || s[k].last > FARTHEST || !is_clamp(&s[k], most))
            return false;
        c->above = c->above || s[k].last - s[k].zero > most;
        c->below = c->below || c->above || s[k].first < s[k].zero;
    }
    for (int k = 0; k < n; k++)
        if (!add_lane(c, k, &laid[k], shift_of(node, i + k * step), &s[k]))
            return false;
    return cost_of(c) <= MOST_COST * n;
}

int64_t mlc_int_clamp_most(const mlc_node *node) {
    const mlc_value *y = node->out[0];
    int64_t most = 0, n = mlc_int_elements(y);
    for (int64_t i = 0; i < n; i++) {
        if (y->lo[i] < 0)
            return 0;
        most = y->hi[i] > most ? y->hi[i] : most;
    }
    if (bits_of(most) > 64 / MLC_INT_CLAMPED - 2)
        return 0;
    for (int64_t i = 0; i < n; i++) {
        segment s = segment_of(node, i);
        if (s.first < -FARTHEST || s.last > FARTHEST || !is_clamp(&s, most))
            return 0;
    }
    return most;
}

mlc_int_numbers mlc_int_clamp_numbers(const mlc_node *node, int64_t i, int64_t most) {
    segment s = segment_of(node, i);
    is_clamp(&s, most);
    return (mlc_int_numbers){shift_of(node, i), s.first, s.last, s.zero};
}

/* Where the block leaves output i; false where that has a word of its own, or is not in the block. */
static bool find_laid(const mlc_int_block *b, int64_t i, mlc_int_laid *laid) {
    for (int j = 0; j < b->n; j++)
        if (b->out[j] == i) {
            *laid = (mlc_int_laid){.lane = b->lane[j], .source = mlc_int_block_word(b, j)};
            return b->lane[j].width > 0;
        }
    return false;
}

int mlc_int_clamp_width(const mlc_node *node) {
    const mlc_node *linear = node->in[0]->producer;
    if (!linear || linear->op != mlc_iop("Linear"))
        return 0;
    int64_t elements = mlc_int_elements(node->out[0]), N = linear->in[1]->shape.dim[0], clamped = 0;
    for (int64_t first = 0; first + MLC_INT_CLAMPED <= elements; first += MLC_INT_CLAMPED) {
        mlc_int_laid laid[MLC_INT_CLAMPED];
        mlc_int_clamp c;
        mlc_int_block block = mlc_int_block_of(linear, first % N, N, N, first / N * N, 1);
        bool lanes = true;
        for (int k = 0; k < MLC_INT_CLAMPED; k++)
            lanes = lanes && find_laid(&block, first + k, &laid[k]);
        if (lanes && mlc_int_clamp_plan(node, first, 1, MLC_INT_CLAMPED, 64 / MLC_INT_CLAMPED, laid, &c))
            clamped += MLC_INT_CLAMPED;
    }
    return 2 * clamped >= elements && clamped ? 8 / MLC_INT_CLAMPED : 0;
}

/* --- code --- */

static LLVMValueRef moved(mlc_lower *l, const mlc_int_clamp *c, const LLVMValueRef *word) {
    LLVMValueRef t = NULL;
    for (int k = 0; k < c->groups; k++) {
        LLVMValueRef x = word[c->group[k].source];
        int right = c->group[k].right;
        x = right < 0 ? mlc_l_shl(l, x, -right) : mlc_l_lshr(l, x, right);
        x = mlc_l_and(l, x, mlc_l_pooled(l, (int64_t)c->group[k].mask));
        t = t ? mlc_l_or(l, t, x) : x;
    }
    return t;
}

/* 1 in each lane whose highest bit is set. */
static LLVMValueRef flags(mlc_lower *l, const mlc_int_clamp *c, LLVMValueRef x, LLVMValueRef one) {
    return mlc_l_and(l, mlc_l_lshr(l, x, c->pitch - 1), one);
}

LLVMValueRef mlc_int_clamp_limit(mlc_lower *l, LLVMValueRef t, LLVMValueRef reached, LLVMValueRef above,
                                 int bits, int64_t most) {
    int64_t ones = ((int64_t)1 << bits) - 1;
    if (!above)
        return mlc_l_and(l, t, mlc_l_mul_const(l, reached, ones));
    if (most == ones) { /* all ones are the limit: these are there at once */
        t = mlc_l_or(l, t, mlc_l_sub(l, mlc_l_shl(l, above, bits), above));
        return mlc_l_and(l, t, mlc_l_mul_const(l, reached, ones));
    }
    t = mlc_l_and(l, t, mlc_l_mul_const(l, mlc_l_sub(l, reached, above), ones));
    return mlc_l_add(l, t, mlc_l_mul_const(l, above, most));
}

LLVMValueRef mlc_int_clamp_lower(mlc_lower *l, const mlc_int_clamp *c, const LLVMValueRef *word) {
    LLVMValueRef t = moved(l, c, word), one = NULL, above = NULL;
    if (c->below)
        one = mlc_l_pooled(l, (int64_t)c->one);
    if (c->above)
        above = flags(l, c, mlc_l_add(l, mlc_l_pooled(l, (int64_t)c->limit), t), one);
    if (c->start)
        t = mlc_l_add(l, t, mlc_l_pooled(l, (int64_t)c->start));
    if (!c->below)
        return t;
    return mlc_int_clamp_limit(l, t, flags(l, c, t, one), above, c->bits, c->most);
}
