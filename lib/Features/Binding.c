/* Feature bindings: text or JSON to a list of places in the frame. */
#include "Features.h"
#include "Json.h"

#include "mlc/features.h"

#include <string.h>

typedef struct parser {
    mlc_arena *arena;
    mlc_diag *diag;
    mlc_feature_binding *binding;
    int capacity;
} parser;

static bool add(parser *p, mlc_feature feature) {
    mlc_feature_binding *b = p->binding;
    if (b->n == MLC_MAX_FEATURES)
        return mlc_error(p->diag, "features: more than %d elements", MLC_MAX_FEATURES);
    if (b->n == p->capacity) {
        p->capacity = p->capacity ? p->capacity * 2 : 64;
        mlc_feature *grown = MLC_NEW_ARRAY(p->arena, p->capacity, mlc_feature);
        if (b->n)
            memcpy(grown, b->features, (size_t)b->n * sizeof *grown);
        b->features = grown;
    }
    b->features[b->n++] = feature;
    return true;
}

static bool add_builtin(parser *p, int i) {
    const mlc_builtin *b = &mlc_builtins()[i];
    p->binding->groups |= b->needs | MLC_GROUP_HEADER;
    p->binding->builtins |= (uint64_t)1 << i;
    return add(p, (mlc_feature){.source = MLC_FEATURE_NAMED,
                                .offset = 2 * (uint32_t)i,
                                .width = 2,
                                .lo = b->lo,
                                .hi = b->hi,
                                .name = b->name});
}

static bool unknown_name(parser *p, const char *name) {
    const char *candidates[MLC_N_BUILTINS + 8];
    int n = 0;
    for (int i = 0; i < MLC_N_BUILTINS; i++)
        candidates[n++] = mlc_builtins()[i].name;
    for (const mlc_feature_set *s = mlc_feature_sets; s->name; s++)
        candidates[n++] = s->name;
    const char *close = mlc_closest(name, candidates, n);
    if (close)
        mlc_error(p->diag, "features: '%s' is unknown; did you mean '%s'?", mlc_escape(name), close);
    else
        mlc_error(p->diag, "features: '%s' is unknown", mlc_escape(name));
    return mlc_note(p->diag, "mlc --list-features explains all of them");
}

static bool add_named(parser *p, const char *name) {
    for (int i = 0; i < MLC_N_BUILTINS; i++)
        if (strcmp(name, mlc_builtins()[i].name) == 0)
            return add_builtin(p, i);
    for (const mlc_feature_set *s = mlc_feature_sets; s->name; s++) {
        if (strcmp(name, s->name) != 0)
            continue;
        for (int i = 0; i < MLC_N_BUILTINS; i++)
            if (s->builtins >> i & 1 && !add_builtin(p, i))
                return false;
        return true;
    }
    return unknown_name(p, name);
}

static const struct {
    const char *name;
    mlc_feature type;
} raw_types[] = {
    {"u8", {.width = 1, .lo = 0, .hi = UINT8_MAX}},
    {"i8", {.width = 1, .is_signed = true, .lo = INT8_MIN, .hi = INT8_MAX}},
    {"u16le", {.width = 2, .lo = 0, .hi = UINT16_MAX}},
    {"u16be", {.width = 2, .big_endian = true, .lo = 0, .hi = UINT16_MAX}},
    {"i16le", {.width = 2, .is_signed = true, .lo = INT16_MIN, .hi = INT16_MAX}},
    {"i16be", {.width = 2, .is_signed = true, .big_endian = true, .lo = INT16_MIN, .hi = INT16_MAX}},
    {"u32le", {.width = 4, .lo = 0, .hi = UINT32_MAX}},
    {"u32be", {.width = 4, .big_endian = true, .lo = 0, .hi = UINT32_MAX}},
    {"i32le", {.width = 4, .is_signed = true, .lo = INT32_MIN, .hi = INT32_MAX}},
    {"i32be", {.width = 4, .is_signed = true, .big_endian = true, .lo = INT32_MIN, .hi = INT32_MAX}},
};

