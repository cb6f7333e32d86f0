/* Executes a model's BPF code, to count its instructions. */
#include "Object.h"

#include <string.h>

/* BPF_MEMSX, a load that extends the sign, and BPF_JCOND, may_goto: not in the headers of Linux 6.1. */
enum { MEMSX = 0x80, JCOND = 0xe0 };

enum { FRAMES = 8, FRAME_BYTES = 512, MAX_STEPS = 1 << 26, REGISTERS = 11 };

typedef struct frame {
    int64_t back; /* the instruction behind the call */
    uint64_t saved[BPF_REG_9 - BPF_REG_6 + 1];
} frame;

typedef struct region {
    uint64_t begin, end;
} region;

enum { AREAS = 3, OBJECT = AREAS, STACK, FRAME, REGIONS };

typedef struct walker {
    const mlc_object *o;
    mlc_run_count *runs;
    uint64_t r[REGISTERS];
    frame frames[FRAMES];
    int depth;
    region regions[REGIONS];
    int64_t entry_size; /* of the map whose entries are the region FRAME */
} walker;

static region region_of(const void *begin, int64_t size) {
    return (region){(uint64_t)(uintptr_t)begin, (uint64_t)(uintptr_t)begin + (uint64_t)size};
}

/* NULL: nothing of the model's is there. The object itself is only read. */
static void *memory(const walker *w, uint64_t address, int size, bool written) {
    for (int k = 0; k < REGIONS; k++)
        if (address >= w->regions[k].begin && address < w->regions[k].end &&
            (uint64_t)size <= w->regions[k].end - address && !(written && k == OBJECT))
            return (void *)(uintptr_t)address; // NOLINT: an address that the walked code computed
    return NULL;
}

static int access_size(uint8_t code) {
    switch (BPF_SIZE(code)) {
    case BPF_B:
        return 1;
    case BPF_H:
        return 2;
    case BPF_W:
        return 4;
    default:
        return 8;
    }
}

/* The lowest `bits` of x, with their sign. */
static int64_t sign_extend(uint64_t x, int bits) {
    return (int64_t)(x << (64 - bits)) >> (64 - bits);
}

static uint64_t swap(uint64_t x, int bits) {
    return __builtin_bswap64(x) >> (64 - bits);
}

static uint64_t divide(uint64_t a, uint64_t b, int bits, bool is_signed, bool remainder) {
    if (b == 0)
        return remainder ? a : 0;
    if (!is_signed)
        return remainder ? a % b : a / b;
    int64_t x = sign_extend(a, bits), y = sign_extend(b, bits);
    if (y == -1)
        return remainder ? 0 : 0 - (uint64_t)x;
    return (uint64_t)(remainder ? x % y : x / y);
}

/* a and b have `bits` bits. */
static uint64_t compute(const struct bpf_insn *insn, uint64_t a, uint64_t b, int bits) {
    unsigned shift = (unsigned)b & (unsigned)(bits - 1);
    switch (BPF_OP(insn->code)) {
    case BPF_ADD:
        return a + b;
    case BPF_SUB:
        return a - b;
    case BPF_MUL:
        return a * b;
    case BPF_DIV:
        return divide(a, b, bits, insn->off == 1, false);
    case BPF_MOD:
        return divide(a, b, bits, insn->off == 1, true);
    case BPF_OR:
        return a | b;
    case BPF_AND:
        return a & b;
    case BPF_XOR:
        return a ^ b;
    case BPF_LSH:
        return a << shift;
    case BPF_RSH:
        return a >> shift;
    case BPF_ARSH:
        return (uint64_t)(sign_extend(a, bits) >> shift);
    case BPF_NEG:
        return 0 - a;
    case BPF_MOV:
        return insn->off ? (uint64_t)sign_extend(b, insn->off) : b;
    default: { /* BPF_END, to the order of the target, which is little-endian, or to the other */
        bool swaps = BPF_CLASS(insn->code) == BPF_ALU64 || BPF_SRC(insn->code) == BPF_TO_BE;
        return swaps ? swap(a, insn->imm) : a & (UINT64_MAX >> (64 - insn->imm));
    }
    }
}

