#include "Json.h"

#include <string.h>

bool mlc_is_json(const char *text) {
    text += strspn(text, " \t\r\n");
    return *text == '{' || *text == '[';
}

static void release(void *slot) {
    json_decref(*(json_t **)slot);
}

/* Registered before there is anything to release: the arena may give up at any allocation. */
static json_t **new_slot(mlc_arena *arena) {
    json_t **slot = MLC_NEW(arena, json_t *);
    mlc_arena_defer(arena, release, slot);
    return slot;
}

static json_t *check(mlc_diag *diag, const char *what, json_t *json, const json_error_t *error) {
    if (!json && error->line < 0)
        mlc_error(diag, "%s: %s", what, mlc_escape(error->text));
    else if (!json)
        mlc_error(diag, "%s: not valid JSON: line %d: %s", what, error->line, mlc_escape(error->text));
    return json;
}

json_t *mlc_json_parse(mlc_arena *arena, mlc_diag *diag, const char *what, const char *text) {
    json_error_t error;
    json_t **slot = new_slot(arena);
    *slot = json_loads(text, JSON_REJECT_DUPLICATES, &error);
    return check(diag, what, *slot, &error);
}

json_t *mlc_json_load(mlc_arena *arena, mlc_diag *diag, const char *what, const char *path) {
    json_error_t error;
    json_t **slot = new_slot(arena);
    *slot = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
    return check(diag, what, *slot, &error);
}
