#include "Object.h"

#include <elf.h>
#include <string.h>

typedef struct elf {
    const char *data;
    const Elf64_Ehdr *header;
    const Elf64_Shdr *section;
    const char *names;
    int64_t *first; /* by section: its first instruction in the object; -1: not executable */
    const Elf64_Sym *symbols;
    size_t n_symbols;
    const char *symbol_names;
} elf;

static const char *name_of(const elf *e, int section) {
    return e->names + e->section[section].sh_name;
}

static void open_elf(elf *e, mlc_arena *arena, mlc_object *o) {
    e->data = o->data;
    e->header = (const void *)o->data;
    e->section = (const void *)(o->data + e->header->e_shoff);
    e->names = o->data + e->section[e->header->e_shstrndx].sh_offset;
    e->first = MLC_NEW_ARRAY(arena, e->header->e_shnum, int64_t);
    for (int i = 0; i < e->header->e_shnum; i++) {
        const Elf64_Shdr *s = &e->section[i];
        e->first[i] = -1;
        if (s->sh_flags & SHF_EXECINSTR) {
            e->first[i] = o->n;
            o->n += (int64_t)(s->sh_size / sizeof(struct bpf_insn));
        }
        if (s->sh_type == SHT_SYMTAB) {
            e->symbols = (const void *)(o->data + s->sh_offset);
            e->n_symbols = s->sh_size / sizeof *e->symbols;
            e->symbol_names = o->data + e->section[s->sh_link].sh_offset;
        }
        if (strncmp(name_of(e, i), ".rodata", strlen(".rodata")) == 0)
            o->rodata += (int64_t)s->sh_size;
    }
}

bool mlc_insn_is_wide(const mlc_insn *insn) {
    return insn->raw.code == (BPF_LD | BPF_IMM | BPF_DW);
}

bool mlc_insn_is_call(const mlc_insn *insn) {
    return insn->raw.code == (BPF_JMP | BPF_CALL) && insn->raw.src_reg == BPF_PSEUDO_CALL;
}

/* What an instruction leads to by itself, without its relocation. */
static int64_t target(const mlc_insn *insn, int64_t at) {
    int class = BPF_CLASS(insn->raw.code), op = BPF_OP(insn->raw.code);
    if (class != BPF_JMP && class != BPF_JMP32)
        return -1;
    if (op == BPF_EXIT || (op == BPF_CALL && !mlc_insn_is_call(insn)))
        return -1;
    bool by_immediate = op == BPF_CALL || (class == BPF_JMP32 && op == BPF_JA);
    return at + 1 + (by_immediate ? insn->raw.imm : insn->raw.off);
}

static void decode_section(const elf *e, int section, mlc_object *o) {
    const Elf64_Shdr *s = &e->section[section];
    const struct bpf_insn *raw = (const void *)(e->data + s->sh_offset);
    for (size_t i = 0; i < s->sh_size / sizeof *raw; i++) {
        int64_t at = e->first[section] + (int64_t)i;
        o->insn[at] = (mlc_insn){.raw = raw[i]};
        o->insn[at].to = target(&o->insn[at], at);
    }
}

static uint64_t address_of(const elf *e, const Elf64_Sym *symbol) {
    return (uint64_t)(uintptr_t)(e->data + e->section[symbol->st_shndx].sh_offset) + symbol->st_value;
}

/* Section `s` holds relocations of an executable section. */
static void relocate(const elf *e, const Elf64_Shdr *s, mlc_object *o) {
    const Elf64_Rel *r = (const void *)(e->data + s->sh_offset);
    for (size_t i = 0; i < s->sh_size / sizeof *r; i++) {
        mlc_insn *insn = &o->insn[e->first[s->sh_info] + (int64_t)(r[i].r_offset / sizeof(struct bpf_insn))];
        const Elf64_Sym *symbol = &e->symbols[ELF64_R_SYM(r[i].r_info)];
        if (symbol->st_shndx >= e->header->e_shnum)
            continue;
        int64_t first = e->first[symbol->st_shndx];
        if (mlc_insn_is_call(insn) && first >= 0)
            insn->to = first + (int64_t)(symbol->st_value / sizeof(struct bpf_insn)) + insn->raw.imm + 1;
        if (mlc_insn_is_wide(insn))
            insn->address = address_of(e, symbol) + (uint64_t)(int64_t)insn->raw.imm;
    }
}

static void find_frame(const elf *e, mlc_object *o) {
    for (size_t i = 0; i < e->n_symbols; i++)
        if (strcmp(e->symbol_names + e->symbols[i].st_name, "mlc_frame") == 0)
            o->frame = address_of(e, &e->symbols[i]);
}

