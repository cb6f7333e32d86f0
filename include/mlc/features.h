#ifndef MLC_FEATURES_H
#define MLC_FEATURES_H

#include "mlc/arena.h"
#include "mlc/diag.h"
#include "mlc/packet.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/*
 * Where the inputs of a packet filter's model come from: built-in features
 * (mlc/features.def), raw packet bytes and payload bytes.
 *
 * A binding is written as a comma-separated list, or as JSON: an array of such
 * strings, {"features": [...]}, or, for models with several inputs, one key for
 * each input, {"x": [...], "y": [...]}. What it may name:
 *
 *   is_tcp                  a built-in feature
 *   full43                  a set of them
 *   pkt.u32le@26*3          COUNT elements of raw packet from byte OFF on
 *   payload.u8@0*64         the same from the end of the L4 header, zero-padded
 *
 * Raw types are u8, i8, and u16, i16, u32, i32 followed by `le` or `be`.
 */
enum { MLC_MAX_FEATURES = 65536 }; /* elements of one binding */

typedef struct mlc_builtin {
    const char *name;
    unsigned group; /* the one it is listed under */
    unsigned needs; /* all groups whose state it is computed from */
    int64_t lo, hi;
    const char *doc;
} mlc_builtin;

/* MLC_N_BUILTINS rows; feature i is the u16 at byte 2*i of the feature area. */
const mlc_builtin *mlc_builtins(void);

typedef enum mlc_feature_source {
    MLC_FEATURE_NAMED,
    MLC_FEATURE_PACKET,
    MLC_FEATURE_PAYLOAD
} mlc_feature_source;

/* One element of a model input. */
typedef struct mlc_feature {
    mlc_feature_source source;
    uint32_t offset; /* bytes from the start of its area of the frame; not necessarily aligned */
    int width;       /* bytes: 1, 2, 4 */
    bool is_signed, big_endian;
    int64_t lo, hi;   /* holds for every packet */
    const char *name; /* "is_tcp", "pkt.u16be@36"; safe to print */
} mlc_feature;

/* A run of `n` features bound to one input of the model. */
typedef struct mlc_feature_input {
    const char *name; /* as in the binding: escape before printing; NULL: the model's inputs in their order */
    int first, n;
} mlc_feature_input;

typedef struct mlc_feature_binding {
    mlc_feature *features;
    int n;
    mlc_feature_input *inputs; /* one without a name, or all with different names */
    int n_inputs;
    unsigned groups;   /* MLC_GROUP_* */
    uint64_t builtins; /* bit i: built-in i is used */
    /* The packet area holds bytes [pkt_begin,pkt_end) of the packet, the payload
     * area bytes [payload_off, payload_off+payload_len) of the payload. All 0
     * where there are no such features. */
    uint32_t pkt_begin, pkt_end;
    uint32_t payload_off, payload_len;
} mlc_feature_binding;

/* Parses a binding: a list or JSON text, as found in a model's metadata. Never
 * opens a file. Reports and returns false on any error. */
bool mlc_features_parse(mlc_arena *arena, mlc_diag *diag, const char *spec, mlc_feature_binding **out);

/* The same for the command line, where `spec` may also be the path of a JSON
 * file: it then ends in ".json" or contains a slash. */
bool mlc_features_parse_option(mlc_arena *arena, mlc_diag *diag, const char *spec, mlc_feature_binding **out);

/* What --list-features prints. */
void mlc_features_list(FILE *f);

/* "not-ipv4", "bad-header", "short-packet", "no-memory", "no-frame". */
const char *mlc_packet_error_name(int error);

#endif
