/*
 * Emission of the model: walks the stored values in order and fills each element
 * by element. The code is cut into functions ("parts") of bounded size: LLVM's
 * scheduler is quadratic in the size of a block.
 */
#include "Loop.h"
#include "Ops/IntClamp.h"

#include <string.h>

/* Estimated BPF instructions of one part. */
enum { PART_BUDGET = 3000, MAX_PARTS = 250 };

/* Estimated instructions of such a loop. */
enum { PATTERN_COST = 500 };

/* The kernel's limit on a program is 1,000,000 instructions. */
enum { MAX_INSTRUCTIONS = 990000 };

struct mlc_memo {
    const mlc_value *value;
    int64_t index;
    LLVMValueRef x; /* NULL: in `lane` */
    mlc_lane lane;
    bool kept; /* shared: of use until the stored element is done */
    int count; /* elements in x, as they lie in memory; 0: x is an element */
    int done;  /* how many of them were due; all are stored with the first */
    mlc_memo *next;
};

LLVMTypeRef mlc_lower_int(mlc_lower *l, int width) {
    return width == 1 ? l->i8 : width == 2 ? l->i16 : width == 4 ? l->i32 : l->i64;
}

static mlc_memo *remember(mlc_lower *l, const mlc_node *node, int64_t i) {
    mlc_memo *m = MLC_NEW(l->arena, mlc_memo);
    *m = (mlc_memo){.value = node->out[0], .index = i, .next = l->memo};
    l->memo = m;
    return m;
}

void mlc_l_also(mlc_lower *l, const mlc_node *node, int64_t i, LLVMValueRef x) {
    remember(l, node, i)->x = x;
}

void mlc_l_also_lane(mlc_lower *l, const mlc_node *node, int64_t i, const mlc_lane *lane) {
    remember(l, node, i)->lane = *lane;
}

void mlc_l_also_word(mlc_lower *l, const mlc_node *node, int64_t i, int n, LLVMValueRef word) {
    mlc_memo *m = remember(l, node, i);
    m->x = word;
    m->count = n;
}

int mlc_l_stored_width(const mlc_lower *l, const mlc_value *v) {
    const mlc_place *place = &l->cg->layout.place[v->id];
    return l->pattern || place->area == MLC_AREA_NONE ? 0 : place->storage.width;
}

int mlc_l_word_elements(const mlc_lower *l, const mlc_value *v) {
    const mlc_place *place = &l->cg->layout.place[v->id];
    int width = mlc_l_stored_width(l, v);
    bool awaited = l->computed[v->id] != NULL, apart = place->features || v == l->roll_src;
    if (!width || width == 8 || place->storage.is_signed || awaited || apart ||
        l->cg->options->opt_level < '2')
        return 0;
    return 8 / width;
}

bool mlc_l_peek_lane(mlc_lower *l, const mlc_value *v, int64_t i, mlc_lane *lane) {
    for (const mlc_memo *m = l->memo; m; m = m->next)
        if (m->value == v && m->index == i && !m->x) {
            *lane = m->lane;
            return true;
        }
    return false;
}

/* An element from the memo, taken out of it unless it is shared. */
static const mlc_memo *recall(mlc_lower *l, const mlc_value *v, int64_t i) {
    for (mlc_memo **m = &l->memo; *m; m = &(*m)->next)
        if ((*m)->value == v && (*m)->index == i && !(*m)->count) {
            const mlc_memo *found = *m;
            if (!found->kept)
                *m = found->next;
            return found;
        }
    return NULL;
}

/* Shared values are read for one stored element, which is done. */
static void forget_shared(mlc_lower *l) {
    for (mlc_memo **m = &l->memo; *m;)
        if ((*m)->kept)
            *m = (*m)->next;
        else
            m = &(*m)->next;
}

static LLVMValueRef address(mlc_lower *l, LLVMValueRef base, int64_t offset) {
    LLVMValueRef at = mlc_l_const(l, offset);
    return LLVMBuildGEP2(l->builder, l->i8, base, &at, 1, "");
}

/*
 * Loads and stores are volatile: LLVM must neither keep hundreds of elements in
 * registers that BPF does not have, nor reorder loads ahead of their use; either
 * would spill beyond the 512 bytes of stack.
 */
