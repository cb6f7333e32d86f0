#include "Product.h"
#include "Real.h"

/*
 * Einsum of one or two operands: out[o] = sum over the labels that the output lacks of
 * the product of the operands' elements. Dimensions of an ellipsis count as labels.
 */
enum { LABELS = 64, ELLIPSIS = 52, OPERANDS = 2, OUT = OPERANDS };

typedef struct term {
    int rank;
    int label[MLC_MAX_RANK];
} term;

typedef struct equation {
    int n; /* operands */
    term term[OPERANDS + 1];
    int64_t size[LABELS];
} equation;

static int letter(char c) {
    return c >= 'a' && c <= 'z' ? c - 'a' : c >= 'A' && c <= 'Z' ? 26 + c - 'A' : -1;
}

static bool malformed(mlc_graph *g, const mlc_node *node, const char *why) {
    return mlc_error_at(g->diag, node, "equation '%s': %s", mlc_escape(mlc_attr_string(node, "equation", "")),
                        why);
}

/* The labels up to the next comma, arrow or the end. An ellipsis stands for the
 * last `dots` of its labels; dots < 0: as many as an operand of `rank` has left. */
static const char *read_term(mlc_graph *g, const mlc_node *node, const char *s, int rank, int dots, term *t) {
    int letters = 0;
    bool ellipsis = false;
    for (const char *p = s; *p && *p != ',' && *p != '-'; p++)
        letters += letter(*p) >= 0;
    if (dots < 0)
        dots = rank - letters;
    t->rank = 0;
    for (; *s && *s != ',' && *s != '-'; s++) {
        int labels = letter(*s) >= 0 ? 1 : 0, first = letter(*s);
        if (*s == '.') {
            if (strncmp(s, "...", 3) != 0 || ellipsis)
                return malformed(g, node, "one ellipsis of three dots is allowed in a term"), NULL;
            ellipsis = true;
            s += 2;
            labels = dots;
            first = LABELS - dots;
        } else if (labels == 0 && *s != ' ') {
            return malformed(g, node, "labels must be letters"), NULL;
        }
        if (labels < 0 || t->rank + labels > MLC_MAX_RANK || first < (labels > 1 ? ELLIPSIS : first))
            return malformed(g, node, "a term has too many labels"), NULL;
        for (int k = 0; k < labels; k++)
            t->label[t->rank++] = first + k;
    }
    return s;
}

static int find(const term *t, int label) {
    for (int d = 0; d < t->rank; d++)
        if (t->label[d] == label)
            return d;
    return -1;
}

/* Without an arrow the output has the ellipsis, and in order the labels that occur once. */
static void implicit_output(equation *e, int dots) {
    term *out = &e->term[OUT];
    out->rank = 0;
    for (int k = 0; k < dots; k++)
        out->label[out->rank++] = LABELS - dots + k;
    for (int i = 0; i < ELLIPSIS; i++) {
        const int label = i < 26 ? 26 + i : i - 26; /* capital letters come first */
        int times = 0;
        for (int k = 0; k < e->n; k++)
            times += find(&e->term[k], label) >= 0;
        if (times == 1 && out->rank < MLC_MAX_RANK)
            out->label[out->rank++] = label;
    }
}

static bool check_sizes(mlc_graph *g, const mlc_node *node, equation *e) {
    for (int i = 0; i < LABELS; i++)
        e->size[i] = -1;
    for (int k = 0; k < e->n; k++)
        for (int d = 0; d < e->term[k].rank; d++) {
            const int label = e->term[k].label[d];
            const int64_t n = node->in[k]->shape.dim[d];
            if (find(&e->term[k], label) != d)
                return malformed(g, node, "a label that repeats within a term is not supported");
            if (e->size[label] >= 0 && e->size[label] != n)
                return malformed(g, node, "a label has dimensions of different sizes");
            e->size[label] = n;
        }
    for (int d = 0; d < e->term[OUT].rank; d++)
        if (e->size[e->term[OUT].label[d]] < 0 || find(&e->term[OUT], e->term[OUT].label[d]) != d)
            return malformed(g, node, "the output has a label that no operand has, or one twice");
    return true;
}

