#ifndef MLC_STR_H
#define MLC_STR_H

#include "mlc/arena.h"

/* A string that grows in an arena: start with {.arena = arena}. `data` is NUL
 * terminated once anything was appended, and may move with every append. */
typedef struct mlc_str {
    mlc_arena *arena;
    char *data;
    size_t size, cap;
} mlc_str;

void mlc_str_bytes(mlc_str *s, const char *bytes, size_t n);
void mlc_str_puts(mlc_str *s, const char *text);
void mlc_str_char(mlc_str *s, char c);
void mlc_str_printf(mlc_str *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
