/*
 * Which stored values are computed by loops (Nest.h), and how: convolutions that
 * the pass `roll` has prepared, position by position; reductions, copies and
 * element-wise chains whose elements all look alike.
 */
#include "Loop.h"
#include "Nest.h"

#include <string.h>

/* Estimated instructions of one body of a convolution; more channels than that get several. */
enum { BODY_BUDGET = 3000 };

/* Other nodes are rolled from so many instructions and elements on. */
enum { LEAST_FAST = 2000, LEAST_SMALL = 200, LEAST_ELEMENTS = 8 };

/* So many elements share a body, of so many instructions. */
enum { UNIT = 8, LARGE_UNIT = 32, UNIT_BUDGET = 500 };

typedef struct roll {
    const mlc_node *node, *root;
    mlc_nest nest;
    /* The body stores `unit` elements: start, start + step... or the first of the root's order. */
    int64_t start, unit, step;
    int64_t tail;          /* elements at the end that the nest leaves over */
    const mlc_value *fill; /* the constant that elements outside the nest are; NULL: there are none */
} roll;

static int64_t elements(const mlc_value *v) {
    return mlc_shape_elements(&v->shape);
}

static bool is_stored(const mlc_lower *l, const mlc_value *v) {
    return l->cg->layout.place[v->id].area != MLC_AREA_NONE;
}

static int64_t width(const mlc_lower *l, const mlc_value *v) {
    return l->cg->layout.place[v->id].storage.width;
}

/* --- elements that look alike --- */

/* A table is indexed by numbers, not by position. */
static bool is_lookup(const mlc_node *node, int k) {
    return (node->op == mlc_iop("Table") && k == 1) || (node->op == mlc_iop("Requantize") && k == 2);
}

/* Elements [i, i + area) of v have one interval, for every multiple i of area. */
static bool same_intervals(const mlc_value *v, int64_t area) {
    for (int64_t i = 0, n = elements(v); i < n; i++)
        if (v->lo[i] != v->lo[i / area * area] || v->hi[i] != v->hi[i / area * area])
            return false;
    return true;
}

/* Likewise the elements of constant c that are broadcast to a value of shape `to`. */
static bool same_operands(const mlc_value *c, const mlc_shape *to, int64_t area) {
    mlc_shape joint;
    if (!mlc_shape_broadcast(&c->shape, to, &joint) || !mlc_shape_equal(&joint, to))
        return false;
    for (int64_t i = 0, n = mlc_shape_elements(to); i < n; i++)
        if (c->constant->i[mlc_shape_broadcast_index(&c->shape, to, i)] !=
            c->constant->i[mlc_shape_broadcast_index(&c->shape, to, i / area * area)])
            return false;
    return true;
}

typedef struct walk {
    const mlc_lower *l;
    int64_t area;         /* so many elements in a row have to look alike */
    const mlc_value *end; /* where all ways lead; NULL: not known yet */
    bool *seen;           /* by value id */
} walk;

static bool is_elementwise(const mlc_node *node) {
    return !node->op->block && node->op != mlc_iop("Gather");
}

/* Element i of a node's output is made of elements i that lead to the end, and of
 * operands that are the same for all elements of an area. */
static bool walk_node(walk *w, const mlc_node *node) {
    const mlc_value *y = node->out[0];
    if (!is_elementwise(node) || !same_intervals(y, w->area))
        return false;
    for (int k = 0; k < node->n_in; k++) {
        const mlc_value *x = node->in[k];
        if (x->constant) {
            if (!is_lookup(node, k) && !same_operands(x, &y->shape, w->area))
                return false;
            continue;
        }
        if (elements(x) != elements(y))
            return false;
        if (x == w->end || w->seen[x->id])
            continue;
        w->seen[x->id] = true;
        if (!is_stored(w->l, x) && x->producer && is_elementwise(x->producer)) {
            if (!walk_node(w, x->producer))
                return false;
        } else if (w->end || !same_intervals(x, w->area)) {
            return false;
        } else {
            w->end = x;
        }
    }
    return w->end != NULL;
}

/* The value that element i of a node's output depends on, through its element i alone,
 * by a function that is the same for `area` elements in a row; NULL: there is none. */
