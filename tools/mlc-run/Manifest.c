#include "Manifest.h"

#include "Elf.h"

#include <math.h>
#include <string.h>

/* Bounds that keep every later size computation far from overflow. */
enum { MAX_BUFFER = 1 << 28 };

typedef struct reader {
    mlc_run *run;
    const char *where;
} reader;

static bool bad(const reader *r, const char *what) {
    return mlc_error(&r->run->diag, "%s: damaged manifest: %s", mlc_escape(r->where), what);
}

static bool get_size(const reader *r, const json_t *json, const char *key, int64_t *out) {
    const json_t *j = json_object_get(json, key);
    *out = json_integer_value(j);
    if ((j && !json_is_integer(j)) || *out < 0 || *out > MAX_BUFFER)
        return bad(r, mlc_arena_printf(r->run->arena, "'%s' is not a size", key));
    return true;
}

static const char *get_string(const json_t *json, const char *key) {
    const char *s = json_string_value(json_object_get(json, key));
    return s ? s : "";
}

static bool get_shape(const json_t *json, mlc_shape *shape, int64_t *elements) {
    size_t rank = json_array_size(json);
    if (!json_is_array(json) || rank > MLC_MAX_RANK)
        return false;
    shape->rank = (int)rank;
    *elements = 1;
    for (size_t i = 0; i < rank; i++) {
        int64_t d = json_integer_value(json_array_get(json, i));
        if (d < 1 || d > MLC_MAX_ELEMENTS / *elements)
            return false;
        shape->dim[i] = d;
        *elements *= d;
    }
    return true;
}

/* "i8" to "i64", "u8" to "u32". */
static bool get_storage(const char *type, mlc_binding *b) {
    static const struct {
        const char *name;
        int width;
        int64_t lo, hi;
    } types[] = {{"i8", 1, INT8_MIN, INT8_MAX},    {"u8", 1, 0, UINT8_MAX},
                 {"i16", 2, INT16_MIN, INT16_MAX}, {"u16", 2, 0, UINT16_MAX},
                 {"i32", 4, INT32_MIN, INT32_MAX}, {"u32", 4, 0, UINT32_MAX},
                 {"i64", 8, INT64_MIN, INT64_MAX}};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        if (!strcmp(types[i].name, type)) {
            b->width = types[i].width;
            b->is_signed = type[0] == 'i';
            b->lo = types[i].lo;
            b->hi = types[i].hi;
            return true;
        }
    return false;
}

static bool read_binding(const reader *r, const json_t *json, int64_t buffer, mlc_binding *b) {
    b->name = get_string(json, "name");
    b->dtype = mlc_dtype_from_name(get_string(json, "dtype"));
    if (!mlc_dtype_is_float(b->dtype) && !mlc_dtype_is_integer(b->dtype))
        return bad(r, "a tensor's dtype is not numeric");
    if (!get_shape(json_object_get(json, "shape"), &b->shape, &b->elements))
        return bad(r, "a tensor's shape is not a list of positive integers");
    if (!get_storage(get_string(json, "type"), b))
        return bad(r, "a tensor's type is none of i8 u8 i16 u16 i32 u32 i64");
    b->offset = json_integer_value(json_object_get(json, "offset"));
    if (b->offset < 0 || b->offset > buffer || b->elements > (buffer - b->offset) / b->width)
        return bad(r, "a tensor lies outside its buffer");
    const json_t *scale = json_object_get(json, "scale");
    b->scale = scale ? json_number_value(scale) : 1;
    if (!(b->scale > 0) || !isfinite(b->scale))
        return bad(r, "a tensor's scale is not positive");
    b->zero = json_integer_value(json_object_get(json, "zero_point"));
    const json_t *lo = json_object_get(json, "lo"), *hi = json_object_get(json, "hi");
    if (json_is_integer(lo) && json_integer_value(lo) > b->lo)
        b->lo = json_integer_value(lo);
    if (json_is_integer(hi) && json_integer_value(hi) < b->hi)
        b->hi = json_integer_value(hi);
    if (b->lo > b->hi)
        return bad(r, "a tensor's range is empty");
    return true;
}