LLVMValueRef mlc_lower_load(mlc_lower *l, LLVMValueRef base, int64_t offset, mlc_storage s) {
    LLVMTypeRef type = mlc_lower_int(l, s.width);
    LLVMValueRef x = LLVMBuildLoad2(l->builder, type, address(l, base, offset), "");
    LLVMSetVolatile(x, true);
    if (s.big_endian && s.width > 1) {
        const char *name = s.width == 2   ? "llvm.bswap.i16"
                           : s.width == 4 ? "llvm.bswap.i32"
                                          : "llvm.bswap.i64";
        unsigned id = LLVMLookupIntrinsicID(name, strlen(name));
        LLVMValueRef fn = LLVMGetIntrinsicDeclaration(l->module, id, &type, 1);
        x = LLVMBuildCall2(l->builder, LLVMIntrinsicGetType(l->context, id, &type, 1), fn, &x, 1, "");
    }
    if (s.width == 8)
        return x;
    return s.is_signed ? LLVMBuildSExt(l->builder, x, l->i64, "") : LLVMBuildZExt(l->builder, x, l->i64, "");
}

void mlc_lower_store(mlc_lower *l, LLVMValueRef base, int64_t offset, mlc_storage s, LLVMValueRef x) {
    if (s.width < 8)
        x = LLVMBuildTrunc(l->builder, x, mlc_lower_int(l, s.width), "");
    LLVMSetVolatile(LLVMBuildStore(l->builder, x, address(l, base, offset)), true);
}

/* n elements from i on, which x holds as they lie in memory. */
static void store(mlc_lower *l, const mlc_value *v, int64_t i, int n, LLVMValueRef x) {
    const mlc_place *place = &l->cg->layout.place[v->id];
    LLVMValueRef base = v == l->roll_dst ? mlc_loop_target(l) : mlc_lower_base(l, place->area);
    mlc_storage s = place->storage;
    int64_t offset = place->offset + i * s.width;
    s.width = (uint8_t)(n * s.width);
    mlc_lower_store(l, base, offset, s, x);
}

static int64_t feature_offset(const mlc_layout *layout, const mlc_feature *f) {
    switch (f->source) {
    case MLC_FEATURE_NAMED:
        return layout->features_offset + f->offset;
    case MLC_FEATURE_PACKET:
        return layout->packet_offset + f->offset;
    default:
        return layout->payload_offset + f->offset;
    }
}

/* Element i of what a node computes in place. An element that is left inside a
 * word is NULL, and in *lane. */
static LLVMValueRef compute(mlc_lower *l, const mlc_node *node, int64_t i, mlc_lane *lane) {
    const mlc_memo *m = recall(l, node->out[0], i);
    if (m && m->kept)
        return m->x;
    LLVMValueRef x = NULL;
    if (!m) {
        LLVMMetadataRef before = LLVMGetCurrentDebugLocation2(l->builder);
        mlc_debug_line(l->debug, l->builder, l->scope, node->line);
        x = node->op->lower(l, node, i);
        LLVMSetCurrentDebugLocation2(l->builder, before);
        if (!x)
            m = recall(l, node->out[0], i);
    }
    if (m) {
        x = m->x;
        *lane = m->lane;
    }
    if (l->cg->layout.place[node->out[0]->id].shared) {
        x = x ? x : mlc_l_lane(l, lane);
        mlc_memo *kept = remember(l, node, i);
        kept->x = x;
        kept->kept = true;
    }
    return x;
}

/* An element that is stored, and now in a register, too. */
static LLVMValueRef compute_awaited(mlc_lower *l, const mlc_value *v, int64_t i) {
    mlc_lane lane = {0};
    LLVMValueRef x = compute(l, v->producer, i, &lane);
    x = x ? x : mlc_l_lane(l, &lane);
    store(l, v, i, 1, x);
    l->computed[v->id][i] = true;
    return x;
}

