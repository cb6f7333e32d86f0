/*
 * INTEGER: a Rescale by an integer and another one behind it become one, also
 * through limits and reshapes; all limits before and behind it become two.
 * Exactly so, element by element:
 *
 *   ((x*m + a)*M + A) >> s        ==  (x*(m*M) + (a*M + A)) >> s
 *   (min(x, c)*M + A) >> s        ==  min((x*M + A) >> s, (c*M + A) >> s)    M > 0
 */
#include "Passes.h"

#include "mlc/op.h"

/* Operands are written out for every element; larger tensors stay as they are. */
enum { MAX_ELEMENTS = 4096 };

__extension__ typedef __int128 i128;

/* x -> min(max((x * multiplier + addend) >> shift, lo), hi), lo <= hi. */
typedef struct composed {
    mlc_value *x, *y;
    int64_t n;
    int64_t *multiplier, *addend, *lo, *hi;
    int shift, rescales, limits;
} composed;

static bool fits(i128 x) {
    return x >= INT64_MIN && x <= INT64_MAX;
}

/* Operand k of `node` for element i of its output. */
static int64_t operand(const mlc_node *node, int k, int64_t i) {
    const mlc_value *v = node->in[k];
    return v->constant->i[mlc_shape_broadcast_index(&v->shape, &node->out[0]->shape, i)];
}

static bool same_size(const mlc_node *node, int k, int64_t n) {
    return mlc_shape_elements(&node->in[k]->shape) == n && mlc_shape_elements(&node->out[0]->shape) == n;
}

/* Puts `node`, a Rescale without shift, in front. */
static bool absorb_rescale(composed *c, const mlc_node *node) {
    for (int64_t i = 0; i < c->n; i++) {
        int64_t m = operand(node, 1, i), a = operand(node, 2, i);
        i128 product = (i128)m * c->multiplier[i], sum = (i128)a * c->multiplier[i] + c->addend[i];
        if (m <= 0 || !fits(product) || !fits(sum))
            return false;
        c->multiplier[i] = (int64_t)product;
        c->addend[i] = (int64_t)sum;
    }
    c->rescales++;
    return true;
}

static int64_t clamp(int64_t x, int64_t lo, int64_t hi) {
    return x < lo ? lo : x > hi ? hi : x;
}

/* The constant operand of a Max or Min, -1 where there is none. */
static int limit_operand(const mlc_node *node, int64_t n) {
    if (node->op != mlc_iop("Max") && node->op != mlc_iop("Min"))
        return -1;
    int k = node->in[1]->constant ? 1 : 0;
    return node->in[k]->constant && same_size(node, 1 - k, n) ? k : -1;
}

/* Puts `node`, a limit, in front: it acts before lo and hi. */
static bool absorb_limit(composed *c, const mlc_node *node, int k) {
    int64_t *bound = node->op == mlc_iop("Max") ? c->lo : c->hi;
    for (int64_t i = 0; i < c->n; i++)
        if (!fits(((i128)operand(node, k, i) * c->multiplier[i] + c->addend[i]) >> c->shift))
            return false;
    for (int64_t i = 0; i < c->n; i++) {
        i128 y = ((i128)operand(node, k, i) * c->multiplier[i] + c->addend[i]) >> c->shift;
        bound[i] = clamp((int64_t)y, c->lo[i], c->hi[i]);
    }
    c->limits++;
    return true;
}

/* Puts `node`, a limit, behind. */
static void append_limit(composed *c, const mlc_node *node, int k) {
    for (int64_t i = 0; i < c->n; i++) {
        int64_t bound = operand(node, k, i);
        bool max = node->op == mlc_iop("Max");
        if (max ? c->lo[i] < bound : c->lo[i] > bound)
            c->lo[i] = bound;
        if (max ? c->hi[i] < bound : c->hi[i] > bound)
            c->hi[i] = bound;
    }
    c->limits++;
}

static bool absorb(const mlc_graph *g, composed *c, const int *uses) {
    const mlc_node *node = c->x->producer;
    if (!node || uses[c->x->id] != 1 || mlc_graph_is_output(g, c->x))
        return false;
    if (mlc_is_reshape(node) && same_size(node, 0, c->n)) {
        c->x = node->in[0];
        return true;
    }
    if (node->op == mlc_iop("Rescale") && mlc_attr_int(node, "shift", 0) == 0) {
        /* Absorbed in part it would be wrong: on failure c is not used any more. */
        if (!absorb_rescale(c, node)) {
            c->n = 0;
            return false;
        }
        c->x = node->in[0];
        return true;
    }
    int k = limit_operand(node, c->n);
    if (k < 0 || !absorb_limit(c, node, k))
        return false;
    c->x = node->in[1 - k];
    return true;
}