static const mlc_value *source(const mlc_lower *l, const mlc_node *node, int64_t area) {
    mlc_arena_mark mark = mlc_arena_save(l->arena);
    walk w = {.l = l, .area = area, .seen = MLC_NEW_ARRAY(l->arena, l->cg->graph->n_values, bool)};
    bool ok = walk_node(&w, node);
    mlc_arena_restore(l->arena, mark);
    return ok ? w.end : NULL;
}

/* A stored node is its root, or depends on it like that. */
static bool reaches(const mlc_lower *l, const roll *r, int64_t area) {
    return r->node == r->root || source(l, r->node, area) == r->root->out[0];
}

/* Where the value lies that v stands for: v itself, or what it is computed from in place. */
static const mlc_value *stored_source(const mlc_lower *l, const mlc_value *v) {
    if (is_stored(l, v) || !v->producer || !is_elementwise(v->producer))
        return v;
    return source(l, v->producer, elements(v));
}

/* A stored value that loops can walk. */
static bool is_source(const mlc_lower *l, const mlc_value *v) {
    return v && is_stored(l, v) && !l->cg->layout.place[v->id].features;
}

/* --- plans --- */

static int64_t attr_at(const mlc_node *node, const char *name, int d, int64_t missing) {
    int64_t n;
    const int64_t *x = mlc_attr_ints(node, name, &n);
    return n ? x[d] : missing;
}

/* All that a convolution reads in dimension d lies in its input. */
static bool inside(const mlc_node *conv, int d) {
    int64_t last = (conv->out[0]->shape.dim[2 + d] - 1) * attr_at(conv, "pool_strides", d, 1) +
                   attr_at(conv, "pool", d, 1) - 1;
    return attr_at(conv, "pads", d, 0) == 0 &&
           last * attr_at(conv, "strides", d, 1) +
                   (conv->in[1]->shape.dim[2 + d] - 1) * attr_at(conv, "dilations", d, 1) <
               conv->in[0]->shape.dim[2 + d];
}

static bool plan_conv(const mlc_lower *l, roll *r) {
    const mlc_node *conv = r->root;
    const mlc_value *x = conv->in[0], *y = conv->out[0];
    int64_t x_stride[MLC_MAX_RANK], y_stride[MLC_MAX_RANK];
    if (elements(y) == 0 || !is_source(l, x) || !reaches(l, r, elements(y) / y->shape.dim[1]))
        return false;
    mlc_shape_strides(&x->shape, x_stride);
    mlc_shape_strides(&y->shape, y_stride);
    r->nest.src = x;
    r->unit = y->shape.dim[1];
    for (int d = 0; d < x->shape.rank - 2; d++) {
        int64_t count = y->shape.dim[2 + d],
                step = attr_at(conv, "strides", d, 1) * attr_at(conv, "pool_strides", d, 1);
        if (!inside(conv, d) ||
            !mlc_nest_add(&r->nest, count, count > 1 ? x_stride[2 + d] * step * width(l, x) : 0,
                          y_stride[2 + d] * width(l, r->node->out[0])))
            return false;
    }
    return true;
}

/* So many elements in a row are a body: more of them where a round costs instructions, not a barrier. */
static int64_t unit_in_row(const mlc_lower *l, const mlc_node *node) {
    int64_t cost = mlc_lower_cost(l, node);
    for (int64_t unit = LARGE_UNIT; unit > UNIT && mlc_loop_is_free(l); unit /= 2)
        if (unit * cost <= UNIT_BUDGET && elements(node->out[0]) >= 4 * unit)
            return unit;
    return UNIT;
}

/* Elements one after the other, some to a body. */
static bool plan_elementwise(const mlc_lower *l, roll *r) {
    const mlc_value *y = r->node->out[0], *x = source(l, r->node, elements(y));
    if (!is_source(l, x))
        return false;
    r->nest.src = x;
    r->unit = unit_in_row(l, r->node);
    r->step = 1;
    r->tail = elements(y) % r->unit;
    return mlc_nest_add(&r->nest, elements(y) / r->unit, r->unit * width(l, x), r->unit * width(l, y));
}

typedef struct box {
    int64_t first[MLC_MAX_RANK], count[MLC_MAX_RANK];
} box;