LLVMValueRef mlc_l_input_lane(mlc_lower *l, const mlc_value *v, int64_t i, mlc_lane *lane) {
    if (v->constant)
        return mlc_l_const(l, v->constant->i[i]);
    if (l->pattern)
        return mlc_pattern_input(l, v);
    const mlc_place *place = &l->cg->layout.place[v->id];
    if (place->features) {
        const mlc_feature *f = &place->features[i];
        mlc_storage s = {.width = (uint8_t)f->width, .is_signed = f->is_signed, .big_endian = f->big_endian};
        return mlc_lower_load(l, l->base[MLC_AREA_IN], feature_offset(&l->cg->layout, f), s);
    }
    if (l->computed[v->id] && !l->computed[v->id][i])
        return compute_awaited(l, v, i);
    if (place->area != MLC_AREA_NONE) {
        LLVMValueRef base = v == l->roll_src ? l->roll_src_base : mlc_lower_base(l, place->area);
        return mlc_lower_load(l, base, place->offset + i * place->storage.width, place->storage);
    }
    return compute(l, v->producer, i, lane);
}

LLVMValueRef mlc_l_input_word(mlc_lower *l, const mlc_value *v, int64_t i) {
    const mlc_place *place = &l->cg->layout.place[v->id];
    return mlc_lower_load(l, mlc_lower_base(l, place->area), place->offset + i * place->storage.width,
                          (mlc_storage){.width = 8});
}

LLVMValueRef mlc_l_input(mlc_lower *l, const mlc_value *v, int64_t i) {
    mlc_lane lane;
    LLVMValueRef x = mlc_l_input_lane(l, v, i, &lane);
    return x ? x : mlc_l_lane(l, &lane);
}

/* --- functions --- */

static LLVMTypeRef model_type(mlc_lower *l) {
    LLVMTypeRef params[3] = {l->ptr, l->ptr, l->ptr};
    return LLVMFunctionType(LLVMVoidTypeInContext(l->context), params, 3, false);
}

void mlc_lower_attribute(mlc_lower *l, LLVMValueRef fn, const char *name) {
    unsigned kind = LLVMGetEnumAttributeKindForName(name, strlen(name));
    LLVMAddAttributeAtIndex(fn, (LLVMAttributeIndex)LLVMAttributeFunctionIndex,
                            LLVMCreateEnumAttribute(l->context, kind, 0));
}

static LLVMValueRef begin_function(mlc_lower *l, const char *name, LLVMLinkage linkage) {
    static const char *const params[] = {"in", "out", "scratch"};
    LLVMValueRef fn = LLVMAddFunction(l->module, name, model_type(l));
    LLVMSetLinkage(fn, linkage);
    mlc_lower_attribute(l, fn, "noinline");
    mlc_lower_attribute(l, fn, "nounwind");
    mlc_lower_enter(l, fn, mlc_debug_function(l->debug, fn, params, 3, 1), 1, false);
    for (unsigned k = 0; k < 3; k++)
        l->base[MLC_AREA_IN + k] = LLVMGetParam(fn, k);
    return fn;
}

/* Each node that is computed in place counts once. */
static int64_t cost_to(const mlc_lower *l, const mlc_node *node, bool *counted) {
    int64_t cost = node->op->cost ? node->op->cost(node) : 4;
    for (int k = 0; k < node->n_in; k++) {
        const mlc_value *x = node->in[k];
        if (!x->producer || l->cg->layout.place[x->id].area != MLC_AREA_NONE || counted[x->id])
            continue;
        counted[x->id] = true;
        cost += cost_to(l, x->producer, counted);
    }
    return cost;
}

int64_t mlc_lower_cost(const mlc_lower *l, const mlc_node *node) {
    mlc_arena_mark mark = mlc_arena_save(l->arena);
    int64_t cost = cost_to(l, node, MLC_NEW_ARRAY(l->arena, l->cg->graph->n_values, bool));
    mlc_arena_restore(l->arena, mark);
    return cost;
}

/* Whether element i is in a word; it is stored then. */
static bool store_word(mlc_lower *l, const mlc_value *v, int64_t i) {
    for (mlc_memo **m = &l->memo; *m; m = &(*m)->next) {
        mlc_memo *word = *m;
        if (word->value != v || i < word->index || i >= word->index + word->count)
            continue;
        if (word->done++ == 0)
            store(l, v, word->index, word->count, word->x);
        if (word->done == word->count)
            *m = word->next;
        return true;
    }
    return false;
}

