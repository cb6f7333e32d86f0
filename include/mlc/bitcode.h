#ifndef MLC_BITCODE_H
#define MLC_BITCODE_H

#include <stddef.h>

/*
 * LLVM bitcode of bpf-helpers/NAME.bpf.c, compiled for BPF by the build and
 * embedded. Returns NULL when there is no such file.
 */
const unsigned char *mlc_bitcode_find(const char *name, size_t *size);

#endif
