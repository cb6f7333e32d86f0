#include "mlc/str.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

void mlc_str_bytes(mlc_str *s, const char *bytes, size_t n) {
    if (n >= s->cap - s->size) {
        size_t room = n < SIZE_MAX / 4 ? n : SIZE_MAX / 4;
        size_t cap = s->cap < SIZE_MAX / 4 ? s->cap * 2 + room + 64 : SIZE_MAX;
        char *data = mlc_arena_alloc(s->arena, cap);
        if (s->size)
            memcpy(data, s->data, s->size);
        s->data = data;
        s->cap = cap;
    }
    if (n)
        memcpy(s->data + s->size, bytes, n);
    s->size += n;
    s->data[s->size] = '\0';
}

void mlc_str_puts(mlc_str *s, const char *text) {
    mlc_str_bytes(s, text, strlen(text));
}

void mlc_str_char(mlc_str *s, char c) {
    mlc_str_bytes(s, &c, 1);
}

void mlc_str_printf(mlc_str *s, const char *fmt, ...) {
    char buffer[256];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(buffer, sizeof buffer, fmt, args);
    va_end(args);
    if (n < 0)
        return;
    if ((size_t)n < sizeof buffer) {
        mlc_str_bytes(s, buffer, (size_t)n);
        return;
    }
    char *big = mlc_arena_alloc(s->arena, (size_t)n + 1);
    va_start(args, fmt);
    vsnprintf(big, (size_t)n + 1, fmt, args);
    va_end(args);
    mlc_str_bytes(s, big, (size_t)n);
}