void mlc_lower_store_element(mlc_lower *l, const mlc_node *node, int64_t i) {
    if (store_word(l, node->out[0], i))
        return;
    mlc_lane lane = {0};
    LLVMValueRef x = compute(l, node, i, &lane);
    mlc_debug_line(l->debug, l->builder, l->scope, node->line);
    if (!store_word(l, node->out[0], i))
        store(l, node->out[0], i, 1, x ? x : mlc_l_lane(l, &lane));
    forget_shared(l);
}

/* Parts are numbered functions; mlc_model calls them in order. */
static void begin_part(mlc_lower *l) {
    begin_function(l, mlc_arena_printf(l->arena, "mlc_part_%d", l->n_parts++), LLVMInternalLinkage);
}

/* The node whose order of computation counts: the one at the bottom of the chain
 * of element-wise nodes that are computed in place. */
const mlc_node *mlc_lower_root(const mlc_lower *l, const mlc_node *node) {
    for (int k = 0; k < node->n_in && !node->op->block; k++) {
        const mlc_value *x = node->in[k];
        if (x->producer && l->cg->layout.place[x->id].area == MLC_AREA_NONE &&
            mlc_shape_elements(&x->shape) == mlc_shape_elements(&node->out[0]->shape) &&
            node->op != mlc_iop("Gather"))
            return mlc_lower_root(l, x->producer);
    }
    return node;
}

/* As a loop over one element that stands for all. */
static bool emit_pattern(mlc_lower *l, const mlc_node *node, const mlc_node *root) {
    mlc_pattern *pattern = l->memo ? NULL : mlc_roll_pattern(l, node, root);
    if (!pattern)
        return false;
    mlc_debug_line(l->debug, l->builder, l->scope, root->line);
    if (root->op->block)
        mlc_lower_rolled_linear(l, pattern, root);
    else
        mlc_lower_rolled_elements(l, pattern);
    return true;
}

/* Whether v is computed from the model's inputs alone. */
static bool is_of_inputs(const mlc_lower *l, const mlc_value *v) {
    for (int k = 0; k < v->producer->n_in; k++) {
        const mlc_value *x = v->producer->in[k];
        mlc_area area = l->cg->layout.place[x->id].area;
        bool given = x->constant || area == MLC_AREA_IN;
        if (!given &&
            (area != MLC_AREA_NONE || !x->producer || x->producer->op->block || !is_of_inputs(l, x)))
            return false;
    }
    return true;
}

/* The node that reads v, if it is one. */
static const mlc_node *only_reader(const mlc_lower *l, const mlc_value *v) {
    const mlc_node *reader = NULL;
    int uses = mlc_graph_is_output(l->cg->graph, v);
    MLC_FOR_NODES (l->cg->graph, node)
        for (int k = 0; k < node->n_in; k++)
            if (node->in[k] == v) {
                reader = node;
                uses++;
            }
    return uses == 1 ? reader : NULL;
}

/* Whether a dense layer's outputs are limited, all of them without a table. */
static bool is_limited(const mlc_node *requantize) {
    return mlc_shape_elements(&requantize->out[0]->shape) % MLC_INT_CLAMPED == 0 &&
           mlc_int_clamp_width(requantize) && mlc_int_clamp_most(requantize);
}

/*
 * Whether numbers are looked up anywhere. Without CAP_PERFMON the verifier then tells states apart by the
 * exact ranges of numbers in registers, of which each input that is put on its grid has two: within its
 * limits and beyond. States meet again only where these numbers are in memory.
 */
static bool looks_up(const mlc_lower *l) {
    MLC_FOR_NODES (l->cg->graph, node)
        if (node->op == mlc_iop("Table") || (node->op == mlc_iop("Requantize") && !is_limited(node)))
            return true;
    return false;
}

/* Inputs that the verifier may follow apart. */
enum { FEW_INPUTS = 8 };

/* Whether the elements of a stored value are computed where a dense layer first reads them: its first outputs
 * have them in a register then. */
static bool waits(const mlc_lower *l, const mlc_node *node) {
    if (mlc_shape_elements(&node->out[0]->shape) > FEW_INPUTS && looks_up(l))
        return false;
    const mlc_node *reader = only_reader(l, node->out[0]);
    while (reader && reader->op == mlc_iop("Gather"))
        reader = only_reader(l, reader->out[0]);
    return l->cg->options->opt_level != '0' && reader && reader->op == mlc_iop("Linear") &&
           !mlc_is_rolled(reader) && !node->op->block && is_of_inputs(l, node->out[0]);
}