static bool read_bindings(const reader *r, const json_t *list, int64_t buffer, mlc_binding **out, int *n) {
    *n = (int)json_array_size(list);
    *out = MLC_NEW_ARRAY(r->run->arena, *n, mlc_binding);
    for (int i = 0; i < *n; i++)
        if (!read_binding(r, json_array_get(list, (size_t)i), buffer, &(*out)[i]))
            return false;
    return true;
}

/* Packet programs fill their inputs from the packet: nothing to bind. */
static bool read_inputs(const reader *r, const json_t *json, mlc_manifest *m) {
    if (json_object_get(json, "features"))
        return true;
    return read_bindings(r, json_object_get(json, "inputs"), m->in_size, &m->inputs, &m->n_inputs);
}

static void read_names(mlc_run *run, const json_t *json, mlc_manifest *m) {
    const json_t *list = json_object_get(json, "counters");
    m->n_counters = (int)json_array_size(list);
    m->counters = MLC_NEW_ARRAY(run->arena, m->n_counters, const char *);
    for (int i = 0; i < m->n_counters; i++) {
        const char *s = json_string_value(json_array_get(list, (size_t)i));
        m->counters[i] = s ? s : "";
    }
    list = json_object_get(json, "decisions");
    m->n_decisions = (int)json_array_size(list);
    m->decisions = MLC_NEW_ARRAY(run->arena, m->n_decisions, mlc_decision);
    for (int i = 0; i < m->n_decisions; i++) {
        const json_t *d = json_array_get(list, (size_t)i);
        m->decisions[i] = (mlc_decision){get_string(d, "name"), get_string(d, "verdict")};
    }
    list = json_object_get(json, "nodes");
    m->n_nodes = (int)json_array_size(list);
    m->nodes = MLC_NEW_ARRAY(run->arena, m->n_nodes, mlc_node_line);
    for (int i = 0; i < m->n_nodes; i++) {
        const json_t *node = json_array_get(list, (size_t)i);
        m->nodes[i] =
            (mlc_node_line){(int)json_integer_value(json_object_get(node, "line")), get_string(node, "name"),
                            get_string(node, "op"), get_string(node, "text")};
    }
}

mlc_manifest *mlc_manifest_parse(mlc_run *run, const char *where, json_t *json) {
    const reader r = {run, where};
    mlc_manifest *m = MLC_NEW(run->arena, mlc_manifest);
    m->json = json;
    m->target = get_string(json, "target");
    m->model = get_string(json_object_get(json, "model"), "name");
    if (!get_size(&r, json, "in_size", &m->in_size) || !get_size(&r, json, "out_size", &m->out_size) ||
        !get_size(&r, json, "scratch_size", &m->scratch_size) ||
        !read_inputs(&r, json, m) ||
        !read_bindings(&r, json_object_get(json, "outputs"), m->out_size, &m->outputs, &m->n_outputs))
        return NULL;
    read_names(run, json, m);
    return m;
}

bool mlc_manifest_read(mlc_run *run, const char *path, mlc_manifest **manifest) {
    void *data;
    size_t size;
    *manifest = NULL;
    if (!mlc_elf_section(run, path, ".mlc.manifest", &data, &size))
        return false;
    if (!data)
        return true;
    size = strnlen(data, size);
    json_error_t error;
    json_t *json = mlc_keep_json(run, json_loadb(data, size, JSON_REJECT_DUPLICATES, &error));
    if (!json)
        return bad(&(reader){run, path},
                   mlc_arena_printf(run->arena, "line %d: %s", error.line, mlc_escape(error.text)));
    *manifest = mlc_manifest_parse(run, path, json);
    return *manifest != NULL;
}
