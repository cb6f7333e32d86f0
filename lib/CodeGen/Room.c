#include "Room.h"

struct mlc_room_block {
    int64_t offset, size;
    int until;
    mlc_room_block *next;
};

static void leave(mlc_room *room, int position) {
    for (mlc_room_block **b = &room->alive; *b;)
        if ((*b)->until < position)
            *b = (*b)->next;
        else
            b = &(*b)->next;
}

int64_t mlc_room_take(mlc_arena *arena, mlc_room *room, int from, int until, int64_t size) {
    leave(room, from);
    int64_t at = 0;
    mlc_room_block **b = &room->alive;
    for (; *b && (*b)->offset - at < size; b = &(*b)->next)
        at = (*b)->offset + (*b)->size;
    if (at + size > room->size)
        return -1;
    mlc_room_block *n = MLC_NEW(arena, mlc_room_block);
    *n = (mlc_room_block){.offset = at, .size = size, .until = until, .next = *b};
    *b = n;
    if (at + size > room->top)
        room->top = at + size;
    return at;
}
