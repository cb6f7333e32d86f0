#ifndef MLC_SUPPORT_NPY_H
#define MLC_SUPPORT_NPY_H

#include "mlc/npz.h"

#include <stdint.h>

/* The .npy format: magic, version, a Python dict as text, the elements. */
typedef struct mlc_npy {
    char kind; /* b i u f S U, as NumPy has it */
    int size;  /* bytes of an element */
    bool big_endian;
    bool fortran; /* first index fastest */
    mlc_dtype dtype;
    mlc_shape shape;
} mlc_npy;

enum { MLC_NPY_PREFIX = 12, MLC_NPY_MAX_HEADER = 1 << 16 };

/* Length of the dict and where it begins, from the first MLC_NPY_PREFIX bytes of
 * the file. NULL, or what is wrong. */
const char *mlc_npy_prefix(const uint8_t *prefix, size_t *begin, size_t *length);
/* Parses the dict; NULL, or what is wrong. */
const char *mlc_npy_header(const char *text, size_t length, mlc_npy *npy);
/* Decodes the elements; NULL, or what is wrong. */
const char *mlc_npy_decode(mlc_arena *arena, const mlc_npy *npy, const uint8_t *data, mlc_tensor **out);

/* The file for a tensor, allocated in the arena. */
uint8_t *mlc_npy_encode(mlc_arena *arena, const mlc_tensor *t, size_t *size);

#endif
