#ifndef MLC_RUN_ELF_H
#define MLC_RUN_ELF_H

#include "Run.h"

#include <stdint.h>

/* Reads an ELF file's own parts, beside what libbpf does with it. All return
 * false after reporting. */

/* The section's bytes in the arena; *data is NULL when there is no such section. */
bool mlc_elf_section(mlc_run *run, const char *path, const char *section, void **data, size_t *size);

/* Offset of the 4-byte variable `name` in `section`. */
bool mlc_elf_variable(mlc_run *run, const char *path, const char *section, const char *name, size_t *offset);

#endif
