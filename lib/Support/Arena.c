#include "mlc/arena.h"

#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * A list of blocks, newest first. Under AddressSanitizer every allocation is a
 * block of its own, so that overruns and uses after a restore are found.
 */
#if defined(__SANITIZE_ADDRESS__)
enum { BLOCK_SIZE = 0 };
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
enum { BLOCK_SIZE = 0 };
#else
enum { BLOCK_SIZE = 256 << 10 };
#endif
#else
enum { BLOCK_SIZE = 256 << 10 };
#endif

enum { ALIGNMENT = 16 };

typedef struct block {
    struct block *older;
    size_t used, size;
    _Alignas(ALIGNMENT) unsigned char data[];
} block;

typedef struct deferred {
    struct deferred *older;
    void (*fn)(void *object);
    void *object;
} deferred;

struct mlc_arena {
    block *newest;
    deferred *last;
    jmp_buf *handler;
    size_t total, cap;
};

mlc_arena *mlc_arena_create(size_t cap) {
    mlc_arena *arena = calloc(1, sizeof *arena);
    if (arena)
        arena->cap = cap;
    return arena;
}

static void free_blocks(mlc_arena *arena, const block *until) {
    while (arena->newest != until) {
        block *older = arena->newest->older;
        free(arena->newest);
        arena->newest = older;
    }
}

void mlc_arena_destroy(mlc_arena *arena) {
    if (!arena)
        return;
    for (deferred *d = arena->last; d; d = d->older)
        d->fn(d->object);
    free_blocks(arena, NULL);
    free(arena);
}

jmp_buf *mlc_arena_guard(mlc_arena *arena, jmp_buf *handler) {
    jmp_buf *previous = arena->handler;
    arena->handler = handler;
    return previous;
}

void mlc_arena_defer(mlc_arena *arena, void (*fn)(void *object), void *object) {
    deferred *d = MLC_NEW(arena, deferred);
    *d = (deferred){arena->last, fn, object};
    arena->last = d;
}

static _Noreturn void exhausted(mlc_arena *arena) {
    if (arena->handler)
        longjmp(*arena->handler, 1);
    fputs("mlc: out of memory\n", stderr);
    abort();
}

void *mlc_arena_alloc(mlc_arena *arena, size_t size) {
    if (size > arena->cap - arena->total)
        exhausted(arena);
    block *b = arena->newest;
    if (!b || size > b->size - b->used) {
        size_t room = size > BLOCK_SIZE ? size : BLOCK_SIZE;
        if (room > SIZE_MAX - sizeof *b)
            exhausted(arena);
        b = malloc(sizeof *b + room);
        if (!b)
            exhausted(arena);
        b->older = arena->newest;
        b->used = 0;
        b->size = room;
        arena->newest = b;
    }
    void *p = b->data + b->used;
    memset(p, 0, size);
    arena->total += size;
    size_t padding = -size % ALIGNMENT;
    b->used += size;
    b->used += padding < b->size - b->used ? padding : b->size - b->used;
    return p;
}

void *mlc_arena_array(mlc_arena *arena, size_t count, size_t size) {
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes))
        exhausted(arena);
    return mlc_arena_alloc(arena, bytes);
}

char *mlc_arena_strndup(mlc_arena *arena, const char *s, size_t n) {
    n = strnlen(s, n);
    if (n == SIZE_MAX)
        exhausted(arena);
    char *copy = mlc_arena_alloc(arena, n + 1);
    memcpy(copy, s, n);
    return copy;
}

char *mlc_arena_strdup(mlc_arena *arena, const char *s) {
    return mlc_arena_strndup(arena, s, strlen(s));
}

char *mlc_arena_printf(mlc_arena *arena, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    if (n < 0)
        exhausted(arena);
    char *s = mlc_arena_alloc(arena, (size_t)n + 1);
    va_start(args, fmt);
    vsnprintf(s, (size_t)n + 1, fmt, args);
    va_end(args);
    return s;
}

mlc_arena_mark mlc_arena_save(const mlc_arena *arena) {
    return (mlc_arena_mark){arena->newest, arena->newest ? arena->newest->used : 0, arena->total};
}

void mlc_arena_restore(mlc_arena *arena, mlc_arena_mark mark) {
    assert(mark.total <= arena->total);
    free_blocks(arena, mark.block);
    if (arena->newest)
        arena->newest->used = mark.used;
    arena->total = mark.total;
}
