/*
 * Figures read off the finished object: instructions, stack of the deepest call
 * chain, read-only data, and what the code of each line of the listing does.
 */
#include "Lowering.h"
#include "Object.h"

#include <string.h>

enum { STACK_ALIGN = 32 /* as the verifier rounds each frame */, MAX_CALLS = 8 };

/* r = r10; r += -N */
static bool takes_address(const struct bpf_insn *move, const struct bpf_insn *add) {
    return add->code == (BPF_ALU64 | BPF_ADD | BPF_K) && add->imm < 0 &&
           move->code == (BPF_ALU64 | BPF_MOV | BPF_X) && move->src_reg == BPF_REG_10 &&
           move->dst_reg == add->dst_reg;
}

/* The deepest byte below r10 that is addressed. */
static int frame_size(const mlc_object *o, const mlc_function *f) {
    int deepest = 0;
    for (int64_t i = f->first; i < f->first + f->n; i++) {
        const struct bpf_insn *insn = &o->insn[i].raw;
        int class = BPF_CLASS(insn->code), at = 0;
        if (class == BPF_LDX && insn->src_reg == BPF_REG_10)
            at = -insn->off;
        if ((class == BPF_STX || class == BPF_ST) && insn->dst_reg == BPF_REG_10)
            at = -insn->off;
        if (i > f->first && takes_address(&o->insn[i - 1].raw, insn))
            at = -insn->imm;
        if (at > deepest)
            deepest = at;
        if (mlc_insn_is_wide(&o->insn[i]))
            i++;
    }
    return (deepest + STACK_ALIGN - 1) / STACK_ALIGN * STACK_ALIGN;
}

static mlc_function *function_at(const mlc_object *o, int64_t first) {
    for (int i = 0; i < o->n_functions; i++)
        if (o->function[i].first == first)
            return &o->function[i];
    return NULL;
}

static int chain(const mlc_object *o, mlc_function *f, int depth) {
    if (f->chain >= 0 || depth > MAX_CALLS)
        return f->chain > 0 ? f->chain : 0;
    int deepest = 0;
    for (int64_t i = f->first; i < f->first + f->n; i++) {
        if (mlc_insn_is_call(&o->insn[i])) {
            mlc_function *to = function_at(o, o->insn[i].to);
            int below = to ? chain(o, to, depth + 1) : 0;
            if (below > deepest)
                deepest = below;
        }
        if (mlc_insn_is_wide(&o->insn[i]))
            i++;
    }
    return f->chain = frame_size(o, f) + deepest;
}

static void count(const mlc_insn *insn, const mlc_run_count *run, mlc_work *work) {
    int class = BPF_CLASS(insn->raw.code), op = BPF_OP(insn->raw.code);
    bool arithmetic = class == BPF_ALU || class == BPF_ALU64, jump = class == BPF_JMP || class == BPF_JMP32;
    work->code += mlc_insn_is_wide(insn) ? 2 : 1;
    work->executed += run->times;
    work->looped += run->times > 1 ? run->times : 0;
    work->multiplications += arithmetic && op == BPF_MUL ? run->times : 0;
    work->loads += class == BPF_LDX ? run->times : 0;
    work->constants += run->constant ? run->times : 0;
    work->stores += class == BPF_ST || class == BPF_STX ? run->times : 0;
    work->calls += mlc_insn_is_call(insn) ? run->times : 0;
    work->jumps += jump && op != BPF_CALL && op != BPF_EXIT ? run->times : 0;
}

static int count_lines(const char *text) {
    int n = 2; /* line 0, and the last */
    for (; *text; text++)
        n += *text == '\n';
    return n;
}

static void count_work(mlc_codegen *cg, const mlc_object *o, mlc_stats *stats) {
    mlc_run_count *runs = MLC_NEW_ARRAY(cg->arena, o->n + 1, mlc_run_count);
    bool walked = mlc_object_walk(cg->arena, o, &cg->layout, runs);
    int n = count_lines(cg->listing);
    mlc_work *work = MLC_NEW_ARRAY(cg->arena, n, mlc_work), all = {0};
    for (int f = 0; f < o->n_functions; f++) {
        const mlc_function *fn = &o->function[f];
        bool aside = strncmp(fn->name, MLC_ROLL_PREFIX, strlen(MLC_ROLL_PREFIX)) == 0;
        for (int64_t i = fn->first; i < fn->first + fn->n; i++) {
            mlc_work *at = &work[o->insn[i].line < n ? o->insn[i].line : 0];
            if (!walked)
                runs[i] = (mlc_run_count){0};
            count(&o->insn[i], &runs[i], at);
            count(&o->insn[i], &runs[i], &all);
            at->aside += aside ? runs[i].times : 0;
            if (mlc_insn_is_wide(&o->insn[i]))
                i++;
        }
    }
    cg->work = work;
    cg->n_lines = n;
    stats->executed = (long)all.executed;
    stats->ns = mlc_work_ns(&all, &all);
}

void mlc_object_stats(mlc_codegen *cg, const char *data, size_t size, mlc_stats *stats) {
    mlc_object *o = mlc_object_decode(cg->arena, data, size);
    stats->instructions = (long)o->n;
    stats->rodata = (long)o->rodata;
    for (int i = 0; i < o->n_functions; i++) {
        int depth = chain(o, &o->function[i], 0);
        if (depth > stats->stack)
            stats->stack = depth;
    }
    stats->scratch = (long)(mlc_frame_value_size(&cg->layout) * cg->layout.n_entries);
    if (cg->options->report)
        count_work(cg, o, stats);
}
