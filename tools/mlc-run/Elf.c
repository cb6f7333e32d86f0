#include "Elf.h"

#include <errno.h>
#include <fcntl.h>
#include <gelf.h>
#include <libelf.h>
#include <string.h>
#include <unistd.h>

typedef struct elf_file {
    int fd;
    Elf *elf;
    size_t names; /* section of the section names */
} elf_file;

static void close_elf(elf_file *file) {
    elf_end(file->elf);
    close(file->fd);
}

static bool open_elf(mlc_run *run, const char *path, elf_file *file) {
    elf_version(EV_CURRENT);
    file->fd = open(path, O_RDONLY | O_CLOEXEC);
    if (file->fd < 0)
        return mlc_error(&run->diag, "%s: %s", mlc_escape(path), mlc_errno(errno));
    file->elf = elf_begin(file->fd, ELF_C_READ, NULL);
    if (elf_kind(file->elf) == ELF_K_ELF && elf_getshdrstrndx(file->elf, &file->names) == 0)
        return true;
    close_elf(file);
    return mlc_error(&run->diag, "%s: not an ELF object (compile a model with mlc first)", mlc_escape(path));
}

static Elf_Scn *find_section(elf_file *file, const char *section, GElf_Shdr *header) {
    Elf_Scn *scn = NULL;
    while ((scn = elf_nextscn(file->elf, scn))) {
        if (!gelf_getshdr(scn, header))
            continue;
        const char *name = elf_strptr(file->elf, file->names, header->sh_name);
        if (name && !strcmp(name, section))
            return scn;
    }
    return NULL;
}

bool mlc_elf_section(mlc_run *run, const char *path, const char *section, void **data, size_t *size) {
    elf_file file;
    *data = NULL;
    *size = 0;
    if (!open_elf(run, path, &file))
        return false;
    GElf_Shdr header;
    Elf_Scn *scn = find_section(&file, section, &header);
    Elf_Data *content = scn ? elf_getdata(scn, NULL) : NULL;
    bool damaged = scn && (!content || !content->d_buf);
    if (content && content->d_buf) {
        *data = mlc_arena_alloc(run->arena, content->d_size + 1);
        memcpy(*data, content->d_buf, content->d_size);
        *size = content->d_size;
    }
    close_elf(&file);
    if (damaged)
        return mlc_error(&run->diag, "%s: section %s is empty or damaged", mlc_escape(path), section);
    return true;
}

static bool find_variable(elf_file *file, size_t in, const char *name, size_t *offset) {
    Elf_Scn *scn = NULL;
    GElf_Shdr header;
    while ((scn = elf_nextscn(file->elf, scn))) {
        if (!gelf_getshdr(scn, &header) || header.sh_type != SHT_SYMTAB)
            continue;
        Elf_Data *data = elf_getdata(scn, NULL);
        GElf_Sym symbol;
        for (int i = 0; data && gelf_getsym(data, i, &symbol); i++) {
            const char *s = elf_strptr(file->elf, header.sh_link, symbol.st_name);
            if (s && !strcmp(s, name) && symbol.st_shndx == in && symbol.st_size == 4) {
                *offset = symbol.st_value;
                return true;
            }
        }
    }
    return false;
}

bool mlc_elf_variable(mlc_run *run, const char *path, const char *section, const char *name, size_t *offset) {
    elf_file file;
    if (!open_elf(run, path, &file))
        return false;
    GElf_Shdr header;
    Elf_Scn *scn = find_section(&file, section, &header);
    bool found = scn && find_variable(&file, elf_ndxscn(scn), name, offset);
    close_elf(&file);
    if (!found)
        return mlc_error(&run->diag,
                         "%s: no 32-bit variable '%s' in %s; was the object made with --target=bpf-raw?",
                         mlc_escape(path), name, section);
    return true;
}
