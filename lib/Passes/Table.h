#ifndef MLC_TABLE_H
#define MLC_TABLE_H

#include "Quant.h"

/*
 * A table of a real function over integers first..last, with linear interpolation.
 * Its cells are of equal size, or grow with the distance u from one end: the first
 * 2^octave of them have size 1, and from there on each octave of u has as many.
 * That suits functions that are steep at an end, as the logarithm is.
 */
typedef enum mlc_spacing { MLC_UNIFORM, MLC_FROM_FIRST, MLC_FROM_LAST } mlc_spacing;

typedef struct mlc_table {
    mlc_spacing spacing;
    int64_t first, last;
    int shift;    /* the position's fraction bits */
    int octave;   /* log2 of the cells per octave, unless uniform */
    int64_t n;    /* entries */
    double scale; /* of the entries */
    int64_t *entries;
    double err;    /* |table - function| at the integers first..last */
    double size;   /* of the function: largest absolute value */
    int64_t worst; /* the cell with the largest error begins at this integer */
} mlc_table;

/* Bits of first..last that a table can tell apart. */
enum { MLC_TABLE_BITS = 40 };

/*
 * The smallest table of fn(x * scale) for x in first..last that is accurate enough,
 * otherwise the most accurate one. Reports where the function is not finite.
 */
bool mlc_table_build(mlc_quant *q, mlc_real_fn fn, const void *user, double scale, int64_t first,
                     int64_t last, mlc_table *t);
/* Whether the table is accurate enough. */
bool mlc_table_good(const mlc_table *t);
/* The nodes that look v up, which lies in first..last. The result is exact as far
 * as its err goes: that is left to the caller. */
mlc_value *mlc_table_apply(mlc_quant *q, mlc_value *v, const mlc_table *t);

#endif