/* Into the current function, and new parts once it has `budget` instructions. */
static void emit_values(mlc_lower *l, int64_t budget) {
    int64_t used = 0;
    MLC_FOR_NODES (l->cg->graph, node) {
        mlc_value *v = node->out[0];
        if (l->cg->layout.place[v->id].area == MLC_AREA_NONE)
            continue;
        const mlc_node *root = mlc_lower_root(l, node);
        if (mlc_lower_rolled(l, node) || emit_pattern(l, node, root))
            continue;
        int64_t n = mlc_shape_elements(&v->shape), cost = mlc_lower_cost(l, node);
        if (waits(l, node)) {
            l->computed[v->id] = MLC_NEW_ARRAY(l->arena, n + 1, bool);
            used += n * cost;
            continue;
        }
        for (int64_t step = 0; step < n; step++) {
            int64_t i = root->op->order ? root->op->order(root, step) : step;
            if (used > budget && !l->memo) {
                LLVMBuildRetVoid(l->builder);
                begin_part(l);
                used = 0;
            }
            mlc_lower_store_element(l, node, i);
            used += cost;
        }
    }
    LLVMBuildRetVoid(l->builder);
}

/* Of the code, not of its execution. */
static int64_t total_cost(mlc_lower *l) {
    int64_t total = 0;
    MLC_FOR_NODES (l->cg->graph, node) {
        if (l->cg->layout.place[node->out[0]->id].area == MLC_AREA_NONE)
            continue;
        int64_t rolled = mlc_lower_rolled_cost(l, node);
        if (rolled < 0 && mlc_roll_pattern(l, node, mlc_lower_root(l, node)))
            rolled = PATTERN_COST;
        total += rolled >= 0 ? rolled : mlc_lower_cost(l, node) * mlc_shape_elements(&node->out[0]->shape);
    }
    return total;
}

static void dispose_builder(void *builder) {
    LLVMDisposeBuilder(builder);
}

bool mlc_emit_model(mlc_codegen *cg, LLVMModuleRef module, mlc_debug *debug) {
    mlc_lower l = {.cg = cg, .arena = cg->arena, .debug = debug, .module = module};
    l.context = LLVMGetModuleContext(module);
    l.i8 = LLVMInt8TypeInContext(l.context);
    l.i16 = LLVMInt16TypeInContext(l.context);
    l.i32 = LLVMInt32TypeInContext(l.context);
    l.i64 = LLVMInt64TypeInContext(l.context);
    l.ptr = LLVMPointerTypeInContext(l.context, 0);

    l.computed = MLC_NEW_ARRAY(cg->arena, cg->graph->n_values + 1, bool *);
    int64_t total = total_cost(&l);
    if (total > MAX_INSTRUCTIONS) {
        mlc_error(cg->diag,
                  "the model needs about %lld instructions unrolled; the kernel's limit is 1,000,000",
                  (long long)total);
        return mlc_note(cg->diag, "use a smaller model");
    }
    l.builder = LLVMCreateBuilderInContext(l.context);
    mlc_arena_defer(cg->arena, dispose_builder, l.builder);
    if (total <= PART_BUDGET) {
        begin_function(&l, "mlc_model", LLVMExternalLinkage);
        emit_values(&l, INT64_MAX);
        mlc_lower_finish_pool(&l);
        return true;
    }
    begin_part(&l);
    emit_values(&l, total / MAX_PARTS > PART_BUDGET ? total / MAX_PARTS : PART_BUDGET);
    begin_function(&l, "mlc_model", LLVMExternalLinkage);
    for (int i = 0; i < l.n_parts; i++) {
        LLVMValueRef part = LLVMGetNamedFunction(module, mlc_arena_printf(l.arena, "mlc_part_%d", i));
        LLVMBuildCall2(l.builder, model_type(&l), part, &l.base[MLC_AREA_IN], 3, "");
    }
    LLVMBuildRetVoid(l.builder);
    mlc_lower_finish_pool(&l);
    return true;
}