/* With g NULL, after infer has passed, it cannot fail. */
static bool equation_of(mlc_graph *g, const mlc_node *node, equation *e) {
    const char *s = mlc_attr_string(node, "equation", "");
    *e = (equation){.n = node->n_in};
    int dots = 0;
    for (int k = 0; k < e->n; k++) {
        int letters = 0, rank = node->in[k]->shape.rank;
        for (const char *p = s; *p && *p != ',' && *p != '-'; p++)
            letters += letter(*p) >= 0;
        if (!(s = read_term(g, node, s, rank, -1, &e->term[k])))
            return false;
        if (e->term[k].rank != rank)
            return malformed(g, node, "a term does not have the labels of its operand's dimensions");
        dots = rank - letters > dots ? rank - letters : dots;
        if (k + 1 < e->n && *s++ != ',')
            return malformed(g, node, "it has fewer terms than the node has inputs");
    }
    if (!*s)
        implicit_output(e, dots);
    else if (s[0] != '-' || s[1] != '>' || !(s = read_term(g, node, s + 2, 0, dots, &e->term[OUT])))
        return s && malformed(g, node, "it has more terms than the node has inputs");
    else if (*s)
        return malformed(g, node, "nothing may follow the output");
    return check_sizes(g, node, e);
}

static bool infer(mlc_graph *g, mlc_node *node) {
    equation e;
    if (!mlc_need_float(g, node, 0) || !mlc_need_float(g, node, 1) || !equation_of(g, node, &e))
        return false;
    mlc_shape shape = {.rank = e.term[OUT].rank};
    for (int d = 0; d < shape.rank; d++)
        shape.dim[d] = e.size[e.term[OUT].label[d]];
    return mlc_infer_set(g, node, 0, node->in[0]->dtype, &shape);
}

/* Labels in some order, as the digits of an index. */
typedef struct digits {
    int n;
    int label[2 * MLC_MAX_RANK];
    int64_t count;
} digits;

static void add_label(const equation *e, digits *o, int label) {
    o->label[o->n++] = label;
    o->count *= e->size[label];
}

static void set_digits(const equation *e, const digits *o, int64_t i, int64_t at[LABELS]) {
    for (int k = o->n - 1; k >= 0; k--) {
        at[o->label[k]] = i % e->size[o->label[k]];
        i /= e->size[o->label[k]];
    }
}

static int64_t flat(const equation *e, const term *t, const int64_t at[LABELS]) {
    int64_t i = 0;
    for (int d = 0; d < t->rank; d++)
        i = i * e->size[t->label[d]] + at[t->label[d]];
    return i;
}

/* The labels that are in operand 0, in operand 1, and in the output, or not. */
static digits select(const equation *e, bool a, bool b, bool out) {
    digits o = {.count = 1};
    for (int label = 0; label < LABELS; label++)
        if (e->size[label] >= 0 && (find(&e->term[0], label) >= 0) == a &&
            (e->n > 1 && find(&e->term[1], label) >= 0) == b && (find(&e->term[OUT], label) >= 0) == out)
            add_label(e, &o, label);
    return o;
}

static void eval(const mlc_node *node, const mlc_tensor *const *in, mlc_tensor *const *out) {
    equation e;
    equation_of(NULL, node, &e);
    digits result = {.count = 1}, summed = {.count = 1};
    for (int d = 0; d < e.term[OUT].rank; d++)
        add_label(&e, &result, e.term[OUT].label[d]);
    for (int label = 0; label < LABELS; label++)
        if (e.size[label] >= 0 && find(&e.term[OUT], label) < 0)
            add_label(&e, &summed, label);
    int64_t at[LABELS] = {0};
    for (int64_t i = 0; i < result.count; i++) {
        double sum = 0;
        set_digits(&e, &result, i, at);
        for (int64_t j = 0; j < summed.count; j++) {
            set_digits(&e, &summed, j, at);
            const double a = in[0]->f[flat(&e, &e.term[0], at)];
            sum += e.n > 1 ? a * in[1]->f[flat(&e, &e.term[1], at)] : a;
        }
        out[0]->f[i] = sum;
    }
}

/* Flat indices into operand `t` in the order of the digits of x, y and z. */
static int64_t *order(mlc_arena *arena, const equation *e, const term *t, const digits *x, const digits *y,
                      const digits *z) {
    int64_t *index = MLC_NEW_ARRAY(arena, x->count * y->count * z->count, int64_t), at[LABELS] = {0}, n = 0;
    for (int64_t i = 0; i < x->count; i++)
        for (int64_t j = 0; j < y->count; j++)
            for (int64_t k = 0; k < z->count; k++) {
                set_digits(e, x, i, at);
                set_digits(e, y, j, at);
                set_digits(e, z, k, at);
                index[n++] = flat(e, t, at);
            }
    return index;
}

