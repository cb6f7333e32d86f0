/*
 * Which values live in memory, and where.
 *
 * A value that is read once per element, in order, is computed where it is used
 * and never stored; so is one that is read more often, but only to compute the same
 * element of one stored value. The others get a slot of the scratch area, reused
 * once their last reader has run.
 */
#include "Dense.h"
#include "Ops/IntClamp.h"
#include "Room.h"

#include <assert.h>

/* Depth of in-place computation: bounds the recursion of mlc_l_input and the
 * registers that one element needs. */
enum { MAX_DEPTH = 24 };

static int64_t round_up8(int64_t n) {
    return (n + 7) & ~(int64_t)7;
}

mlc_storage mlc_storage_of(const mlc_value *v, bool prefer_wide_signed) {
    int64_t lo = 0, hi = 0, n = mlc_shape_elements(&v->shape);
    for (int64_t i = 0; i < n; i++) {
        if (v->lo[i] < lo)
            lo = v->lo[i];
        if (v->hi[i] > hi)
            hi = v->hi[i];
    }
    if (lo >= 0)
        return (mlc_storage){.width = hi <= UINT8_MAX    ? 1
                                      : hi <= UINT16_MAX ? 2
                                      : hi <= UINT32_MAX ? 4
                                                         : 8,
                             .is_signed = hi > UINT32_MAX};
    /* Sign extension costs two instructions a load before -mcpu=v4. */
    if (prefer_wide_signed)
        return (mlc_storage){.width = 8, .is_signed = true};
    bool b1 = lo >= INT8_MIN && hi <= INT8_MAX, b2 = lo >= INT16_MIN && hi <= INT16_MAX,
         b4 = lo >= INT32_MIN && hi <= INT32_MAX;
    return (mlc_storage){.width = b1 ? 1 : b2 ? 2 : b4 ? 4 : 8, .is_signed = true};
}

const char *mlc_storage_name(mlc_storage s) {
    switch (s.width) {
    case 1:
        return s.is_signed ? "i8" : "u8";
    case 2:
        return s.is_signed ? "i16" : "u16";
    case 4:
        return s.is_signed ? "i32" : "u32";
    default:
        return "i64";
    }
}

bool mlc_is_rolled(const mlc_node *node) {
    return (node->op == mlc_iop("Conv") || node->op == mlc_iop("Linear")) && mlc_attr_int(node, "roll", 0);
}

typedef struct planner {
    mlc_graph *g;
    mlc_arena *arena;
    mlc_layout *layout;
    char opt_level;
    bool *stored;
    int *last_use; /* by value id: position of the last node that reads it, in-place readers resolved */
} planner;

static bool is_gather(const mlc_node *node) {
    return node->op == mlc_iop("Gather");
}

/* A reader that asks for the elements of `v` one after the other, once each. */
static bool reads_in_order(const mlc_node *reader, const mlc_value *v) {
    return !reader->op->block && !is_gather(reader) &&
           mlc_shape_elements(&reader->out[0]->shape) == mlc_shape_elements(&v->shape);
}

enum { NOBODY = -1, SEVERAL = -2 };

static int *new_ids(planner *p) {
    int *id = MLC_NEW_ARRAY(p->arena, p->g->n_values + 1, int);
    for (int i = 0; i < p->g->n_values; i++)
        id[i] = NOBODY;
    return id;
}

/* By value: the first block that computing it in place would compute in place. */
static const int *find_blocks(planner *p) {
    int *block = new_ids(p);
    MLC_FOR_NODES (p->g, node) {
        int *own = &block[node->out[0]->id];
        *own = node->op->block ? node->out[0]->id : NOBODY;
        for (int k = 0; k < node->n_in && !is_gather(node) && *own == NOBODY; k++)
            *own = block[node->in[k]->id];
    }
    return block;
}

/* `sink` is the one stored value for whose element i element i of a value is read;
 * SEVERAL: there are more, or other elements. */
static void add_sink(int *sink, int reader) {
    *sink = *sink == NOBODY || *sink == reader ? reader : SEVERAL;
}

