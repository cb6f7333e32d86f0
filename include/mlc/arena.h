#ifndef MLC_ARENA_H
#define MLC_ARENA_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

/*
 * Bump allocator. One arena lives as long as one compilation; nothing in it is
 * freed on its own. Memory is zeroed.
 *
 * Exhaustion (malloc failure, or the cap reached by a hostile model) does not
 * return: it jumps to the handler armed by mlc_arena_guard, which every entry
 * point of the library sets up. Code between therefore needs no out-of-memory
 * paths, and must not hold resources outside the arena across an allocation
 * unless they are registered with mlc_arena_defer. An arena without a handler
 * aborts the process on exhaustion.
 */
typedef struct mlc_arena mlc_arena;

/* Returns NULL when out of memory. `cap` bounds the bytes handed out. */
mlc_arena *mlc_arena_create(size_t cap);

/* Runs the deferred functions, last first, and frees everything. NULL is allowed. */
void mlc_arena_destroy(mlc_arena *arena);

/* Arms `handler`; the previous handler is returned and must be restored by the caller. */
jmp_buf *mlc_arena_guard(mlc_arena *arena, jmp_buf *handler);

/* Runs fn(object) when the arena is destroyed. */
void mlc_arena_defer(mlc_arena *arena, void (*fn)(void *object), void *object);

void *mlc_arena_alloc(mlc_arena *arena, size_t size);

/* count * size with overflow checked: an overflow is exhaustion. */
void *mlc_arena_array(mlc_arena *arena, size_t count, size_t size);

char *mlc_arena_strndup(mlc_arena *arena, const char *s, size_t n);
char *mlc_arena_strdup(mlc_arena *arena, const char *s);
char *mlc_arena_printf(mlc_arena *arena, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* A point to return to: everything allocated after it is released. Not to be
 * used across mlc_arena_defer. */
typedef struct mlc_arena_mark {
    void *block;
    size_t used, total;
} mlc_arena_mark;
mlc_arena_mark mlc_arena_save(const mlc_arena *arena);
void mlc_arena_restore(mlc_arena *arena, mlc_arena_mark mark);

#define MLC_NEW(arena, type) ((type *)mlc_arena_alloc((arena), sizeof(type)))
#define MLC_NEW_ARRAY(arena, count, type) ((type *)mlc_arena_array((arena), (size_t)(count), sizeof(type)))

#endif