/* A decimal number up to a bound far from overflow; NULL when there is none. */
static const char *parse_number(const char *s, uint32_t *out) {
    if (*s < '0' || *s > '9')
        return NULL;
    uint32_t x = 0;
    for (; *s >= '0' && *s <= '9'; s++)
        x = x > 1000000 ? x : x * 10 + (uint32_t)(*s - '0');
    *out = x;
    return s;
}

/* Records in the binding how far the area reaches; offsets stay absolute until
 * the binding is complete. */
static bool add_raw_run(parser *p, mlc_feature type, const char *type_name, uint32_t offset, uint32_t count,
                        const char *item) {
    mlc_feature_binding *b = p->binding;
    bool payload = type.source == MLC_FEATURE_PAYLOAD;
    uint32_t width = (uint32_t)type.width;
    if (offset > MLC_MAX_PACKET_BYTE || count > (MLC_MAX_PACKET_BYTE - offset) / width)
        return mlc_error(p->diag, "features: '%s' reaches beyond byte %d", mlc_escape(item),
                         MLC_MAX_PACKET_BYTE);
    for (uint32_t i = 0; i < count; i++) {
        type.offset = offset + i * width;
        type.name =
            mlc_arena_printf(p->arena, "%s.%s@%u", payload ? "payload" : "pkt", type_name, type.offset);
        if (!add(p, type))
            return false;
    }
    uint32_t *begin = payload ? &b->payload_off : &b->pkt_begin,
             *end = payload ? &b->payload_len : &b->pkt_end;
    if (*end == 0 || offset < *begin)
        *begin = offset;
    if (offset + count * width > *end)
        *end = offset + count * width;
    b->groups |= payload ? MLC_GROUP_PAYLOAD | MLC_GROUP_HEADER : MLC_GROUP_PACKET_BYTES;
    return true;
}

static bool add_raw(parser *p, const char *item) {
    const char *dot = strchr(item, '.'), *at = strchr(item, '@');
    mlc_feature_source source = dot - item == 3 ? MLC_FEATURE_PACKET : MLC_FEATURE_PAYLOAD;
    uint32_t offset = 0, count = 1;
    const char *rest = at && at > dot ? parse_number(at + 1, &offset) : NULL;
    if (rest && *rest == '*')
        rest = parse_number(rest + 1, &count);
    if (!rest || *rest || count == 0) {
        mlc_error(p->diag, "features: '%s' is not of the form pkt.TYPE@OFF*COUNT or payload.TYPE@OFF*COUNT",
                  mlc_escape(item));
        return mlc_note(p->diag,
                        "for example pkt.u32le@0*12: 12 numbers from the first byte of the packet on");
    }
    const char *type_name = mlc_arena_strndup(p->arena, dot + 1, (size_t)(at - dot) - 1);
    for (size_t i = 0; i < sizeof raw_types / sizeof raw_types[0]; i++) {
        if (strcmp(type_name, raw_types[i].name) != 0)
            continue;
        mlc_feature type = raw_types[i].type;
        type.source = source;
        return add_raw_run(p, type, raw_types[i].name, offset, count, item);
    }
    return mlc_error(
        p->diag, "features: '%s': type '%s' is none of u8 i8 u16le u16be i16le i16be u32le u32be i32le i32be",
        mlc_escape(item), mlc_escape(type_name));
}