static void choose_stored(planner *p) {
    mlc_graph *g = p->g;
    int *sink = new_ids(p);
    const int *block = find_blocks(p);
    int64_t *reads = MLC_NEW_ARRAY(p->arena, g->n_values + 1, int64_t);
    bool *in_order = MLC_NEW_ARRAY(p->arena, g->n_values + 1, bool);
    int *depth = MLC_NEW_ARRAY(p->arena, g->n_values + 1, int);
    for (int i = 0; i < g->n_values; i++)
        in_order[i] = true;
    for (int k = 0; k < g->n_outputs; k++)
        p->stored[g->outputs[k]->id] = true;

    for (mlc_node *node = g->last; node; node = node->prev) {
        mlc_value *v = node->out[0];
        if (reads[v->id] > 1 && sink[v->id] >= 0 && !p->stored[v->id] && p->opt_level != '0') {
            p->layout->place[v->id].shared = true;
            reads[v->id] = 1;
        }
        /* Elements of a block fetched out of order would wait in registers for
         * their turn: store the last value before, which is also the narrowest. */
        if (!is_gather(node) &&
            (p->opt_level == '0' || reads[v->id] > 1 || (block[v->id] != NOBODY && !in_order[v->id])))
            p->stored[v->id] = true;
        if (depth[v->id] >= MAX_DEPTH)
            p->stored[v->id] = true;
        if (p->stored[v->id])
            p->layout->place[v->id].shared = false;
        if (mlc_is_rolled(node) && node->in[0]->producer)
            p->stored[node->in[0]->id] = true;
        int followed = NOBODY;
        for (int k = 0; k < node->n_in; k++) {
            mlc_value *x = node->in[k];
            int64_t r = node->op->reads ? node->op->reads(node, k) : 1;
            if (!p->stored[v->id] && r < INT32_MAX && reads[v->id] < INT32_MAX)
                r *= reads[v->id];
            reads[x->id] += r;
            add_sink(&sink[x->id], r != 1 || !reads_in_order(node, x) ? SEVERAL
                                   : p->stored[v->id]                 ? v->id
                                                                      : sink[v->id]);
            /* Blocks have orders of their own: only one can be followed. */
            if (followed == NOBODY)
                followed = block[x->id];
            if (!reads_in_order(node, x) || (!p->stored[v->id] && !in_order[v->id]) ||
                block[x->id] != followed)
                in_order[x->id] = false;
            int d = p->stored[v->id] ? 1 : depth[v->id] + 1;
            if (d > depth[x->id])
                depth[x->id] = d;
        }
    }
}

/* The position at which each stored value is read for the last time. */
static void find_last_uses(planner *p) {
    mlc_graph *g = p->g;
    int position = g->n_nodes;
    for (mlc_node *node = g->last; node; node = node->prev, position--) {
        mlc_value *v = node->out[0];
        int at = p->stored[v->id] ? position : p->last_use[v->id];
        for (int k = 0; k < node->n_in; k++)
            if (at > p->last_use[node->in[k]->id])
                p->last_use[node->in[k]->id] = at;
    }
}

/* Outputs of a dense layer that leave their lanes in one word take more memory than they need. */
static mlc_storage storage_of(const planner *p, const mlc_node *node, bool wide) {
    mlc_storage s = mlc_storage_of(node->out[0], wide);
    const mlc_value *x = node->n_in ? node->in[0] : NULL;
    if (!wide || node->op != mlc_iop("Requantize") || s.is_signed || !x->producer || p->stored[x->id])
        return s;
    int width = !mlc_is_rolled(x->producer)           ? mlc_int_clamp_width(node)
                : mlc_dense_clamps(node, x->producer) ? 8 / MLC_INT_CLAMPED
                                                      : 0;
    if (width > s.width)
        s.width = (uint8_t)width;
    return s;
}

/* Values in the first room that has place for them. Returns a node whose value has
 * none; NULL: they all fit. */
static const mlc_node *place_stored(planner *p, bool wide, mlc_room *rooms, int n) {
    mlc_graph *g = p->g;
    int position = 0;
    MLC_FOR_NODES (g, node) {
        position++;
        mlc_value *v = node->out[0];
        mlc_place *place = &p->layout->place[v->id];
        if (!p->stored[v->id] || place->area == MLC_AREA_OUT)
            continue;
        place->storage = storage_of(p, node, wide);
        int64_t size = round_up8(mlc_shape_elements(&v->shape) * place->storage.width);
        int k = 0;
        while (k < n &&
               (place->offset = mlc_room_take(p->arena, &rooms[k], position, p->last_use[v->id], size)) < 0)
            k++;
        if (k == n)
            return node;
        place->area = (mlc_area)(MLC_AREA_SCRATCH + k);
    }
    return NULL;
}

static int64_t place_tensors(mlc_value **values, int n, mlc_layout *layout, mlc_area area) {
    int64_t at = 0;
    for (int k = 0; k < n; k++) {
        mlc_place *place = &layout->place[values[k]->id];
        if (place->area == area)
            continue; /* the same value under two names */
        *place = (mlc_place){.area = area, .offset = at, .storage = mlc_storage_of(values[k], false)};
        at += round_up8(mlc_shape_elements(&values[k]->shape) * place->storage.width);
    }
    return at;
}

static void place_features(mlc_graph *g, const mlc_feature_binding *binding, mlc_layout *layout) {
    int64_t first = 0;
    for (int k = 0; k < g->n_inputs; k++) {
        mlc_value *v = g->inputs[k];
        layout->place[v->id] = (mlc_place){.area = MLC_AREA_IN, .features = binding->features + first};
        first += mlc_shape_elements(&v->shape);
    }
    assert(first == binding->n);
    layout->features_offset = 0;
    layout->packet_offset = round_up8(MLC_FEATURES_BYTES);
    layout->payload_offset = layout->packet_offset + round_up8(binding->pkt_end - binding->pkt_begin);
    layout->in_size = layout->payload_offset + round_up8(binding->payload_len);
}

