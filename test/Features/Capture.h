/* Ethernet captures in classic pcap format, little-endian. */
#ifndef CAPTURE_H
#define CAPTURE_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct captured {
    uint64_t time; /* ns */
    const uint8_t *data;
    size_t n;
} captured;

typedef struct capture {
    uint8_t *bytes;
    captured *packets;
    int n;
} capture;

static inline uint32_t capture_u32(const uint8_t *p) {
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static inline int capture_read(capture *c, const char *path) {
    FILE *f = fopen(path, "rb");
    if (!f || fseek(f, 0, SEEK_END))
        return 0;
    size_t size = (size_t)ftell(f), at = 24;
    rewind(f);
    *c = (capture){.bytes = malloc(size + 1), .packets = calloc(size / 16 + 1, sizeof(captured))};
    if (!c->bytes || !c->packets || fread(c->bytes, 1, size, f) != size || size < at)
        return 0;
    fclose(f);
    uint32_t magic = capture_u32(c->bytes), unit = magic == 0xa1b23c4d ? 1 : 1000;
    if ((unit == 1000 && magic != 0xa1b2c3d4) || capture_u32(c->bytes + 20) != 1)
        return 0;
    while (at + 16 <= size) {
        const uint8_t *record = c->bytes + at;
        uint32_t n = capture_u32(record + 8);
        at += 16;
        if (n > size - at)
            break;
        c->packets[c->n++] =
            (captured){.time = capture_u32(record) * 1000000000ull + (uint64_t)capture_u32(record + 4) * unit,
                       .data = c->bytes + at,
                       .n = n};
        at += n;
    }
    return 1;
}

static inline void capture_free(capture *c) {
    free(c->bytes);
    free(c->packets);
}

#endif