static void arithmetic(walker *w, const struct bpf_insn *insn) {
    bool whole = BPF_CLASS(insn->code) == BPF_ALU64, end = BPF_OP(insn->code) == BPF_END;
    uint64_t mask = whole || end ? UINT64_MAX : UINT32_MAX, a = w->r[insn->dst_reg] & mask;
    uint64_t b = (BPF_SRC(insn->code) == BPF_X ? w->r[insn->src_reg] : (uint64_t)(int64_t)insn->imm) & mask;
    w->r[insn->dst_reg] = compute(insn, a, b, whole ? 64 : 32) & mask;
}

static bool taken(const walker *w, const struct bpf_insn *insn) {
    uint64_t a = w->r[insn->dst_reg];
    uint64_t b = BPF_SRC(insn->code) == BPF_X ? w->r[insn->src_reg] : (uint64_t)(int64_t)insn->imm;
    int bits = BPF_CLASS(insn->code) == BPF_JMP32 ? 32 : 64;
    int64_t x = sign_extend(a, bits), y = sign_extend(b, bits);
    a &= UINT64_MAX >> (64 - bits);
    b &= UINT64_MAX >> (64 - bits);
    switch (BPF_OP(insn->code)) {
    case BPF_JEQ:
        return a == b;
    case BPF_JNE:
        return a != b;
    case BPF_JSET:
        return (a & b) != 0;
    case BPF_JGT:
        return a > b;
    case BPF_JGE:
        return a >= b;
    case BPF_JLT:
        return a < b;
    case BPF_JLE:
        return a <= b;
    case BPF_JSGT:
        return x > y;
    case BPF_JSGE:
        return x >= y;
    case BPF_JSLT:
        return x < y;
    case BPF_JSLE:
        return x <= y;
    case JCOND: /* which jumps when there were too many */
        return false;
    default:
        return true; /* BPF_JA */
    }
}

static bool load(walker *w, const struct bpf_insn *insn, mlc_run_count *run) {
    int size = access_size(insn->code);
    const void *from = memory(w, w->r[insn->src_reg] + (uint64_t)(int64_t)insn->off, size, false);
    uint64_t x = 0, at = (uint64_t)(uintptr_t)from;
    if (!from || (BPF_MODE(insn->code) != BPF_MEM && BPF_MODE(insn->code) != MEMSX))
        return false;
    memcpy(&x, from, (size_t)size); /* little-endian, as the target */
    run->constant = at >= w->regions[OBJECT].begin && at < w->regions[OBJECT].end;
    w->r[insn->dst_reg] = BPF_MODE(insn->code) == MEMSX ? (uint64_t)sign_extend(x, 8 * size) : x;
    return true;
}

static bool store(walker *w, const struct bpf_insn *insn) {
    int size = access_size(insn->code);
    uint64_t x = BPF_CLASS(insn->code) == BPF_ST ? (uint64_t)(int64_t)insn->imm : w->r[insn->src_reg];
    void *to = memory(w, w->r[insn->dst_reg] + (uint64_t)(int64_t)insn->off, size, true);
    if (!to || BPF_MODE(insn->code) != BPF_MEM)
        return false;
    memcpy(to, &x, (size_t)size);
    return true;
}

static bool call(walker *w, int64_t at) {
    if (w->depth + 1 == FRAMES)
        return false;
    frame *f = &w->frames[w->depth++];
    f->back = at + 1;
    memcpy(f->saved, &w->r[BPF_REG_6], sizeof f->saved);
    w->r[BPF_REG_10] -= FRAME_BYTES;
    return true;
}