static bool has_rolled_linear(const mlc_graph *g) {
    MLC_FOR_NODES (g, node)
        if (node->op == mlc_iop("Linear") && mlc_is_rolled(node))
            return true;
    return false;
}

/* A per-CPU array's element may not be larger (PCPU_MIN_UNIT_SIZE). */
enum { MAX_PERCPU_VALUE = 32768 };

/* In one entry where that is enough, and then in wide storage where half of it is. */
static bool place_in_frame(planner *p, int64_t first) {
    mlc_layout *layout = p->layout;
    mlc_room rooms[MLC_MAX_ENTRIES] = {{.size = first < MAX_PERCPU_VALUE / 2 ? first : MAX_PERCPU_VALUE / 2}};
    if (place_stored(p, true, rooms, 1)) {
        for (int k = 0; k < MLC_MAX_ENTRIES; k++)
            rooms[k] = (mlc_room){.size = k ? MAX_PERCPU_VALUE : first};
        const mlc_node *node = place_stored(p, false, rooms, MLC_MAX_ENTRIES);
        if (node) {
            mlc_value *v = node->out[0];
            mlc_error_at(
                p->g->diag, node,
                "intermediate value '%s' has no place: it needs %lld bytes, and the kernel's per-CPU "
                "maps hold %d an entry",
                v->name, (long long)(mlc_shape_elements(&v->shape) * layout->place[v->id].storage.width),
                MAX_PERCPU_VALUE);
            return mlc_note(p->g->diag, "use a lower --precision or a smaller model");
        }
    }
    for (layout->n_entries = 1; layout->n_entries < MLC_MAX_ENTRIES && rooms[layout->n_entries].top > 0;)
        layout->n_entries++;
    for (int k = 0; k < layout->n_entries; k++)
        layout->entry_size[k] = rooms[k].top;
    return true;
}

bool mlc_layout_plan(mlc_graph *g, const mlc_feature_binding *binding, const mlc_options *options,
                     mlc_layout *layout) {
    planner p = {.g = g, .arena = g->arena, .layout = layout, .opt_level = options->opt_level};
    layout->place = MLC_NEW_ARRAY(p.arena, g->n_values + 1, mlc_place);
    p.stored = MLC_NEW_ARRAY(p.arena, g->n_values + 1, bool);
    p.last_use = MLC_NEW_ARRAY(p.arena, g->n_values + 1, int);

    if (binding)
        place_features(g, binding, layout);
    else
        layout->in_size = place_tensors(g->inputs, g->n_inputs, layout, MLC_AREA_IN);
    layout->out_size = place_tensors(g->outputs, g->n_outputs, layout, MLC_AREA_OUT);
    choose_stored(&p);
    find_last_uses(&p);

    layout->out_offset = binding ? layout->in_size : 0;
    layout->scratch_offset = binding ? layout->out_offset + layout->out_size : 0;
    int64_t sums = has_rolled_linear(g) ? MLC_SUMS_BYTES : 0,
            loops = mlc_has_may_goto(options) && options->unroll != MLC_UNROLL_FULL ? 8 * MLC_LOOP_SLOTS : 0,
            first = MAX_PERCPU_VALUE - layout->scratch_offset - sums - loops;
    if (first < 0)
        return mlc_error(g->diag,
                         "inputs and outputs need %lld bytes; the kernel's per-CPU maps hold %d an entry",
                         (long long)(layout->scratch_offset + sums + loops), MAX_PERCPU_VALUE);
    if (!place_in_frame(&p, first))
        return false;
    layout->sums_offset = layout->entry_size[0];
    layout->loops_offset = layout->sums_offset + sums;
    layout->entry_size[0] += sums + loops;
    layout->frame_size = layout->scratch_offset + layout->entry_size[0];
    for (int k = 0; k < layout->n_entries; k++) {
        layout->scratch_size += layout->entry_size[k];
        if (layout->entry_size[k] > layout->frame_size)
            layout->frame_size = layout->entry_size[k];
    }
    if (layout->frame_size == 0)
        layout->frame_size = 8;
    return true;
}

static int64_t most(int64_t a, int64_t b) {
    return a > b ? a : b;
}

int64_t mlc_frame_value_size(const mlc_layout *layout) {
    int64_t size = layout->frame_size;
    for (int k = 0; k < layout->n_entries; k++)
        size = most(size, (k ? 0 : layout->scratch_offset) + layout->reach[MLC_AREA_SCRATCH + k]);
    if (layout->scratch_offset)
        size = most(size, most(layout->reach[MLC_AREA_IN], layout->out_offset + layout->reach[MLC_AREA_OUT]));
    return size < MAX_PERCPU_VALUE ? round_up8(size) : MAX_PERCPU_VALUE;
}

int64_t mlc_tensors_value_size(const mlc_layout *layout, mlc_area area) {
    return round_up8(most(mlc_area_size(layout, area), layout->reach[area]));
}

int64_t mlc_area_size(const mlc_layout *layout, mlc_area area) {
    return area == MLC_AREA_IN    ? layout->in_size
           : area == MLC_AREA_OUT ? layout->out_size
                                  : layout->entry_size[area - MLC_AREA_SCRATCH];
}