/* The smallest box of elements of `shape` whose index is below `limit`; false: there is none. */
static bool find_box(const int64_t *index, int64_t n, int64_t limit, const mlc_shape *shape, box *b) {
    int64_t flat[MLC_MAX_RANK];
    bool any = false;
    mlc_shape_strides(shape, flat);
    for (int64_t i = 0, count = mlc_shape_elements(shape); i < count; i++) {
        if (index[i * n] >= limit)
            continue;
        for (int d = 0; d < shape->rank; d++) {
            int64_t at = i / flat[d] % shape->dim[d], last = any ? b->first[d] + b->count[d] - 1 : at;
            b->first[d] = !any || at < b->first[d] ? at : b->first[d];
            b->count[d] = (at > last ? at : last) - b->first[d] + 1;
        }
        any = true;
    }
    return any;
}

/*
 * Whether index[i*n + j], for i in the box, is that of the box's first element plus what
 * the coordinates of i add, with a stride for each dimension that is not negative, and
 * at least `limit` outside. Sets the strides.
 */
static bool affine(const int64_t *index, int64_t n, int64_t limit, const mlc_shape *shape, const box *b,
                   int64_t *stride) {
    int64_t flat[MLC_MAX_RANK], start = 0;
    mlc_shape_strides(shape, flat);
    for (int d = 0; d < shape->rank; d++)
        start += b->first[d] * flat[d];
    const int64_t *base = index + start * n;
    for (int d = 0; d < shape->rank; d++) {
        stride[d] = b->count[d] > 1 ? base[flat[d] * n] - base[0] : 0;
        if (stride[d] < 0)
            return false;
    }
    for (int64_t i = 0, count = mlc_shape_elements(shape); i < count; i++) {
        int64_t add = 0;
        bool inside = true;
        for (int d = 0; d < shape->rank; d++) {
            int64_t at = i / flat[d] % shape->dim[d] - b->first[d];
            inside = inside && at >= 0 && at < b->count[d];
            add += at * stride[d];
        }
        for (int64_t j = 0; j < n; j++)
            if (inside ? base[j] < 0 || index[i * n + j] != base[j] + add : index[i * n + j] < limit)
                return false;
    }
    return true;
}

/* What a body does of a row: all of it where that is short, else a part that divides it. */
static int64_t unit_of(int64_t count, int64_t cost) {
    if (count <= 2 * UNIT && count * cost <= UNIT_BUDGET)
        return count;
    for (int64_t unit = UNIT; unit > 1; unit--)
        if (count % unit == 0 && unit * cost <= UNIT_BUDGET)
            return unit;
    return 1;
}

/* Groups of elements, or copies of single ones; the latter into a frame of one constant. */
static bool plan_indexed(const mlc_lower *l, roll *r) {
    const mlc_node *root = r->root;
    const mlc_value *y = root->out[0], *index = root->in[root->n_in - 1], *x = stored_source(l, root->in[0]);
    if (root->n_in > 2)
        r->fill = root->in[1];
    bool framed = root->n_in == 2 ||
                  (root->n_in == 3 && root == r->node && r->fill->constant && elements(r->fill) == 1);
    const int64_t *at = index->constant->i;
    int64_t n = elements(index) / elements(y), limit = elements(root->in[0]), stride[MLC_MAX_RANK],
            flat[MLC_MAX_RANK];
    box b;
    if (!framed || !is_source(l, x) || !same_intervals(root->in[0], limit) || !reaches(l, r, elements(y)) ||
        !find_box(at, n, limit, &y->shape, &b) || !affine(at, n, limit, &y->shape, &b, stride))
        return false;
    mlc_shape_strides(&y->shape, flat);
    r->nest.src = x;
    int inner = y->shape.rank - 1;
    for (; inner > 0 && b.count[inner] == 1; inner--)
        ;
    for (int d = 0; d < y->shape.rank; d++) {
        r->start += b.first[d] * flat[d];
        int64_t unit = 1;
        if (d == inner) {
            unit = r->unit = unit_of(b.count[d], mlc_lower_cost(l, r->node));
            r->step = flat[d];
        }
        if (!mlc_nest_add(&r->nest, b.count[d] / unit, stride[d] * unit * width(l, x),
                          flat[d] * unit * width(l, r->node->out[0])))
            return false;
    }
    return true;
}

