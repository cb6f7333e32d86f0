#include "Nest.h"

#include "Aside.h"
#include "Loop.h"

/* Estimated instructions of one call: enough to make little of its own cost, few
 * enough to be verified turn by turn. */
enum { CALL_BUDGET = 6000 };

bool mlc_nest_add(mlc_nest *nest, int64_t count, int64_t src, int64_t dst) {
    if (count == 1)
        return true;
    if (nest->n == MLC_NEST_LEVELS)
        return false;
    nest->level[nest->n++] = (mlc_nest_level){.count = count, .src = src, .dst = dst};
    return true;
}

/* Levels around the calls and inside the function. */
typedef struct split {
    mlc_nest outer, inner;
} split;

/* The divisor of n in [least, most] that comes first, or 0. */
static int64_t divisor(int64_t n, int64_t least, int64_t most) {
    for (int64_t d = least; d <= most; d++)
        if (n % d == 0)
            return d;
    return 0;
}

/* Whole inner levels, and then part of one where its positions can be divided; all where rounds are free. */
static split split_nest(const mlc_lower *l, const mlc_nest *nest, int64_t cost) {
    split s = {.outer = *nest, .inner = *nest};
    int64_t wanted = cost < CALL_BUDGET ? CALL_BUDGET / cost : 1, inside = 1;
    int n = mlc_loop_is_free(l) ? 0 : nest->n;
    for (; n > 0 && inside < wanted && inside * nest->level[n - 1].count <= 2 * wanted; n--)
        inside *= nest->level[n - 1].count;
    s.outer.n = n;
    s.inner.n = 0;
    if (n > 0 && inside < wanted) {
        mlc_nest_level *level = &s.outer.level[n - 1];
        int64_t least = (wanted + inside - 1) / inside, part = divisor(level->count, least, 2 * least);
        if (part) {
            mlc_nest_add(&s.inner, part, level->src, level->dst);
            *level = (mlc_nest_level){
                .count = level->count / part, .src = level->src * part, .dst = level->dst * part};
        }
    }
    for (int d = n; d < nest->n; d++)
        mlc_nest_add(&s.inner, nest->level[d].count, nest->level[d].src, nest->level[d].dst);
    return s;
}

/* What is at the core of loops. `at` are two offsets without a base or two places. */
typedef struct core {
    void (*emit)(mlc_lower *l, const struct core *c, const mlc_cursor at[2]);
    const mlc_aside *aside;                       /* of calls */
    void (*body)(mlc_lower *l, const void *user); /* of bodies */
    const void *user;
} core;

/* Bytes of an area that a loop may reach without being there. */
enum { LOOSE = 1024 };

static mlc_loop loop_of(const mlc_nest_level *level) {
    int64_t step = level->src > level->dst ? level->src : level->dst;
    return (mlc_loop){.count = level->count, .loose = level->count * step <= LOOSE};
}

/* Rounds that it reaches besides. */
static int64_t behind(const mlc_lower *l, const mlc_nest_level *level) {
    mlc_loop loop = loop_of(level);
    return mlc_loop_reach(l, &loop) - level->count;
}

/* for (i = 0; i < count; i++) around what levels remain; ends in the block behind the loop.
 * Offsets without a base are numbers, which count up with the rounds. */
static void emit_loops(mlc_lower *l, const mlc_nest *nest, int n, const mlc_cursor start[2], const core *c) {
    if (n == nest->n) {
        c->emit(l, c, start);
        return;
    }
    const mlc_nest_level *level = &nest->level[n];
    const int64_t step[2] = {level->src, level->dst};
    bool points = start[0].base;
    mlc_loop loop = loop_of(level);
    loop.counted = !points;
    mlc_cursor at[2];
    for (int k = 0; k < 2; k++)
        points ? mlc_loop_carry_pointer(&loop, start[k], step[k]) : mlc_loop_carry(&loop, start[k].offset);
    mlc_loop_begin(l, &loop);
    for (int k = 0; k < 2; k++)
        at[k] = points ? mlc_loop_pointer(&loop, k) : (mlc_cursor){.offset = loop.carried[k]};
    emit_loops(l, nest, n + 1, at, c);
    for (int k = 0; k < 2 && !points; k++)
        loop.next[k] = mlc_l_add(l, loop.carried[k], mlc_l_const(l, step[k]));
    mlc_loop_end(l, &loop);
}

static void emit_call(mlc_lower *l, const core *c, const mlc_cursor at[2]) {
    mlc_aside_call(l, c->aside, (LLVMValueRef[2]){at[0].offset, at[1].offset});
}

static void emit_body(mlc_lower *l, const core *c, const mlc_cursor at[2]) {
    l->roll_src_base = mlc_cursor_at(l, &at[0]);
    l->roll_dst_at = &at[1];
    l->roll_dst_base = NULL;
    c->body(l, c->user);
}

/* The offset of the last call, for the parameter's check. */
static int64_t reach(const mlc_nest *outer, int k) {
    int64_t most = 0;
    for (int d = 0; d < outer->n; d++)
        most += (outer->level[d].count - 1) * (k ? outer->level[d].dst : outer->level[d].src);
    return most;
}

/* Bytes of the value's area that pointers to its positions may reach. */
static int64_t pointed(const mlc_lower *l, const mlc_nest *inner, const mlc_value *v, int k) {
    const mlc_place *place = &l->cg->layout.place[v->id];
    int64_t end = place->offset + mlc_shape_elements(&v->shape) * place->storage.width;
    for (int d = 0; d < inner->n; d++)
        end += behind(l, &inner->level[d]) * (k ? inner->level[d].dst : inner->level[d].src);
    return end;
}

static mlc_aside emit_function(mlc_lower *l, const split *s, int line, const core *body) {
    static const char *const names[2] = {"src_offset", "dst_offset"};
    const int64_t most[2] = {reach(&s->outer, 0), reach(&s->outer, 1)};
    const mlc_value *values[2] = {s->inner.src, s->inner.dst};
    LLVMValueRef from[2];
    mlc_cursor at[2];
    mlc_aside aside = mlc_aside_begin(l, line, names, most, from);
    l->roll_src = values[0];
    l->roll_dst = values[1];
    for (int k = 0; k < 2; k++) {
        mlc_area area = l->cg->layout.place[values[k]->id].area;
        at[k] = (mlc_cursor){.base = mlc_lower_base(l, area), .offset = s->outer.n ? from[k] : NULL};
        mlc_lower_reach(l, area, pointed(l, &s->inner, values[k], k));
    }
    emit_loops(l, &s->inner, 0, at, body);
    mlc_aside_end(l, &aside);
    return aside;
}

void mlc_nest_emit(mlc_lower *l, const mlc_nest *nest, int line, int64_t cost,
                   void (*body)(mlc_lower *l, const void *user), const void *user) {
    split s = split_nest(l, nest, cost);
    core inside = {.emit = emit_body, .body = body, .user = user}, outside = {.emit = emit_call};
    mlc_aside aside = emit_function(l, &s, line, &inside);
    outside.aside = &aside;
    mlc_debug_line(l->debug, l->builder, l->scope, line);
    mlc_cursor zero = {.offset = mlc_l_const(l, 0)};
    emit_loops(l, &s.outer, 0, (mlc_cursor[]){zero, zero}, &outside);
}