/* Operand k as [x,y], its labels in z summed. */
static mlc_value *operand(mlc_quant *q, const mlc_node *node, const equation *e, int k, const digits *x,
                          const digits *y, const digits *z) {
    const mlc_shape shape = {3, {x->count, y->count, 1}};
    mlc_value *v = mlc_q_value(q, node->in[k]);
    return v ? mlc_q_reduce(q, MLC_REDUCE_SUM, v, order(q->arena, e, &e->term[k], x, y, z), z->count, &shape)
             : NULL;
}

static const mlc_tensor *constant_operand(mlc_quant *q, const mlc_node *node, const equation *e, int k,
                                          const digits *x, const digits *y, const digits *z) {
    const mlc_shape shape = {2, {x->count, y->count}};
    const int64_t *index = order(q->arena, e, &e->term[k], x, y, z);
    mlc_tensor *t = mlc_tensor_create(q->arena, MLC_DOUBLE, &shape);
    for (int64_t i = 0; i < x->count * y->count * z->count; i++)
        t->f[i / z->count] += node->in[k]->constant->f[index[i]];
    return t;
}

static digits joined(const equation *e, const digits *a, const digits *b) {
    digits o = *a;
    for (int k = 0; k < b->n; k++)
        add_label(e, &o, b->label[k]);
    return o;
}

/* The result, with labels in the order x, y, z, as the output has them. */
static bool bind(mlc_quant *q, const mlc_node *node, const equation *e, mlc_value *v, const digits *all) {
    term have = {.rank = all->n};
    digits want = {.count = 1}, none = {.count = 1};
    memcpy(have.label, all->label, sizeof have.label);
    for (int d = 0; d < e->term[OUT].rank; d++)
        add_label(e, &want, e->term[OUT].label[d]);
    return mlc_q_result(
        q, node,
        v ? mlc_q_gather(q, &v, 1, order(q->arena, e, &have, &want, &none, &none), 0, &node->out[0]->shape)
          : NULL);
}

static bool quantize(mlc_quant *q, const mlc_node *node) {
    equation e;
    equation_of(NULL, node, &e);
    const digits none = {.count = 1};
    if (e.n == 1) {
        const digits rest = select(&e, true, false, true), summed = select(&e, true, false, false);
        return bind(q, node, &e, operand(q, node, &e, 0, &rest, &none, &summed), &rest);
    }
    /* A constant operand is the right one. */
    const int a = node->in[0]->constant ? 1 : 0, b = 1 - a;
    const digits batch = select(&e, true, true, true), inner = select(&e, true, true, false);
    const digits rows = select(&e, a == 0, a == 1, true), columns = select(&e, b == 0, b == 1, true);
    const digits extra_a = select(&e, a == 0, a == 1, false), extra_b = select(&e, b == 0, b == 1, false);
    const mlc_product p = {.batch = batch.count,
                           .M = rows.count,
                           .K = inner.count,
                           .N = columns.count,
                           .batch_shape = {1, {batch.count}},
                           .a_batch = {1, {batch.count}},
                           .b_batch = {1, {batch.count}}};
    const mlc_shape shape = {3, {p.batch, p.M, p.N}};
    const digits outer_a = joined(&e, &batch, &rows), outer_b = joined(&e, &batch, &inner);
    mlc_value *x = operand(q, node, &e, a, &outer_a, &inner, &extra_a), *y;
    if (!x)
        return false;
    if (node->in[b]->constant) {
        y = mlc_q_product_right(q, &p, 1, x, constant_operand(q, node, &e, b, &outer_b, &columns, &extra_b),
                                NULL, &shape);
    } else {
        mlc_value *z = operand(q, node, &e, b, &outer_b, &columns, &extra_b);
        y = z ? mlc_q_product_both(q, &p, x, z, &shape) : NULL;
    }
    const digits some = joined(&e, &batch, &rows), all = joined(&e, &some, &columns);
    return bind(q, node, &e, y, &all);
}

MLC_OPS(Einsum, {.domain = "",
                 .name = "Einsum",
                 .since = 12,
                 .doc = "Sums of products of elements, by a formula",
                 .limits = "one or two operands; no label twice in a term",
                 .min_in = 1,
                 .max_in = 2,
                 .min_out = 1,
                 .max_out = 1,
                 .attrs = (const mlc_attr_spec[]){{"equation", MLC_ATTR_STRING}, {0}},
                 .infer = infer,
                 .eval = eval,
                 .quantize = quantize});