static bool plan(const mlc_lower *l, const mlc_node *node, roll *r) {
    const mlc_node *root = mlc_lower_root(l, node);
    *r = (roll){.node = node, .root = root, .nest = {.dst = node->out[0]}};
    if (root->op == mlc_iop("Conv"))
        return mlc_is_rolled(root) && plan_conv(l, r);
    if (elements(node->out[0]) < LEAST_ELEMENTS)
        return false;
    char level = l->cg->options->opt_level;
    mlc_unroll unroll = l->cg->options->unroll;
    int64_t least = unroll == MLC_UNROLL_NONE ? 0 : level == 's' ? LEAST_SMALL : LEAST_FAST;
    if (unroll == MLC_UNROLL_FULL || level == '0' || mlc_lower_cost(l, node) * elements(node->out[0]) < least)
        return false;
    bool reduce = strncmp(root->op->name, "Reduce", strlen("Reduce")) == 0;
    if (reduce || root->op == mlc_iop("Gather"))
        return plan_indexed(l, r);
    return !root->op->block && plan_elementwise(l, r);
}

/* --- emission --- */

typedef struct part {
    const roll *roll;
    int64_t cost;  /* of one element */
    int64_t *next; /* the first element of the unit that is not emitted yet */
} part;

/* Ends between elements that nothing was computed together with. */
static void emit_part(mlc_lower *l, const void *user) {
    const part *p = user;
    const mlc_node *root = p->roll->root;
    for (int64_t used = 0; *p->next < p->roll->unit && (used < BODY_BUDGET || l->memo); used += p->cost) {
        int64_t k = (*p->next)++;
        int64_t at = root->op->order ? root->op->order(root, k) : p->roll->start + k * p->roll->step;
        mlc_lower_store_element(l, p->roll->node, at);
    }
}

/* Eight bytes of the value at a multiple of 8 behind its first byte. */
static void store_fill(mlc_lower *l, const roll *r, LLVMValueRef base, int64_t word) {
    const mlc_place *place = &l->cg->layout.place[r->node->out[0]->id];
    uint64_t bytes = (uint64_t)r->fill->constant->i[0];
    for (int bits = place->storage.width * 8; bits < 64; bits *= 2)
        bytes = (bytes & (((uint64_t)1 << bits) - 1)) * (((uint64_t)1 << bits) + 1);
    LLVMValueRef offset = mlc_l_const(l, place->offset + word * 8);
    LLVMValueRef at = LLVMBuildGEP2(l->builder, l->i8, base, &offset, 1, "");
    LLVMSetVolatile(LLVMBuildStore(l->builder, mlc_l_const(l, (int64_t)bytes), at), true);
}

static void emit_fill_part(mlc_lower *l, const void *user) {
    for (int64_t k = 0; k < UNIT; k++)
        store_fill(l, user, mlc_loop_target(l), k);
}

/* The whole value: values are whole words, and the rest is stored over it. */
static void emit_fill(mlc_lower *l, const roll *r) {
    const mlc_value *y = r->node->out[0];
    int64_t words = (elements(y) * width(l, y) + 7) / 8, loops = words / UNIT;
    mlc_nest nest = {.src = r->nest.src, .dst = y};
    if (loops && mlc_nest_add(&nest, loops, 0, UNIT * 8))
        mlc_nest_emit(l, &nest, r->node->line, 2 * UNIT, emit_fill_part, r);
    for (int64_t k = loops * UNIT; k < words; k++)
        store_fill(l, r, mlc_lower_base(l, l->cg->layout.place[y->id].area), k);
}

int64_t mlc_lower_rolled_cost(const mlc_lower *l, const mlc_node *node) {
    roll r;
    return plan(l, node, &r) ? (r.unit + r.tail) * mlc_lower_cost(l, node) : -1;
}

bool mlc_lower_rolled(mlc_lower *l, const mlc_node *node) {
    roll r;
    if (l->memo || !plan(l, node, &r))
        return false;
    if (r.fill)
        emit_fill(l, &r);
    int64_t cost = mlc_lower_cost(l, node);
    for (int64_t next = 0; next < r.unit;) {
        part p = {.roll = &r, .cost = cost, .next = &next};
        int64_t whole = (r.unit - next) * cost;
        mlc_nest_emit(l, &r.nest, node->line, whole < BODY_BUDGET ? whole : BODY_BUDGET, emit_part, &p);
    }
    for (int64_t n = elements(node->out[0]), i = n - r.tail; i < n; i++)
        mlc_lower_store_element(l, node, i);
    return true;
}
