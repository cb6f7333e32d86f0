/*
 * Convolutions as loops over positions. The code for all channels at one position
 * is a global function, which the kernel verifies once however often it is
 * called:
 *
 *   int mlc_roll_N(struct *src, struct *dst, u32 src_offset, u32 dst_offset)
 *
 * src and dst are the areas that hold input and result, the offsets lead from the
 * first position to the one at hand. Loops around the call have constant bounds.
 */
#include "Lowering.h"

#include <string.h>

/* Estimated instructions of one body; more channels than that get several. */
enum { BODY_BUDGET = 3000, MAX_SPATIAL = 3 };

typedef struct walk {
    int rank;
    int64_t count[MAX_SPATIAL];                 /* positions */
    int64_t src[MAX_SPATIAL], dst[MAX_SPATIAL]; /* bytes from one to the next */
    int64_t src_most, dst_most;                 /* largest offsets */
} walk;

static int64_t area_size(const mlc_layout *layout, mlc_area area) {
    switch (area) {
    case MLC_AREA_IN:
        return layout->in_size;
    case MLC_AREA_OUT:
        return layout->out_size;
    default:
        return layout->scratch_size;
    }
}

static walk plan_walk(const mlc_lower *l, const mlc_node *conv, const mlc_value *result) {
    const mlc_value *x = conv->in[0];
    int64_t n, x_stride[MLC_MAX_RANK], y_stride[MLC_MAX_RANK];
    const int64_t *strides = mlc_attr_ints(conv, "strides", &n);
    mlc_shape_strides(&x->shape, x_stride);
    mlc_shape_strides(&conv->out[0]->shape, y_stride);
    walk w = {.rank = x->shape.rank - 2};
    for (int d = 0; d < w.rank; d++) {
        w.count[d] = conv->out[0]->shape.dim[2 + d];
        w.src[d] = x_stride[2 + d] * (n ? strides[d] : 1) * l->cg->layout.place[x->id].storage.width;
        w.dst[d] = y_stride[2 + d] * l->cg->layout.place[result->id].storage.width;
        w.src_most += (w.count[d] - 1) * w.src[d];
        w.dst_most += (w.count[d] - 1) * w.dst[d];
    }
    return w;
}

/* Between the convolution and the stored value only nodes whose other operands
 * are constants, the same at every position. */
static bool uniform(const mlc_lower *l, const mlc_node *node, const mlc_node *conv) {
    int64_t elements = mlc_shape_elements(&conv->out[0]->shape), channels = conv->out[0]->shape.dim[1];
    int64_t area = elements / channels;
    while (node != conv) {
        const mlc_node *next = NULL;
        if (mlc_shape_elements(&node->out[0]->shape) != elements || node->op == mlc_iop("Gather"))
            return false;
        for (int k = 0; k < node->n_in; k++) {
            const mlc_value *x = node->in[k];
            if (x->producer && !next && l->cg->layout.place[x->id].area == MLC_AREA_NONE) {
                next = x->producer;
                continue;
            }
            if (!x->constant)
                return false;
            mlc_shape joint; /* Table's second operand does not broadcast: it is the same everywhere */
            if (!mlc_shape_broadcast(&x->shape, &node->out[0]->shape, &joint) ||
                !mlc_shape_equal(&joint, &node->out[0]->shape))
                continue;
            for (int64_t i = 0; i < elements; i++)
                if (mlc_shape_broadcast_index(&x->shape, &joint, i) !=
                    mlc_shape_broadcast_index(&x->shape, &joint, i / area * area))
                    return false;
        }
        if (!next)
            return false;
        node = next;
    }
    return true;
}

static LLVMValueRef body_function(mlc_lower *l, const mlc_node *node, const mlc_node *conv,
                                  LLVMTypeRef *type) {
    LLVMTypeRef params[4] = {l->ptr, l->ptr, l->i32, l->i32};
    *type = LLVMFunctionType(l->i32, params, 4, false);
    LLVMValueRef fn =
        LLVMAddFunction(l->module, mlc_arena_printf(l->arena, MLC_ROLL_PREFIX "%d", l->n_rolls++), *type);
    mlc_lower_attribute(l, fn, "noinline");
    mlc_lower_attribute(l, fn, "nounwind");
    const mlc_layout *layout = &l->cg->layout;
    l->scope = mlc_debug_global(l->debug, fn, area_size(layout, layout->place[conv->in[0]->id].area),
                                area_size(layout, layout->place[node->out[0]->id].area), node->line);
    return fn;
}

/* Returns 0 unless `condition`; goes on in a new block. */
static void require(mlc_lower *l, LLVMValueRef fn, LLVMValueRef condition) {
    LLVMBasicBlockRef good = LLVMAppendBasicBlockInContext(l->context, fn, ""),
                      bad = LLVMAppendBasicBlockInContext(l->context, fn, "");
    LLVMBuildCondBr(l->builder, condition, good, bad);
    LLVMPositionBuilderAtEnd(l->builder, bad);
    LLVMBuildRet(l->builder, LLVMConstInt(l->i32, 0, false));
    LLVMPositionBuilderAtEnd(l->builder, good);
}

