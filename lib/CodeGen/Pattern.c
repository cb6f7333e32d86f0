#include "Pattern.h"

#include "Passes/Passes.h"

#include <string.h>

/* A value of the copy. */
struct mlc_pattern_value {
    mlc_value *copy;
    const mlc_value *original; /* NULL: a column */
    int column;
    int stream;     /* of a stored value with an element for each; else -1 */
    LLVMValueRef x; /* of the element being emitted; NULL: not yet there */
    mlc_pattern_value *next;
};

/* The id of no value of the graph: its place is nowhere. */
static int no_id(const mlc_lower *l) {
    return l->cg->graph->n_values;
}

static int64_t elements(const mlc_value *v) {
    return mlc_shape_elements(&v->shape);
}

static mlc_value *scalar(mlc_lower *l) {
    mlc_value *v = MLC_NEW(l->arena, mlc_value);
    *v = (mlc_value){.name = "", .dtype = MLC_INT64, .shaped = true, .scale = 1, .id = no_id(l)};
    v->lo = MLC_NEW(l->arena, int64_t);
    v->hi = MLC_NEW(l->arena, int64_t);
    return v;
}

static mlc_value *hull(mlc_lower *l, const int64_t *lo, const int64_t *hi, int64_t n) {
    mlc_value *v = scalar(l);
    *v->lo = lo[0];
    *v->hi = hi[0];
    for (int64_t i = 1; i < n; i++) {
        if (lo[i] < *v->lo)
            *v->lo = lo[i];
        if (hi[i] > *v->hi)
            *v->hi = hi[i];
    }
    return v;
}

static mlc_value *add(mlc_lower *l, mlc_pattern *p, const mlc_value *original, int column, mlc_value *copy) {
    mlc_pattern_value *v = MLC_NEW(l->arena, mlc_pattern_value);
    *v = (mlc_pattern_value){
        .copy = copy, .original = original, .column = column, .stream = -1, .next = p->values};
    p->values = v;
    return copy;
}

int mlc_pattern_add_column(mlc_lower *l, mlc_pattern *p, const int64_t *data) {
    if (p->n_columns == p->cap_columns) {
        int cap = 2 * p->cap_columns + 4;
        const int64_t **more = MLC_NEW_ARRAY(l->arena, cap, const int64_t *);
        for (int i = 0; i < p->n_columns; i++)
            more[i] = p->column[i];
        p->column = more;
        p->cap_columns = cap;
    }
    p->column[p->n_columns] = data;
    return p->n_columns++;
}

/* A constant operand of a node with outputs of shape `to`, as each of its elements sees it. */
static mlc_value *constant(mlc_lower *l, mlc_pattern *p, const mlc_value *v, const mlc_shape *to) {
    int64_t *data = MLC_NEW_ARRAY(l->arena, p->elements, int64_t), n = p->elements;
    bool same = true;
    for (int64_t i = 0; i < n; i++) {
        data[i] = v->constant->i[mlc_shape_broadcast_index(&v->shape, to, i)];
        same = same && data[i] == data[0];
    }
    mlc_value *copy = hull(l, data, data, n);
    if (!same)
        return add(l, p, NULL, mlc_pattern_add_column(l, p, data), copy);
    copy->constant = mlc_tensor_scalar_i(l->arena, data[0]);
    return copy;
}

static mlc_value *copy_of(mlc_lower *l, mlc_pattern *p, const mlc_value *v, const mlc_shape *to);

static mlc_value *copy_of_node(mlc_lower *l, mlc_pattern *p, const mlc_node *node) {
    if (node->op == mlc_iop("Gather"))
        return mlc_is_reshape(node) ? copy_of(l, p, node->in[0], &node->out[0]->shape) : NULL;
    if (!node->op->elementwise || elements(node->out[0]) != p->elements)
        return NULL;
    mlc_node *copy = MLC_NEW(l->arena, mlc_node);
    *copy = *node;
    copy->in = MLC_NEW_ARRAY(l->arena, node->n_in + 1, mlc_value *);
    copy->out = MLC_NEW(l->arena, mlc_value *);
    for (int k = 0; k < node->n_in; k++) {
        bool whole = k >= node->op->elementwise;
        copy->in[k] = whole ? node->in[k] : copy_of(l, p, node->in[k], &node->out[0]->shape);
        if (!copy->in[k])
            return NULL;
    }
    copy->out[0] = scalar(l);
    copy->out[0]->producer = copy;
    return mlc_interval_provable(l->cg->graph, copy) ? add(l, p, node->out[0], 0, copy->out[0]) : NULL;
}

