#ifndef MLC_RUN_PACKETS_H
#define MLC_RUN_PACKETS_H

#include "Run.h"

#include <stddef.h>
#include <stdint.h>

/* What one test run of an XDP program takes: a page less the kernel's head- and tailroom. */
enum { MLC_MIN_PACKET = 14, MLC_MAX_PACKET = 3072 };

/* The Ethernet packets of a capture. */
typedef struct mlc_packets {
    const uint8_t **data;
    uint32_t *size; /* captured bytes, MLC_MIN_PACKET..MLC_MAX_PACKET */
    uint64_t *time; /* ns */
    int64_t n;
} mlc_packets;

/* The name ends in .pcap or .cap. */
bool mlc_is_capture(const char *path);

/*
 * Reads a classic pcap file of Ethernet frames; warns of frames outside the sizes
 * above, which are left out. Returns false after reporting; n is at least 1.
 */
bool mlc_packets_read(mlc_run *run, const char *path, mlc_packets *packets);

/* The verdict of XDP program `fd` on packet `i`. */
bool mlc_packet_run(mlc_run *run, int fd, const mlc_packets *packets, int64_t i, int64_t *verdict);

/* "XDP_DROP", or "other" for what is no verdict. */
const char *mlc_verdict_name(int64_t verdict);

/* How often each verdict was given: {"XDP_DROP": 12, ...}; a new reference. */
json_t *mlc_verdicts_json(const int64_t *verdicts, int64_t n);

#endif