/* The instruction behind the call; -1: this was the first function. */
static int64_t leave(walker *w) {
    if (w->depth == 0)
        return -1;
    const frame *f = &w->frames[--w->depth];
    memcpy(&w->r[BPF_REG_6], f->saved, sizeof f->saved);
    w->r[BPF_REG_10] += FRAME_BYTES;
    return f->back;
}

/* bpf_map_lookup_elem of the frame, or of inputs and outputs: the same memory does for both, as
 * counts do not depend on what is there. */
static bool look_up(walker *w) {
    uint32_t key;
    if (w->r[BPF_REG_1] != w->o->frame) {
        w->r[BPF_REG_0] = w->regions[0].begin;
        return true;
    }
    const void *from = memory(w, w->r[BPF_REG_2], sizeof key, false);
    if (!from)
        return false;
    memcpy(&key, from, sizeof key);
    uint64_t at = w->regions[FRAME].begin + key * (uint64_t)w->entry_size;
    w->r[BPF_REG_0] = at < w->regions[FRAME].end ? at : 0;
    return true;
}

/* Sets *at to the next instruction, -1 at the end. */
static bool step(walker *w, int64_t *at) {
    const mlc_insn *insn = &w->o->insn[*at];
    switch (BPF_CLASS(insn->raw.code)) {
    case BPF_ALU:
    case BPF_ALU64:
        arithmetic(w, &insn->raw);
        ++*at;
        return true;
    case BPF_LDX:
        return load(w, &insn->raw, &w->runs[*at]) && ++*at;
    case BPF_ST:
    case BPF_STX:
        return store(w, &insn->raw) && ++*at;
    case BPF_LD:
        if (!mlc_insn_is_wide(insn))
            return false;
        w->r[insn->raw.dst_reg] = insn->address
                                      ? insn->address
                                      : (uint32_t)insn->raw.imm | (uint64_t)(uint32_t)insn[1].raw.imm << 32;
        *at += 2;
        return true;
    default:
        break;
    }
    if (BPF_OP(insn->raw.code) == BPF_EXIT) {
        *at = leave(w);
        return true;
    }
    if (insn->raw.code == (BPF_JMP | BPF_CALL) && insn->raw.src_reg == 0)
        return insn->raw.imm == BPF_FUNC_map_lookup_elem && look_up(w) && ++*at;
    if (insn->to < 0 || (mlc_insn_is_call(insn) && !call(w, *at)))
        return false;
    *at = mlc_insn_is_call(insn) || taken(w, &insn->raw) ? insn->to : *at + 1;
    return true;
}

bool mlc_object_walk(mlc_arena *arena, const mlc_object *o, const mlc_layout *layout, mlc_run_count *runs) {
    const mlc_function *model = mlc_object_function(o, "mlc_model");
    if (!model)
        return false;
    walker w = {.o = o, .runs = runs, .entry_size = layout->frame_size};
    /* Packet targets have all three in one entry. */
    int64_t size = layout->in_size + layout->out_size + layout->frame_size;
    for (int k = 0; k < AREAS; k++) {
        uint64_t *area = MLC_NEW_ARRAY(arena, size / 8 + 1, uint64_t);
        w.regions[k] = region_of(area, size);
        w.r[BPF_REG_1 + k] = w.regions[k].begin;
    }
    int64_t bytes = layout->frame_size * layout->n_entries;
    w.regions[FRAME] = region_of(MLC_NEW_ARRAY(arena, bytes / 8 + 1, uint64_t), bytes);
    uint64_t *stack = MLC_NEW_ARRAY(arena, FRAMES * FRAME_BYTES / 8, uint64_t);
    w.regions[OBJECT] = region_of(o->data, (int64_t)o->size);
    w.regions[STACK] = region_of(stack, FRAMES * FRAME_BYTES);
    w.r[BPF_REG_10] = w.regions[STACK].end;
    int64_t at = model->first;
    for (int64_t steps = 0; at >= 0; steps++) {
        if (steps == MAX_STEPS)
            return false;
        runs[at].times++;
        if (!step(&w, &at))
            return false;
    }
    return true;
}
