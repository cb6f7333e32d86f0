/*
 * Requantize: y = table[(x >> shift) - first]. Rounding to fewer bits, limits and
 * activation of a dot product at once: for an output inside a packed word, the
 * shift and the mask that extract it also index the table.
 */
#include "Int.h"
#include "IntClamp.h"

static int shift_of(const mlc_node *node, int64_t i) {
    return (int)mlc_int_operand(node, 1, i).lo;
}

static bool requantize_check(mlc_graph *g, mlc_node *node) {
    if (!mlc_int_check(g, node) || !mlc_int_constant(g, node, 1) || !mlc_int_constant(g, node, 2))
        return false;
    const mlc_shape *x = &node->in[0]->shape, *shift = &node->in[1]->shape;
    mlc_shape both;
    if (!mlc_shape_broadcast(x, shift, &both) || !mlc_shape_equal(x, &both))
        return mlc_error_at(g->diag, node, "the shifts have shape %s, which does not broadcast to %s",
                            mlc_shape_str(g->arena, shift), mlc_shape_str(g->arena, x));
    for (int64_t i = 0, n = mlc_int_elements(node->in[1]); i < n; i++) {
        int64_t s = node->in[1]->constant->i[i];
        if (s < 0 || s > 62)
            return mlc_error_at(g->diag, node, "a shift is %lld, expected 0 to 62", (long long)s);
    }
    if (mlc_int_elements(node->in[2]) < 1)
        return mlc_error_at(g->diag, node, "the table is empty");
    return mlc_int_same_shape(g, node);
}

/* Index of x's entry, before it is known to be in the table. */
static mlc_i128 entry(const mlc_node *node, int64_t i, mlc_i128 x) {
    return (x >> shift_of(node, i)) - mlc_attr_int(node, "first", 0);
}

static bool monotone(const int64_t *table, int64_t n) {
    for (int64_t i = 1; i < n; i++)
        if (table[i] < table[i - 1])
            return false;
    return true;
}

static bool requantize_interval(mlc_graph *g, mlc_node *node) {
    const int64_t *table = node->in[2]->constant->i;
    int64_t entries = mlc_int_elements(node->in[2]);
    bool rising = monotone(table, entries);
    for (int64_t i = 0, n = mlc_int_elements(node->out[0]); i < n; i++) {
        if (mlc_int_operand(node, 1, i).hi != shift_of(node, i))
            return mlc_error_at(g->diag, node, "the shift of element %lld is not constant", (long long)i);
        mlc_wide x = mlc_int_range(node->in[0], i), at = {entry(node, i, x.lo), entry(node, i, x.hi)};
        if (at.lo < 0 || at.hi >= entries)
            return mlc_error_at(g->diag, node, "element %lld may look up [%.4g, %.4g] in a table of %lld",
                                (long long)i, (double)at.lo, (double)at.hi, (long long)entries);
        mlc_wide y = {table[(int64_t)at.lo], table[(int64_t)at.hi]};
        for (int64_t k = (int64_t)at.lo; k <= (int64_t)at.hi && !rising; k++) {
            y.lo = mlc_int_min(y.lo, table[k]);
            y.hi = mlc_int_max(y.hi, table[k]);
        }
        if (!mlc_int_bound(g, node, i, y))
            return false;
    }
    return true;
}

static void requantize_eval(const mlc_node *node, const int64_t *const *in, int64_t *out) {
    for (int64_t i = 0, n = mlc_int_elements(node->out[0]); i < n; i++)
        out[i] = in[2][(int64_t)entry(node, i, in[0][i])];
}

/* Numbers the word of laid[k] among those that were found before. */
static void find_source(mlc_int_laid *laid, LLVMValueRef *word, int *words) {
    word[*words] = laid->lane.word; /* found there, if not before */
    for (laid->source = 0; word[laid->source] != laid->lane.word;)
        laid->source++;
    *words += laid->source == *words;
}