static int add_stream(mlc_pattern *p, const mlc_value *v) {
    p->stream[p->n_streams] = (mlc_pattern_stream){.value = v};
    return p->n_streams++;
}

/* Of operand v of a node with outputs of shape `to`. */
static mlc_value *copy_of(mlc_lower *l, mlc_pattern *p, const mlc_value *v, const mlc_shape *to) {
    if (v->constant)
        return constant(l, p, v, to);
    for (const mlc_pattern_value *known = p->values; known; known = known->next)
        if (known->original == v)
            return known->copy;
    if (p->bottom && v == p->bottom->out[0])
        return add(l, p, v, 0, hull(l, v->lo, v->hi, p->elements));
    const mlc_place *place = &l->cg->layout.place[v->id];
    if (place->area == MLC_AREA_NONE)
        return copy_of_node(l, p, v->producer);
    int64_t n = elements(v);
    bool each = n == p->elements;
    if (place->features || (n != 1 && !each) || (each && p->n_streams == MLC_PATTERN_STREAMS))
        return NULL;
    mlc_value *copy = add(l, p, v, 0, hull(l, v->lo, v->hi, n));
    if (each)
        p->values->stream = add_stream(p, v);
    return copy;
}

mlc_pattern *mlc_pattern_make(mlc_lower *l, const mlc_node *node, const mlc_node *bottom) {
    mlc_pattern *p = MLC_NEW(l->arena, mlc_pattern);
    *p = (mlc_pattern){.node = node, .elements = elements(node->out[0]), .bottom = bottom};
    add_stream(p, node->out[0]);
    add_stream(p, NULL);
    if (p->elements == 0)
        return NULL;
    p->result = node == bottom ? copy_of(l, p, node->out[0], &node->out[0]->shape) : copy_of_node(l, p, node);
    return p->result ? p : NULL;
}

bool mlc_pattern_looks_up(const mlc_pattern *p) {
    for (const mlc_pattern_value *v = p->values; v; v = v->next) {
        const mlc_node *node = v->copy->producer;
        for (int k = node ? node->op->elementwise : 0; node && k < node->n_in; k++)
            if (node->in[k]->constant)
                return true;
    }
    return false;
}

/* --- emission --- */

static void emit_table(mlc_lower *l, mlc_pattern *p, int64_t behind) {
    int64_t *data = MLC_NEW_ARRAY(l->arena, p->elements * p->n_columns, int64_t);
    for (int64_t i = 0; i < p->elements; i++)
        for (int c = 0; c < p->n_columns; c++)
            data[i * p->n_columns + c] = p->column[c][i];
    p->table = mlc_lower_words(l, data, p->elements * p->n_columns, behind * p->n_columns);
}

static const mlc_place *place_of(const mlc_lower *l, const mlc_value *v) {
    return &l->cg->layout.place[v->id];
}

/* Bytes of one element. */
static int64_t stride(const mlc_lower *l, const mlc_pattern *p, const mlc_pattern_stream *s) {
    return s->value ? place_of(l, s->value)->storage.width : 8 * p->n_columns;
}

void mlc_pattern_begin(mlc_lower *l, mlc_pattern *p, LLVMValueRef element, int64_t behind) {
    if (p->n_columns && !p->table)
        emit_table(l, p, behind);
    for (int k = 0; k < p->n_streams; k++) {
        mlc_pattern_stream *s = &p->stream[k];
        LLVMValueRef base = p->table;
        if (s->value) {
            const mlc_place *place = place_of(l, s->value);
            base = mlc_lower_base(l, place->area);
            mlc_lower_reach(l, place->area, place->offset + (p->elements + behind) * place->storage.width);
        }
        s->at =
            (mlc_cursor){.base = base, .offset = base ? mlc_l_mul_const(l, element, stride(l, p, s)) : NULL};
        s->pointer = NULL;
    }
}