/* Channels [first, last) at the position that the offsets lead to. */
static LLVMValueRef emit_body(mlc_lower *l, const mlc_node *node, const mlc_node *conv, const walk *w,
                              int64_t first, int64_t last, LLVMTypeRef *type) {
    mlc_lower outer = *l;
    LLVMBasicBlockRef before = LLVMGetInsertBlock(l->builder);
    LLVMMetadataRef location = LLVMGetCurrentDebugLocation2(l->builder);
    LLVMValueRef fn = body_function(l, node, conv, type);
    l->function = fn;
    l->memo = NULL;
    l->pool_base = NULL;
    LLVMPositionBuilderAtEnd(l->builder, LLVMAppendBasicBlockInContext(l->context, fn, ""));
    mlc_debug_line(l->debug, l->builder, l->scope, node->line);
    const int64_t most[2] = {w->src_most, w->dst_most};
    LLVMValueRef base[2];
    for (unsigned k = 0; k < 2; k++) {
        LLVMValueRef area = LLVMGetParam(fn, k), offset = LLVMGetParam(fn, 2 + k);
        require(l, fn, LLVMBuildIsNotNull(l->builder, area, ""));
        offset = LLVMBuildZExt(l->builder, offset, l->i64, "");
        require(l, fn, LLVMBuildICmp(l->builder, LLVMIntULE, offset, mlc_l_const(l, most[k]), ""));
        base[k] = LLVMBuildGEP2(l->builder, l->i8, area, &offset, 1, "");
    }
    l->roll_src = conv->in[0];
    l->roll_dst = node->out[0];
    l->roll_src_base = base[0];
    l->roll_dst_base = base[1];
    int64_t channels = conv->out[0]->shape.dim[1], area = mlc_shape_elements(&conv->out[0]->shape) / channels;
    for (int64_t c = first; c < last; c++)
        mlc_lower_store_element(l, node, c * area);
    LLVMBuildRet(l->builder, LLVMConstInt(l->i32, 0, false));

    outer.n_rolls = l->n_rolls;
    outer.tables = l->tables;
    outer.pool = l->pool;
    outer.barrier = l->barrier;
    outer.barrier_type = l->barrier_type;
    *l = outer;
    LLVMPositionBuilderAtEnd(l->builder, before);
    LLVMSetCurrentDebugLocation2(l->builder, location);
    return fn;
}

/* for (i = 0; i < count; i++) around what `inner` levels remain; ends in the block behind the loop. */
static void emit_loops(mlc_lower *l, const walk *w, int level, LLVMValueRef src_offset,
                       LLVMValueRef dst_offset, LLVMTypeRef type, LLVMValueRef body, LLVMValueRef src,
                       LLVMValueRef dst) {
    if (level == w->rank) {
        LLVMValueRef args[4] = {src, dst, src_offset, dst_offset};
        LLVMBuildCall2(l->builder, type, body, args, 4, "");
        return;
    }
    LLVMBasicBlockRef entry = LLVMGetInsertBlock(l->builder);
    LLVMBasicBlockRef loop = LLVMAppendBasicBlockInContext(l->context, l->function, "");
    LLVMBuildBr(l->builder, loop);
    LLVMPositionBuilderAtEnd(l->builder, loop);
    LLVMValueRef counter[3], start[3] = {LLVMConstInt(l->i32, 0, false), src_offset, dst_offset}, next[3];
    const int64_t step[3] = {1, w->src[level], w->dst[level]};
    for (int k = 0; k < 3; k++)
        counter[k] = LLVMBuildPhi(l->builder, l->i32, "");
    emit_loops(l, w, level + 1, counter[1], counter[2], type, body, src, dst);
    LLVMBasicBlockRef end = LLVMGetInsertBlock(l->builder);
    for (int k = 0; k < 3; k++) {
        next[k] = LLVMBuildAdd(l->builder, counter[k],
                               LLVMConstInt(l->i32, (unsigned long long)step[k], false), "");
        LLVMAddIncoming(counter[k], (LLVMValueRef[]){start[k], next[k]}, (LLVMBasicBlockRef[]){entry, end},
                        2);
    }
    LLVMValueRef more = LLVMBuildICmp(l->builder, LLVMIntULT, next[0],
                                      LLVMConstInt(l->i32, (unsigned long long)w->count[level], false), "");
    LLVMBasicBlockRef behind = LLVMAppendBasicBlockInContext(l->context, l->function, "");
    LLVMBuildCondBr(l->builder, more, loop, behind);
    LLVMPositionBuilderAtEnd(l->builder, behind);
}

bool mlc_lower_rolled(mlc_lower *l, const mlc_node *node) {
    const mlc_node *conv = mlc_lower_root(l, node);
    const mlc_place *src = &l->cg->layout.place[conv->in[0]->id],
                    *dst = &l->cg->layout.place[node->out[0]->id];
    if (src->area == MLC_AREA_NONE || src->features || l->memo || !uniform(l, node, conv))
        return false;
    walk w = plan_walk(l, conv, node->out[0]);
    int64_t channels = conv->out[0]->shape.dim[1], cost = mlc_lower_cost(l, node);
    int64_t each = cost < BODY_BUDGET ? BODY_BUDGET / cost : 1,
            group = channels / mlc_attr_int(conv, "group", 1);
    if (each > group)
        each -= each % group; /* whole groups, or whole blocks of lanes */
    for (int64_t c = 0; c < channels; c += each) {
        LLVMTypeRef type;
        int64_t last = c + each < channels ? c + each : channels;
        LLVMValueRef body = emit_body(l, node, conv, &w, c, last, &type),
                     zero = LLVMConstInt(l->i32, 0, false);
        mlc_debug_line(l->debug, l->builder, l->scope, node->line);
        emit_loops(l, &w, 0, zero, zero, type, body, l->base[src->area], l->base[dst->area]);
    }
    return true;
}
