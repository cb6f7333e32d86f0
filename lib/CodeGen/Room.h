#ifndef MLC_CODEGEN_ROOM_H
#define MLC_CODEGEN_ROOM_H

#include "mlc/arena.h"

#include <stdint.h>

/* Memory that is taken for periods of time: positions in the order of nodes. */
typedef struct mlc_room_block mlc_room_block;

typedef struct mlc_room {
    int64_t size, top;     /* bytes there are, bytes ever taken */
    mlc_room_block *alive; /* sorted by offset */
} mlc_room;

/* First fit for `size` bytes from position `from`, which is not before that of the last call, to
 * position `until`. Returns their offset; -1: there is no place. */
int64_t mlc_room_take(mlc_arena *arena, mlc_room *room, int from, int until, int64_t size);

#endif