static bool is_space(char c) {
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static bool add_item(parser *p, const char *begin, const char *end) {
    while (begin < end && is_space(*begin))
        begin++;
    while (end > begin && is_space(end[-1]))
        end--;
    if (begin == end)
        return mlc_error(p->diag, "features: an empty name in the list");
    const char *item = mlc_arena_strndup(p->arena, begin, (size_t)(end - begin));
    bool raw = strncmp(item, "pkt.", 4) == 0 || strncmp(item, "payload.", 8) == 0;
    return raw ? add_raw(p, item) : add_named(p, item);
}

static bool add_list(parser *p, const char *list) {
    for (;;) {
        const char *end = list + strcspn(list, ",");
        if (!add_item(p, list, end))
            return false;
        if (!*end)
            return true;
        list = end + 1;
    }
}

static bool add_array(parser *p, const json_t *array) {
    if (!json_is_array(array) || json_array_size(array) == 0)
        return mlc_error(p->diag, "features: JSON must be an array of names, {\"features\": [...]} or "
                                  "{\"INPUT\": [...], ...}");
    size_t i;
    json_t *element;
    json_array_foreach(array, i, element) {
        if (!json_is_string(element))
            return mlc_error(p->diag, "features: element %zu of the JSON array is not a string", i);
        if (!add_list(p, json_string_value(element)))
            return false;
    }
    return true;
}

static bool add_input(parser *p, const char *name, const json_t *array) {
    mlc_feature_input *input = &p->binding->inputs[p->binding->n_inputs++];
    *input =
        (mlc_feature_input){.name = name ? mlc_arena_strdup(p->arena, name) : NULL, .first = p->binding->n};
    if (!add_array(p, array))
        return false;
    input->n = p->binding->n - input->first;
    return true;
}

static bool add_json(parser *p, json_t *json) {
    if (!json)
        return false;
    size_t n = json_is_object(json) ? json_object_size(json) : 0;
    p->binding->inputs = MLC_NEW_ARRAY(p->arena, n + 1, mlc_feature_input);
    json_t *only = n == 1 ? json_object_get(json, "features") : NULL;
    if (only || n == 0)
        return add_input(p, NULL, only ? only : json);
    const char *name;
    json_t *array;
    json_object_foreach(json, name, array) if (!add_input(p, name, array)) return false;
    return true;
}

static bool add_text(parser *p, const char *spec) {
    p->binding->inputs = MLC_NEW(p->arena, mlc_feature_input);
    if (!add_list(p, spec))
        return false;
    p->binding->inputs[0].n = p->binding->n;
    p->binding->n_inputs = 1;
    return true;
}

static void finish(mlc_feature_binding *b) {
    if (b->payload_len)
        b->payload_len -= b->payload_off;
    for (int i = 0; i < b->n; i++) {
        if (b->features[i].source == MLC_FEATURE_PACKET)
            b->features[i].offset -= b->pkt_begin;
        else if (b->features[i].source == MLC_FEATURE_PAYLOAD)
            b->features[i].offset -= b->payload_off;
    }
}

static bool parse(mlc_arena *arena, mlc_diag *diag, const char *spec, const char *path,
                  mlc_feature_binding **out) {
    parser p = {.arena = arena, .diag = diag, .binding = MLC_NEW(arena, mlc_feature_binding)};
    bool ok;
    if (path)
        ok = add_json(&p, mlc_json_load(arena, diag, "features", path));
    else if (mlc_is_json(spec))
        ok = add_json(&p, mlc_json_parse(arena, diag, "features", spec));
    else
        ok = add_text(&p, spec);
    if (!ok)
        return false;
    finish(p.binding);
    *out = p.binding;
    return true;
}

bool mlc_features_parse(mlc_arena *arena, mlc_diag *diag, const char *spec, mlc_feature_binding **out) {
    return parse(arena, diag, spec, NULL, out);
}

bool mlc_features_parse_option(mlc_arena *arena, mlc_diag *diag, const char *spec,
                               mlc_feature_binding **out) {
    size_t n = strlen(spec);
    bool is_path = !mlc_is_json(spec) && (strchr(spec, '/') || (n > 5 && strcmp(spec + n - 5, ".json") == 0));
    return parse(arena, diag, spec, is_path ? spec : NULL, out);
}
