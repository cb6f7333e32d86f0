#ifndef MLC_NPZ_H
#define MLC_NPZ_H

#include "mlc/graph.h"

/*
 * Arrays of NumPy (.npz, .npy) and tables of numbers (.csv). No part of this
 * depends on LLVM or protobuf. All functions report errors naming file and
 * array, and return NULL or false then.
 */
typedef struct mlc_array {
    const char *name;
    const mlc_tensor *tensor;
} mlc_array;

typedef struct mlc_arrays {
    int n;
    const mlc_array *array; /* in the order of the file */
} mlc_arrays;

/*
 * Reads a .npz archive, or a .npy file as one array called "". Types: bool,
 * integers, float16 to float64, byte and unicode strings; either byte order,
 * C or Fortran layout. Numbers beyond int64 are an error.
 */
const mlc_arrays *mlc_npz_read(mlc_arena *arena, mlc_diag *diag, const char *path);
/* NULL when absent. */
const mlc_tensor *mlc_arrays_find(const mlc_arrays *arrays, const char *name);

/* Writes a .npz archive; the file appears complete or not at all. 4-bit integers
 * are written as 8-bit ones, float16 and bfloat16 as float32. The same arrays
 * give the same bytes. */
bool mlc_npz_write(mlc_arena *arena, mlc_diag *diag, const char *path, const mlc_array *array, int n);

/*
 * Reads comma-separated numbers into a double tensor [rows,columns]. A first row
 * without numbers names the columns; *header then has `columns` names, else it is
 * NULL. `header` may be NULL.
 */
const mlc_tensor *mlc_csv_read(mlc_arena *arena, mlc_diag *diag, const char *path,
                               const char *const **header);

#endif