/* Hands over the word of outputs that output i is in, where they can be computed at once; its
 * input is in `lane`, where it has been taken out. */
static bool lower_word(mlc_lower *l, const mlc_node *node, int64_t i, const mlc_lane *lane) {
    int width = mlc_l_stored_width(l, node->out[0]), n = width ? 8 / width : 0;
    if (n < 2 || n > MLC_INT_CLAMPED)
        return false;
    int64_t first = i / n * n, elements = mlc_int_elements(node->out[0]);
    mlc_int_laid laid[MLC_INT_CLAMPED];
    LLVMValueRef word[MLC_INT_CLAMPED];
    mlc_int_clamp c;
    int words = 0;
    for (int k = 0; k < n; k++) {
        laid[k].lane = *lane;
        if (first + k != i &&
            (first + k >= elements || !mlc_l_peek_lane(l, node->in[0], first + k, &laid[k].lane)))
            return false;
        find_source(&laid[k], word, &words);
    }
    if (!mlc_int_clamp_plan(node, first, 1, n, 8 * width, laid, &c))
        return false;
    for (int k = 0; k < n; k++)
        if (first + k != i)
            mlc_l_input_lane(l, node->in[0], first + k, &laid[k].lane); /* takes it out */
    mlc_l_also_word(l, node, first, n, mlc_int_clamp_lower(l, &c, word));
    return true;
}

/* Hands over outputs i of some channels of a convolution, where they can be computed at once; each
 * lies elsewhere in memory. */
static bool lower_channels(mlc_lower *l, const mlc_node *node, int64_t i, const mlc_lane *lane) {
    enum { PITCH = 64 / MLC_INT_CLAMPED };
    const mlc_node *conv = node->in[0]->producer;
    if (!conv || conv->op != mlc_iop("Conv"))
        return false;
    int64_t elements = mlc_int_elements(node->out[0]), area = elements / conv->in[1]->shape.dim[0];
    mlc_int_laid laid[MLC_INT_CLAMPED];
    LLVMValueRef word[MLC_INT_CLAMPED];
    mlc_int_clamp c;
    int words = 0, n = 0;
    for (; n < MLC_INT_CLAMPED && i + n * area < elements; n++) {
        laid[n].lane = *lane;
        if (n && !mlc_l_peek_lane(l, node->in[0], i + n * area, &laid[n].lane))
            break;
        find_source(&laid[n], word, &words);
    }
    if (!mlc_int_clamp_plan(node, i, area, n, PITCH, laid, &c))
        return false;
    for (int k = 1; k < n; k++)
        mlc_l_input_lane(l, node->in[0], i + k * area, &laid[k].lane); /* takes it out */
    LLVMValueRef y = mlc_int_clamp_lower(l, &c, word);
    for (int k = 0; k < n; k++)
        mlc_l_also_lane(l, node, i + k * area,
                        &(mlc_lane){.word = y, .at = k * PITCH, .width = c.bits, .top = k == n - 1});
    return true;
}

/* The shift and the mask that extract a lane also index the table, where its numbers begin at a
 * multiple of the table's unit and inside the table. */
static bool lookup_lane(mlc_lower *l, const mlc_node *node, int shift, mlc_lane lane, LLVMValueRef *y) {
    int64_t n = mlc_int_elements(node->in[2]), first = (lane.low >> shift) - mlc_attr_int(node, "first", 0);
    int bits = lane.width > shift ? lane.width - shift : 0;
    if (lane.low & (((int64_t)1 << shift) - 1) || first < 0 || bits > 30 ||
        first + ((int64_t)1 << bits) > 2 * n)
        return false;
    if (lane.top && lane.at + lane.width < 64) /* the verifier wants to see it */
        lane.top = false;
    *y = mlc_l_table_at(l, node->in[2]->constant->i, n, first, bits, mlc_l_lane_bits(l, &lane, shift));
    return true;
}

