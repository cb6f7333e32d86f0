#ifndef MLC_FEATURES_JSON_H
#define MLC_FEATURES_JSON_H

#include "mlc/arena.h"
#include "mlc/diag.h"

#include <jansson.h>

/* JSON text: the first character that is not a space is { or [. */
bool mlc_is_json(const char *text);

/* The value lives as long as the arena. NULL after reporting; `what` names the
 * text in the message. */
json_t *mlc_json_parse(mlc_arena *arena, mlc_diag *diag, const char *what, const char *text);
json_t *mlc_json_load(mlc_arena *arena, mlc_diag *diag, const char *what, const char *path);

#endif