static bool append(const mlc_graph *g, composed *c, const int *uses) {
    const mlc_node *node = mlc_only_reader(g, c->y, uses);
    if (!node || mlc_graph_is_output(g, node->out[0]))
        return false;
    int k = limit_operand(node, c->n);
    if (k >= 0)
        append_limit(c, node, k);
    else if (!mlc_is_reshape(node) || !same_size(node, 0, c->n))
        return false;
    c->y = node->out[0];
    return true;
}

static mlc_value *constant(mlc_graph *g, const int64_t *x, const mlc_shape *shape) {
    mlc_tensor *t = mlc_tensor_create(g->arena, MLC_INT64, shape);
    for (int64_t i = 0; i < mlc_shape_elements(shape); i++)
        t->i[i] = x[i];
    return mlc_graph_constant(g, NULL, t);
}

static mlc_node *insert(mlc_graph *g, mlc_node *before, const mlc_op *op, const composed *c,
                        mlc_value *const *in, int n_in) {
    mlc_value *out = mlc_value_like(g, c->y, &c->x->shape);
    mlc_node *node = mlc_graph_insert(g, before, op, NULL, in, n_in, &out, 1);
    node->origin = before->origin;
    return node;
}

static bool start(mlc_graph *g, const mlc_node *rescale, composed *c) {
    int64_t n = mlc_shape_elements(&rescale->out[0]->shape);
    if (n > MAX_ELEMENTS || n == 0)
        return false;
    *c = (composed){.x = rescale->in[0],
                    .y = rescale->out[0],
                    .n = n,
                    .multiplier = MLC_NEW_ARRAY(g->arena, n, int64_t),
                    .addend = MLC_NEW_ARRAY(g->arena, n, int64_t),
                    .lo = MLC_NEW_ARRAY(g->arena, n, int64_t),
                    .hi = MLC_NEW_ARRAY(g->arena, n, int64_t),
                    .shift = (int)mlc_attr_int(rescale, "shift", 0)};
    for (int64_t i = 0; i < n; i++) {
        c->multiplier[i] = operand(rescale, 1, i);
        c->addend[i] = operand(rescale, 2, i);
        c->lo[i] = INT64_MIN;
        c->hi[i] = INT64_MAX;
        if (c->multiplier[i] <= 0)
            return false;
    }
    return true;
}

static bool reaches(const composed *c, const mlc_value *v, bool above) {
    for (int64_t i = 0; i < c->n; i++)
        if (above ? v->hi[i] > c->hi[i] : v->lo[i] < c->lo[i])
            return true;
    return false;
}

static void compose(mlc_graph *g, mlc_node *rescale, const int *uses) {
    composed c;
    if (!start(g, rescale, &c))
        return;
    while (absorb(g, &c, uses)) {}
    while (c.n && append(g, &c, uses)) {}
    if (!c.n || (!c.rescales && c.limits < 3))
        return;
    const mlc_shape *shape = &c.x->shape;
    mlc_value *in[3] = {c.x, constant(g, c.multiplier, shape), constant(g, c.addend, shape)};
    mlc_node *node = insert(g, rescale, rescale->op, &c, in, 3);
    if (c.shift)
        mlc_attr_set_int(g, node, "shift", c.shift);
    if (!mlc_interval_provable(g, node))
        return; /* nobody reads it */
    const char *const names[2] = {"Max", "Min"};
    for (int k = 0; k < 2; k++) {
        if (!reaches(&c, node->out[0], k))
            continue;
        mlc_value *both[2] = {node->out[0], constant(g, k ? c.hi : c.lo, shape)};
        node = insert(g, rescale, mlc_iop(names[k]), &c, both, 2);
        mlc_interval_provable(g, node);
    }
    if (!mlc_shape_equal(shape, &c.y->shape))
        node = mlc_insert_identity(g, rescale, node->out[0], c.y);
    mlc_graph_replace(g, c.y, node->out[0]);
}

mlc_graph *mlc_pass_compose(mlc_graph *g, mlc_pass_context *context) {
    if (context->options->opt_level == '0')
        return g;
    int *uses = mlc_graph_uses(g, g->arena), n = g->n_values;
    /* Backwards: a chain is taken as a whole before its parts are looked at. */
    for (mlc_node *node = g->last; node; node = node->prev)
        if (node->op == mlc_iop("Rescale") && node->out[0]->id < n && !mlc_graph_is_output(g, node->out[0]))
            compose(g, node, uses);
    mlc_graph_sweep(g);
    return mlc_update_intervals(g) ? g : NULL;
}