static void *requantize_lower(mlc_lower *l, const mlc_node *node, int64_t i) {
    const mlc_value *x = node->in[0];
    const int64_t *table = node->in[2]->constant->i;
    int64_t n = mlc_int_elements(node->in[2]), first = mlc_attr_int(node, "first", 0);
    int shift = shift_of(node, i);
    mlc_lane lane;
    LLVMValueRef whole = mlc_l_input_lane(l, x, i, &lane);
    if (!whole && (lower_word(l, node, i, &lane) || lower_channels(l, node, i, &lane)))
        return NULL;
    if (!whole && lookup_lane(l, node, shift, lane, &whole))
        return whole;
    if (!whole) /* LLVM must not see the interval: it would drop the mask that the verifier needs */
        whole = mlc_l_opaque(l, mlc_l_lane(l, &lane));
    if (!first) /* nothing is negative */
        return mlc_l_table(l, table, n, mlc_l_lshr(l, whole, shift));
    return mlc_l_table(l, table, n, mlc_l_sub(l, mlc_l_ashr(l, whole, shift), mlc_l_const(l, first)));
}

static int64_t requantize_reads(const mlc_node *node, int k) {
    return k == 0 ? 1 : mlc_int_elements(node->out[0]);
}

static int64_t requantize_cost(const mlc_node *node) {
    (void)node;
    return 7;
}

/* A dense layer's accumulators in 16 bits, or many more. */
static mlc_node *random_dense(mlc_graph *g, mlc_rng *rng, mlc_value *x, int64_t outputs) {
    int64_t inputs = mlc_int_elements(x), *w = MLC_NEW_ARRAY(g->arena, outputs * inputs, int64_t),
            *bias = MLC_NEW_ARRAY(g->arena, outputs, int64_t);
    bool large = inputs > 16 || mlc_int_chance(rng, 4);
    for (int64_t i = 0; i < outputs; i++) {
        int64_t left = mlc_rng_range(rng, large ? 1 : 120, large ? 2000 : 250);
        bias[i] = mlc_rng_range(rng, -128 * left, 128 * left);
        for (int64_t k = 0; k < inputs; k++) {
            int64_t most = k + 1 == inputs ? left : mlc_rng_range(rng, 0, left / (inputs - k) * 2);
            w[i * inputs + k] = mlc_int_chance(rng, 2) ? most : -most;
            left -= most;
        }
    }
    mlc_shape shape = {.rank = 2, .dim = {outputs, inputs}}, vector = mlc_int_vector(outputs);
    mlc_value *in[3] = {x, mlc_int_new_constant(g, w, &shape), mlc_int_new_constant(g, bias, &vector)};
    return mlc_int_settle(g, mlc_int_random_node(g, "Linear", in, 3), 7);
}

/* Numbers less `zero`, limited to [0, most]; now and then one of them is something else. */
static mlc_value *random_clamp(mlc_graph *g, mlc_rng *rng, int64_t first, int64_t n) {
    static const int64_t limits[] = {1, 6, 127, 181, 255, 255, 1000, 4095};
    int64_t zero = mlc_rng_range(rng, first - 9, first + n), most = limits[mlc_rng_range(rng, 0, 7)],
            *table = MLC_NEW_ARRAY(g->arena, n, int64_t);
    for (int64_t i = 0; i < n; i++) {
        int64_t y = first + i - zero;
        table[i] = y < 0 ? 0 : y > most ? most : y;
    }
    if (mlc_int_chance(rng, 8))
        table[mlc_rng_range(rng, 0, n - 1)] = mlc_rng_range(rng, -3, 300);
    mlc_shape size = mlc_int_vector(n);
    return mlc_int_new_constant(g, table, &size);
}

