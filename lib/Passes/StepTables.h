#ifndef MLC_STEP_TABLES_H
#define MLC_STEP_TABLES_H

#include "StepFind.h"

/* Forms of step functions that are not one multiplication. Each takes a scan of
 * every class of f and returns NULL where it does not apply. */

/* Every result in one table, one class behind the other. */
mlc_value *mlc_step_table(mlc_quant *q, const mlc_form *f, const mlc_scan *s);
/* The cheapest of what tables can do. */
mlc_value *mlc_step_any_table(mlc_quant *q, const mlc_form *f, const mlc_scan *s);
/* A binary search among the steps; for every rising function, and slower than the others. */
mlc_value *mlc_step_search(mlc_quant *q, const mlc_form *f, const mlc_scan *s);
/* Division by a power of two that rounds ties to even. */
mlc_value *mlc_step_halving(mlc_quant *q, const mlc_form *f, const mlc_scan *s);

int mlc_step_class(const mlc_form *f, int64_t i);
/* One number for each element, given one for each class. */
mlc_value *mlc_step_per_class(mlc_quant *q, const mlc_form *f, const int64_t *of_class);
/* (x * m + a) >> shift with numbers for each class. */
mlc_value *mlc_step_rescale(mlc_quant *q, const mlc_form *f, mlc_value *x, const int64_t *m, const int64_t *a,
                            int shift);

#endif