int mlc_pattern_carry(const mlc_lower *l, const mlc_pattern *p, mlc_loop *loop, int64_t step) {
    int first = loop->n_pointers;
    for (int k = 0; k < p->n_streams; k++)
        if (p->stream[k].at.base)
            mlc_loop_carry_pointer(loop, p->stream[k].at, step * stride(l, p, &p->stream[k]));
    return first;
}

void mlc_pattern_enter(mlc_pattern *p, const mlc_loop *loop, int first) {
    for (int k = 0; k < p->n_streams; k++)
        if (p->stream[k].at.base) {
            p->stream[k].at = mlc_loop_pointer(loop, first++);
            p->stream[k].pointer = NULL;
        }
}

static LLVMValueRef pointer(mlc_lower *l, mlc_pattern *p, int k) {
    mlc_pattern_stream *s = &p->stream[k];
    if (!s->pointer)
        s->pointer = mlc_cursor_at(l, &s->at);
    return s->pointer;
}

LLVMValueRef mlc_pattern_column(mlc_lower *l, mlc_pattern *p, int column) {
    return mlc_lower_load(l, pointer(l, p, 1), 8 * (p->plus * p->n_columns + column),
                          (mlc_storage){.width = 8});
}

static LLVMValueRef load(mlc_lower *l, mlc_pattern *p, const mlc_pattern_value *v) {
    const mlc_place *place = place_of(l, v->original);
    if (v->stream < 0)
        return mlc_lower_load(l, mlc_lower_base(l, place->area), place->offset, place->storage);
    return mlc_lower_load(l, pointer(l, p, v->stream), place->offset + p->plus * place->storage.width,
                          place->storage);
}

static LLVMValueRef compute(mlc_lower *l, const mlc_node *copy) {
    LLVMMetadataRef before = LLVMGetCurrentDebugLocation2(l->builder);
    mlc_debug_line(l->debug, l->builder, l->scope, copy->line);
    LLVMValueRef x = copy->op->lower(l, copy, 0);
    LLVMSetCurrentDebugLocation2(l->builder, before);
    return x;
}

LLVMValueRef mlc_pattern_input(mlc_lower *l, const mlc_value *v) {
    mlc_pattern *p = l->pattern;
    mlc_pattern_value *of = p->values;
    while (of->copy != v)
        of = of->next;
    if (of->x)
        return of->x;
    if (p->bottom && of->original == p->bottom->out[0])
        of->x = p->x;
    else if (v->producer)
        of->x = compute(l, v->producer);
    else
        of->x = of->original ? load(l, p, of) : mlc_pattern_column(l, p, of->column);
    return of->x;
}

void mlc_pattern_store_word(mlc_lower *l, mlc_pattern *p, LLVMValueRef x) {
    const mlc_place *place = place_of(l, p->node->out[0]);
    mlc_debug_line(l->debug, l->builder, l->scope, p->node->line);
    mlc_lower_store(l, pointer(l, p, 0), place->offset + p->plus * place->storage.width,
                    (mlc_storage){.width = 8}, x);
}

void mlc_pattern_store(mlc_lower *l, mlc_pattern *p) {
    mlc_pattern *outer = l->pattern;
    l->pattern = p;
    for (mlc_pattern_value *v = p->values; v; v = v->next)
        v->x = NULL;
    LLVMValueRef x = mlc_l_input(l, p->result, 0);
    const mlc_place *place = place_of(l, p->node->out[0]);
    mlc_debug_line(l->debug, l->builder, l->scope, p->node->line);
    mlc_lower_store(l, pointer(l, p, 0), place->offset + p->plus * place->storage.width, place->storage, x);
    l->pattern = outer;
}