/* Between two dense layers, what a word's outputs may leave together (IntClamp.h). */
static mlc_node *generate_clamp(mlc_graph *g, mlc_rng *rng) {
    int64_t n = mlc_rng_range(rng, 1, 6) * mlc_rng_range(rng, 3, 4);
    mlc_shape inputs = mlc_int_vector(mlc_rng_range(rng, 1, mlc_int_chance(rng, 3) ? 80 : 16)),
              shape = {.rank = 2, .dim = {1, n}};
    mlc_value *x = mlc_int_random_input(g, rng, &inputs, 0, 255);
    for (int64_t i = 0; i < inputs.dim[0] && !mlc_int_chance(rng, 3 * inputs.dim[0]); i++)
        x->lo[i] = 0, x->hi[i] = 255;
    mlc_node *dense = random_dense(g, rng, x, n);
    const mlc_value *sum = dense->out[0];
    int64_t *shift = MLC_NEW_ARRAY(g->arena, n, int64_t), first = INT64_MAX, last = INT64_MIN;
    int least = (int)mlc_rng_range(rng, 4, 9), different = mlc_int_chance(rng, 2);
    for (int64_t i = 0; i < n; i++) {
        shift[i] = least + (different && mlc_int_chance(rng, 4));
        first = sum->lo[i] >> shift[i] < first ? sum->lo[i] >> shift[i] : first;
        last = sum->hi[i] >> shift[i] > last ? sum->hi[i] >> shift[i] : last;
    }
    if (!mlc_int_chance(rng, 4))
        mlc_attr_set_ints(g, dense, "align", shift, n);
    mlc_int_random_packing(g, dense, rng);
    mlc_value *in[3] = {dense->out[0], mlc_int_new_constant(g, shift, &shape),
                        random_clamp(g, rng, first, last - first + 1)};
    mlc_node *node = mlc_int_random_node(g, "Requantize", in, 3);
    mlc_attr_set_int(g, node, "first", first);
    mlc_int_settle(g, node, 0);
    random_dense(g, rng, node->out[0], mlc_rng_range(rng, 1, 2));
    return node;
}

static mlc_node *requantize_generate(mlc_graph *g, mlc_rng *rng) {
    if (!g->first && !mlc_int_chance(rng, 3)) /* alone, for nobody gives its input another meaning then */
        return generate_clamp(g, rng);
    mlc_shape shape = mlc_int_random_shape(rng, 16), shifts = mlc_int_random_operand_shape(rng, &shape);
    int64_t n = mlc_rng_range(rng, 1, mlc_int_chance(rng, 4) ? 700 : 40), least = 62;
    mlc_shape size = mlc_int_vector(n);
    int64_t *shift = MLC_NEW_ARRAY(g->arena, mlc_shape_elements(&shifts), int64_t);
    for (int64_t i = 0; i < mlc_shape_elements(&shifts); i++) {
        shift[i] = mlc_rng_range(rng, 0, mlc_int_chance(rng, 8) ? 50 : 12);
        if (shift[i] < least)
            least = shift[i];
    }
    int64_t first = mlc_rng_range(rng, 1 - n, 0), lo = first * ((int64_t)1 << least),
            hi = (first + n) * ((int64_t)1 << least) - 1;
    mlc_value *in[3] = {mlc_int_random_input(g, rng, &shape, lo, hi), mlc_int_new_constant(g, shift, &shifts),
                        mlc_int_random_constant(g, rng, &size)};
    mlc_node *node = mlc_int_random_node(g, "Requantize", in, 3);
    mlc_attr_set_int(g, node, "first", first);
    return mlc_int_settle(g, node, 5);
}

MLC_OPS(IntRequantize,
        {.domain = "mlc",
         .name = "Requantize",
         .since = 1,
         .doc = "table[(x >> shift) - first]; inputs x, shift (constant, broadcast to x), table",
         .min_in = 3,
         .max_in = 3,
         .min_out = 1,
         .max_out = 1,
         .attrs = (const mlc_attr_spec[]){{"first", MLC_ATTR_INT}, {0}},
         .check = requantize_check,
         .interval = requantize_interval,
         .eval_int = requantize_eval,
         .lower = requantize_lower,
         .reads = requantize_reads,
         .cost = requantize_cost,
         .elementwise = 2,
         .generate = requantize_generate});
