/*
 * The model as flat x86-64 code: mlc_model first, then its parts and tables, all
 * references between them relative to the program counter. It can be mapped
 * anywhere and called; it needs no linker and no library.
 */
#include "Lowering.h"

#include <elf.h>
#include <llvm-c/Analysis.h>
#include <string.h>

typedef struct elf_view {
    const char *data;
    const Elf64_Ehdr *header;
    const Elf64_Shdr *section;
    const Elf64_Sym *symbols;
    const char *names;
    int64_t *place; /* of each loaded section in the image; -1: not loaded */
} elf_view;

static bool loaded(const Elf64_Shdr *s) {
    return s->sh_type == SHT_PROGBITS && (s->sh_flags & SHF_ALLOC);
}

/* Code first, so that the entry (the image's first byte) is in it. */
static size_t place_sections(mlc_codegen *cg, elf_view *v) {
    size_t at = 16; /* a jump to the entry */
    v->place = MLC_NEW_ARRAY(cg->arena, v->header->e_shnum, int64_t);
    for (int i = 0; i < v->header->e_shnum; i++) {
        const Elf64_Shdr *s = &v->section[i];
        v->place[i] = -1;
        if (!loaded(s))
            continue;
        size_t align = s->sh_addralign ? s->sh_addralign : 1;
        at = (at + align - 1) / align * align;
        v->place[i] = (int64_t)at;
        at += s->sh_size;
    }
    return at;
}

static bool relocate(mlc_codegen *cg, const elf_view *v, const Elf64_Shdr *relocations, char *image) {
    int64_t base = v->place[relocations->sh_info];
    const Elf64_Rela *r = (const void *)(v->data + relocations->sh_offset);
    for (size_t i = 0; i < relocations->sh_size / sizeof *r; i++) {
        const Elf64_Sym *symbol = &v->symbols[ELF64_R_SYM(r[i].r_info)];
        unsigned type = (unsigned)ELF64_R_TYPE(r[i].r_info);
        if ((type != R_X86_64_PC32 && type != R_X86_64_PLT32) || symbol->st_shndx >= v->header->e_shnum ||
            v->place[symbol->st_shndx] < 0)
            return mlc_error(cg->diag, "host code refers to '%s' outside itself", v->names + symbol->st_name);
        int64_t at = base + (int64_t)r[i].r_offset;
        int32_t x = (int32_t)(v->place[symbol->st_shndx] + (int64_t)symbol->st_value + r[i].r_addend - at);
        memcpy(image + at, &x, sizeof x);
    }
    return true;
}

static bool link_image(mlc_codegen *cg, const char *object, const char **data, size_t *size) {
    elf_view v = {.data = object, .header = (const void *)object};
    v.section = (const void *)(object + v.header->e_shoff);
    int64_t entry = -1;
    *size = place_sections(cg, &v);
    char *image = mlc_arena_alloc(cg->arena, *size);
    for (int i = 0; i < v.header->e_shnum; i++) {
        const Elf64_Shdr *s = &v.section[i];
        if (loaded(s))
            memcpy(image + v.place[i], object + s->sh_offset, s->sh_size);
        if (s->sh_type == SHT_SYMTAB) {
            v.symbols = (const void *)(object + s->sh_offset);
            v.names = object + v.section[s->sh_link].sh_offset;
            for (size_t k = 0; k < s->sh_size / sizeof *v.symbols; k++)
                if (strcmp(v.names + v.symbols[k].st_name, "mlc_model") == 0)
                    entry = v.place[v.symbols[k].st_shndx] + (int64_t)v.symbols[k].st_value;
        }
    }
    for (int i = 0; i < v.header->e_shnum; i++) {
        const Elf64_Shdr *s = &v.section[i];
        if (s->sh_type == SHT_RELA && v.place[s->sh_info] >= 0 && !relocate(cg, &v, s, image))
            return false;
    }
    if (entry < 0)
        return mlc_error(cg->diag, "host code has no entry");
    image[0] = (char)0xe9; /* jmp rel32 */
    int32_t displacement = (int32_t)(entry - 5);
    memcpy(image + 1, &displacement, sizeof displacement);
    *data = image;
    return true;
}

bool mlc_host_image(mlc_codegen *cg, const char **data, size_t *size) {
    LLVMContextRef context = LLVMContextCreate();
    mlc_arena_defer(cg->arena, mlc_llvm_dispose_context, context);
    mlc_llvm_open(cg, context);
    LLVMModuleRef m = LLVMModuleCreateWithNameInContext("model", context);
    mlc_arena_defer(cg->arena, mlc_llvm_dispose_module, m);
    /* It is there to be compared with: quick to compile rather than quick. */
    LLVMTargetMachineRef machine = mlc_llvm_machine(cg, true, LLVMCodeGenLevelNone);
    if (!machine)
        return false;
    LLVMSetTarget(m, "x86_64-unknown-linux-gnu");
    LLVMTargetDataRef layout = LLVMCreateTargetDataLayout(machine);
    LLVMSetModuleDataLayout(m, layout);
    LLVMDisposeTargetData(layout);

    mlc_debug debug;
    mlc_debug_open(&debug, m, NULL);
    bool ok = mlc_emit_model(cg, m, &debug);
    mlc_debug_close(&debug);
    char *message = NULL;
    if (ok && LLVMVerifyModule(m, LLVMReturnStatusAction, &message))
        ok = mlc_error(cg->diag, "code generation: invalid IR: %s", message);
    LLVMDisposeMessage(message);
    const char *object;
    size_t object_size;
    return ok && mlc_llvm_emit(cg, m, machine, false, &object, &object_size) &&
           link_image(cg, object, data, size);
}