static void find_functions(const elf *e, mlc_arena *arena, mlc_object *o) {
    o->function = MLC_NEW_ARRAY(arena, e->n_symbols + 1, mlc_function);
    for (size_t i = 0; i < e->n_symbols; i++) {
        const Elf64_Sym *s = &e->symbols[i];
        if (ELF64_ST_TYPE(s->st_info) != STT_FUNC || s->st_shndx >= e->header->e_shnum ||
            e->first[s->st_shndx] < 0)
            continue;
        o->function[o->n_functions++] = (mlc_function){
            .name = e->symbol_names + s->st_name,
            .first = e->first[s->st_shndx] + (int64_t)(s->st_value / sizeof(struct bpf_insn)),
            .n = (int64_t)(s->st_size / sizeof(struct bpf_insn)),
            .chain = -1,
        };
    }
}

/* --- line information: section .BTF.ext, whose strings are those of .BTF --- */

/* The part of struct btf_ext_header of libbpf that has always been there. */
typedef struct ext_header {
    uint16_t magic;
    uint8_t version, flags;
    uint32_t size, function_at, function_size, line_at, line_size;
} ext_header;

typedef struct btf_header {
    uint16_t magic;
    uint8_t version, flags;
    uint32_t size, type_at, type_size, string_at, string_size;
} btf_header;

typedef struct line_info {
    uint32_t offset, file, text, line_column;
} line_info;

enum { LINE_SHIFT = 10 }; /* the column is below */

static const char *section_named(const elf *e, const char *name) {
    for (int i = 0; i < e->header->e_shnum; i++)
        if (strcmp(name_of(e, i), name) == 0)
            return e->data + e->section[i].sh_offset;
    return NULL;
}

static int64_t first_of(const elf *e, const char *section) {
    for (int i = 0; i < e->header->e_shnum; i++)
        if (e->first[i] >= 0 && strcmp(name_of(e, i), section) == 0)
            return e->first[i];
    return -1;
}

static bool is_listing(const char *file) {
    size_t n = strlen(file), m = strlen(MLC_LISTING_NAME);
    return n >= m && strcmp(file + n - m, MLC_LISTING_NAME) == 0;
}

/* Lines hold from their instruction to the next that has one, or to the function's end. */
static void spread_lines(mlc_object *o) {
    for (int f = 0; f < o->n_functions; f++) {
        int line = 0;
        for (int64_t i = o->function[f].first; i < o->function[f].first + o->function[f].n; i++) {
            if (o->insn[i].line == 0)
                o->insn[i].line = line;
            else if (o->insn[i].line < 0)
                o->insn[i].line = 0;
            line = o->insn[i].line;
        }
    }
}

static void read_lines(const elf *e, mlc_object *o) {
    const char *ext = section_named(e, ".BTF.ext"), *btf = section_named(e, ".BTF");
    if (!ext || !btf)
        return;
    ext_header h;
    btf_header b;
    memcpy(&h, ext, sizeof h);
    memcpy(&b, btf, sizeof b);
    const char *strings = btf + b.size + b.string_at;
    const char *p = ext + h.size + h.line_at, *end = p + h.line_size;
    uint32_t record, part[2]; /* of a section: its name, its records */
    if (h.line_size < sizeof record)
        return;
    memcpy(&record, p, sizeof record);
    for (p += sizeof record; p + sizeof part <= end; p += (size_t)part[1] * record) {
        memcpy(part, p, sizeof part);
        p += sizeof part;
        int64_t first = first_of(e, strings + part[0]);
        for (uint32_t i = 0; i < part[1] && first >= 0; i++) {
            line_info info;
            memcpy(&info, p + (size_t)i * record, sizeof info);
            int line = is_listing(strings + info.file) ? (int)(info.line_column >> LINE_SHIFT) : -1;
            o->insn[first + (int64_t)(info.offset / sizeof(struct bpf_insn))].line = line;
        }
    }
    spread_lines(o);
}

mlc_object *mlc_object_decode(mlc_arena *arena, const char *data, size_t size) {
    mlc_object *o = MLC_NEW(arena, mlc_object);
    *o = (mlc_object){.data = data, .size = size};
    elf e;
    memset(&e, 0, sizeof e);
    open_elf(&e, arena, o);
    o->insn = MLC_NEW_ARRAY(arena, o->n + 1, mlc_insn);
    for (int i = 0; i < e.header->e_shnum; i++)
        if (e.first[i] >= 0)
            decode_section(&e, i, o);
    for (int i = 0; i < e.header->e_shnum; i++) {
        const Elf64_Shdr *s = &e.section[i];
        if (s->sh_type == SHT_REL && s->sh_info < e.header->e_shnum && e.first[s->sh_info] >= 0)
            relocate(&e, s, o);
    }
    find_functions(&e, arena, o);
    find_frame(&e, o);
    read_lines(&e, o);
    return o;
}

const mlc_function *mlc_object_function(const mlc_object *o, const char *name) {
    for (int i = 0; i < o->n_functions; i++)
        if (strcmp(o->function[i].name, name) == 0)
            return &o->function[i];
    return NULL;
}
