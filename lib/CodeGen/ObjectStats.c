/* Figures read off the finished object: instructions, stack of the deepest call chain, read-only data. */
#include "CodeGen.h"

#include <elf.h>
#include <linux/bpf.h>
#include <string.h>

enum { MAX_FUNCTIONS = 512, STACK_ALIGN = 32 /* as the verifier rounds each frame */ };

typedef struct function {
    int section;
    uint64_t offset, size; /* bytes */
    int stack, chain;      /* bytes; chain includes callees, -1: not computed yet */
} function;

typedef struct object {
    const char *data;
    const Elf64_Ehdr *header;
    const Elf64_Shdr *section;
    const Elf64_Sym *symbols;
    size_t n_symbols;
    function fn[MAX_FUNCTIONS];
    int n;
} object;

static const struct bpf_insn *code(const object *o, const function *f) {
    return (const void *)(o->data + o->section[f->section].sh_offset + f->offset);
}

/* The deepest byte below r10 that is addressed, directly or by r = r10; r += -N. */
static int frame_size(const object *o, const function *f) {
    const struct bpf_insn *insn = code(o, f);
    int deepest = 0;
    for (size_t i = 0; i < f->size / sizeof *insn; i++) {
        int class = BPF_CLASS(insn[i].code), at = 0;
        if (class == BPF_LDX && insn[i].src_reg == BPF_REG_10)
            at = -insn[i].off;
        if ((class == BPF_STX || class == BPF_ST) && insn[i].dst_reg == BPF_REG_10)
            at = -insn[i].off;
        if (i && insn[i].code == (BPF_ALU64 | BPF_ADD | BPF_K) && insn[i].imm < 0 &&
            insn[i - 1].code == (BPF_ALU64 | BPF_MOV | BPF_X) && insn[i - 1].src_reg == BPF_REG_10 &&
            insn[i - 1].dst_reg == insn[i].dst_reg)
            at = -insn[i].imm;
        if (at > deepest)
            deepest = at;
        if (insn[i].code == (BPF_LD | BPF_IMM | BPF_DW))
            i++;
    }
    return (deepest + STACK_ALIGN - 1) / STACK_ALIGN * STACK_ALIGN;
}

static function *function_at(object *o, int section, uint64_t offset) {
    for (int i = 0; i < o->n; i++)
        if (o->fn[i].section == section && o->fn[i].offset == offset)
            return &o->fn[i];
    return NULL;
}

/* The callee of instruction `at` (byte offset in the section): from its relocation, else relative. */
static function *callee(object *o, int section, uint64_t at, const struct bpf_insn *insn) {
    for (int s = 0; s < o->header->e_shnum; s++) {
        const Elf64_Shdr *sh = &o->section[s];
        if (sh->sh_type != SHT_REL || (int)sh->sh_info != section)
            continue;
        const Elf64_Rel *r = (const void *)(o->data + sh->sh_offset);
        for (size_t i = 0; i < sh->sh_size / sizeof *r; i++) {
            if (r[i].r_offset != at)
                continue;
            const Elf64_Sym *sym = &o->symbols[ELF64_R_SYM(r[i].r_info)];
            uint64_t offset = sym->st_value;
            if (ELF64_ST_TYPE(sym->st_info) == STT_SECTION)
                offset += ((uint64_t)(int64_t)insn->imm + 1) * 8;
            return function_at(o, sym->st_shndx, offset);
        }
    }
    return function_at(o, section, at + ((uint64_t)(int64_t)insn->imm + 1) * 8);
}

static int chain(object *o, function *f, int depth) {
    if (f->chain >= 0 || depth > 8)
        return f->chain > 0 ? f->chain : 0;
    const struct bpf_insn *insn = code(o, f);
    int deepest = 0;
    for (size_t i = 0; i < f->size / sizeof *insn; i++) {
        if (insn[i].code == (BPF_JMP | BPF_CALL) && insn[i].src_reg == BPF_PSEUDO_CALL) {
            function *to = callee(o, f->section, f->offset + i * sizeof *insn, &insn[i]);
            int below = to ? chain(o, to, depth + 1) : 0;
            if (below > deepest)
                deepest = below;
        }
        if (insn[i].code == (BPF_LD | BPF_IMM | BPF_DW))
            i++;
    }
    return f->chain = frame_size(o, f) + deepest;
}

bool mlc_object_stats(mlc_codegen *cg, const char *data, size_t size, mlc_stats *stats) {
    (void)size;
    object *o = MLC_NEW(cg->arena, object);
    o->data = data;
    o->header = (const void *)data;
    o->section = (const void *)(data + o->header->e_shoff);
    const char *names = data + o->section[o->header->e_shstrndx].sh_offset;
    for (int i = 0; i < o->header->e_shnum; i++) {
        const Elf64_Shdr *s = &o->section[i];
        if (s->sh_type == SHT_SYMTAB) {
            o->symbols = (const void *)(data + s->sh_offset);
            o->n_symbols = s->sh_size / sizeof *o->symbols;
        }
        if (s->sh_flags & SHF_EXECINSTR)
            stats->instructions += (long)(s->sh_size / sizeof(struct bpf_insn));
        if (strncmp(names + s->sh_name, ".rodata", 7) == 0)
            stats->rodata += (long)s->sh_size;
    }
    for (size_t i = 0; i < o->n_symbols && o->n < MAX_FUNCTIONS; i++) {
        const Elf64_Sym *sym = &o->symbols[i];
        if (ELF64_ST_TYPE(sym->st_info) != STT_FUNC || sym->st_shndx >= o->header->e_shnum)
            continue;
        o->fn[o->n++] =
            (function){.section = sym->st_shndx, .offset = sym->st_value, .size = sym->st_size, .chain = -1};
    }
    for (int i = 0; i < o->n; i++) {
        int depth = chain(o, &o->fn[i], 0);
        if (depth > stats->stack)
            stats->stack = depth;
    }
    stats->scratch = (long)(cg->layout.frame_size * cg->layout.n_entries);
    return true;
}
