#include "Import.h"

#include "mlc/bytes.h"

#include <assert.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>

/* Where the elements of a type are, besides raw_data: one of TensorProto's typed fields. */
enum field { FLOATS, INT32S, INT64S, DOUBLES, UINT64S, STRINGS };

static const struct format {
    mlc_dtype dtype;
    int bits;
    enum field field;
} formats[] = {
    {MLC_FLOAT, 32, FLOATS}, {MLC_DOUBLE, 64, DOUBLES}, {MLC_FLOAT16, 16, INT32S}, {MLC_BFLOAT16, 16, INT32S},
    {MLC_INT8, 8, INT32S},   {MLC_UINT8, 8, INT32S},    {MLC_INT16, 16, INT32S},   {MLC_UINT16, 16, INT32S},
    {MLC_INT32, 32, INT32S}, {MLC_UINT32, 32, UINT64S}, {MLC_INT64, 64, INT64S},   {MLC_UINT64, 64, UINT64S},
    {MLC_BOOL, 8, INT32S},   {MLC_INT4, 4, INT32S},     {MLC_UINT4, 4, INT32S},    {MLC_STRING, 0, STRINGS},
};

static const char *const data_type_names[] = {
    "undefined", "float",      "uint8",      "int8",         "uint16",         "int16",      "int32",
    "int64",     "string",     "bool",       "float16",      "double",         "uint32",     "uint64",
    "complex64", "complex128", "bfloat16",   "float8e4m3fn", "float8e4m3fnuz", "float8e5m2", "float8e5m2fnuz",
    "uint4",     "int4",       "float4e2m1", "float8e8m0",   "uint2",          "int2",
};

const char *mlc_data_type_name(int32_t data_type) {
    bool known = data_type >= 0 && (size_t)data_type < sizeof data_type_names / sizeof data_type_names[0];
    return known ? data_type_names[data_type] : "unknown";
}

static const struct format *find_format(int32_t data_type) {
    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++)
        if ((int32_t)formats[i].dtype == data_type)
            return &formats[i];
    return NULL;
}

mlc_dtype mlc_import_dtype(int32_t data_type) {
    const struct format *format = find_format(data_type);
    return format ? format->dtype : MLC_UNDEFINED;
}

bool mlc_fail(mlc_importer *im, const mlc_subject *about, const char *fmt, ...) {
    char text[1024];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    const char *name = mlc_escape(about->name);
    return about->node ? mlc_error_at(im->diag, about->node, "%s '%s' %s", about->kind, name, text)
                       : mlc_error(im->diag, "%s '%s' %s", about->kind, name, text);
}

bool mlc_import_dims(mlc_importer *im, const mlc_subject *about, const int64_t *dims, size_t n,
                     mlc_shape *shape) {
    if (n > MLC_MAX_RANK)
        return mlc_fail(im, about, "has %zu dimensions; at most %d are supported", n, MLC_MAX_RANK);
    int64_t elements = 1;
    shape->rank = (int)n;
    for (size_t i = 0; i < n; i++) {
        if (dims[i] < 0)
            return mlc_fail(im, about, "has the negative dimension %lld", (long long)dims[i]);
        /* An empty dimension does not excuse the others from being representable. */
        if (dims[i] > 0) {
            if (elements > MLC_MAX_ELEMENTS / dims[i])
                return mlc_fail(im, about, "has more than the %lld elements that are supported",
                                (long long)MLC_MAX_ELEMENTS);
            elements *= dims[i];
        }
        shape->dim[i] = dims[i];
    }
    return true;
}

const char *mlc_copy_bytes(mlc_arena *arena, const ProtobufCBinaryData *b) {
    return b->len ? mlc_arena_strndup(arena, (const char *)b->data, b->len) : "";
}

/* --- elements from bytes --- */

static double real_from_bits(mlc_dtype dtype, uint64_t bits) {
    switch (dtype) {
    case MLC_FLOAT16:
        return mlc_half_from_bits((uint16_t)bits);
    case MLC_BFLOAT16:
        return mlc_bfloat_from_bits((uint16_t)bits);
    case MLC_FLOAT:
        return mlc_float_from_bits((uint32_t)bits);
    default:
        assert(dtype == MLC_DOUBLE);
        return mlc_double_from_bits(bits);
    }
}

static bool is_signed(mlc_dtype dtype) {
    return dtype == MLC_INT4 || dtype == MLC_INT8 || dtype == MLC_INT16 || dtype == MLC_INT32 ||
           dtype == MLC_INT64;
}

/* False when the element does not fit: an uint64 beyond int64. */
static bool store_bits(mlc_tensor *t, int64_t i, uint64_t bits, int width) {
    if (mlc_dtype_is_float(t->dtype))
        t->f[i] = real_from_bits(t->dtype, bits);
    else if (t->dtype == MLC_BOOL)
        t->i[i] = bits != 0;
    else if (is_signed(t->dtype))
        t->i[i] = mlc_sign_extend(bits, width);
    else if (bits <= INT64_MAX)
        t->i[i] = (int64_t)bits;
    else
        return false;
    return true;
}

static bool decode_bytes(mlc_importer *im, const mlc_subject *about, mlc_tensor *t, int64_t n, int width,
                         const uint8_t *bytes) {
    for (int64_t i = 0; i < n; i++) {
        uint64_t bits = width == 4 ? bytes[i / 2] >> (i % 2 ? 4 : 0) & 15
                                   : mlc_load_le(bytes + i * (width / 8), width / 8);
        if (!store_bits(t, i, bits, width))
            return mlc_fail(im, about, "has a number beyond the range of int64 at index %lld", (long long)i);
    }
    return true;
}

/* --- elements from typed fields --- */

static size_t field_count(const Onnx__TensorProto *t, enum field field) {
    switch (field) {
    case FLOATS:
        return t->n_float_data;
    case INT32S:
        return t->n_int32_data;
    case INT64S:
        return t->n_int64_data;
    case DOUBLES:
        return t->n_double_data;
    case UINT64S:
        return t->n_uint64_data;
    default:
        return t->n_string_data;
    }
}

static bool has_other_fields(const Onnx__TensorProto *t, enum field own) {
    for (int field = FLOATS; field <= STRINGS; field++)
        if (field != (int)own && field_count(t, (enum field)field))
            return true;
    return false;
}

/* Small integers and half floats, one per int32; 4-bit ones two per int32. */
static bool decode_int32s(mlc_importer *im, const mlc_subject *about, mlc_tensor *t, int64_t n, int width,
                          const int32_t *data) {
    int64_t lo = INT32_MIN, hi = INT32_MAX;
    if (width == 4)
        lo = -128, hi = 255;
    else if (mlc_dtype_is_float(t->dtype))
        lo = 0, hi = UINT16_MAX;
    else if (t->dtype != MLC_BOOL)
        mlc_dtype_range(t->dtype, &lo, &hi);
    for (int64_t i = 0; i < n; i++) {
        int32_t x = data[width == 4 ? i / 2 : i];
        if (x < lo || x > hi)
            return mlc_fail(im, about, "has the element %d, which is not of type %s", x,
                            mlc_dtype_name(t->dtype));
        store_bits(t, i, (uint32_t)x >> (width == 4 && i % 2 ? 4 : 0), width);
    }
    return true;
}

static bool decode_uint64s(mlc_importer *im, const mlc_subject *about, mlc_tensor *t, int64_t n,
                           const uint64_t *data) {
    uint64_t hi = t->dtype == MLC_UINT32 ? UINT32_MAX : INT64_MAX;
    for (int64_t i = 0; i < n; i++) {
        if (data[i] > hi)
            return mlc_fail(im, about, "has the element %llu, which does not fit in %s",
                            (unsigned long long)data[i], t->dtype == MLC_UINT32 ? "uint32" : "int64");
        t->i[i] = (int64_t)data[i];
    }
    return true;
}

static bool decode_field(mlc_importer *im, const mlc_subject *about, mlc_tensor *t, int64_t n,
                         const struct format *format, const Onnx__TensorProto *from) {
    switch (format->field) {
    case FLOATS:
        for (int64_t i = 0; i < n; i++)
            t->f[i] = from->float_data[i];
        return true;
    case DOUBLES:
        for (int64_t i = 0; i < n; i++)
            t->f[i] = from->double_data[i];
        return true;
    case INT64S:
        for (int64_t i = 0; i < n; i++)
            t->i[i] = from->int64_data[i];
        return true;
    case INT32S:
        return decode_int32s(im, about, t, n, format->bits, from->int32_data);
    case UINT64S:
        return decode_uint64s(im, about, t, n, from->uint64_data);
    default:
        for (int64_t i = 0; i < n; i++)
            t->s[i] = mlc_copy_bytes(im->arena, &from->string_data[i]);
        return true;
    }
}

/* --- checks --- */

/*
 * NaN is never a parameter. Infinity is one as a lone bound of Clip or Where, and
 * in additive masks, whose elements are 0 or -infinity; elsewhere training failed.
 */
static bool check_finite(mlc_importer *im, const mlc_subject *about, const mlc_tensor *t, int64_t n) {
    int64_t infinite = -1, masked = 0;
    for (int64_t i = 0; i < n; i++) {
        if (isnan(t->f[i]))
            return mlc_fail(im, about,
                            "contains NaN at index %lld: training diverged, or the file is damaged",
                            (long long)i);
        if (isinf(t->f[i]))
            infinite = i;
        masked += t->f[i] == 0 || (isinf(t->f[i]) && t->f[i] < 0);
    }
    if (infinite < 0 || n == 1 || masked == n)
        return true;
    return mlc_fail(im, about, "contains infinity at index %lld: training diverged, or the file is damaged",
                    (long long)infinite);
}

/* Where the data is, checked to be what the type and shape need before memory is
 * taken for it: bytes, or NULL for the typed field. */
static bool locate(mlc_importer *im, const mlc_subject *about, const struct format *format,
                   const mlc_shape *shape, const Onnx__TensorProto *from, const uint8_t **bytes) {
    const char *type = mlc_dtype_name(format->dtype);
    int64_t n = mlc_shape_elements(shape);
    bool external =
        from->has_data_location && from->data_location == ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL;
    bool raw = from->has_raw_data && from->raw_data.len;
    size_t typed = field_count(from, format->field);
    *bytes = NULL;
    if (from->segment)
        return mlc_fail(im, about, "is stored in segments, which is not supported");
    if (has_other_fields(from, format->field) || external + raw + (typed > 0) > 1)
        return mlc_fail(
            im, about, "has its data in several places, or in a place that does not match its type %s", type);
    if (format->field == STRINGS && (external || raw))
        return mlc_fail(im, about, "is a tensor of strings outside string_data");
    if (external || raw) {
        size_t size = (size_t)(n * format->bits + 7) / 8;
        if (raw && from->raw_data.len != size)
            return mlc_fail(im, about, "has %zu bytes of data, but %s%s needs %zu", from->raw_data.len, type,
                            mlc_shape_str(im->arena, shape), size);
        *bytes = raw ? from->raw_data.data : mlc_external_data(im, about, from, size);
        return *bytes != NULL;
    }
    size_t needed = format->bits == 4 ? (size_t)(n + 1) / 2 : (size_t)n;
    if (typed != needed)
        return mlc_fail(im, about, "has %zu elements of data, but %s%s needs %zu", typed, type,
                        mlc_shape_str(im->arena, shape), needed);
    return true;
}

const mlc_tensor *mlc_import_tensor(mlc_importer *im, const mlc_subject *about,
                                    const Onnx__TensorProto *from) {
    const struct format *format = find_format(from->data_type);
    if (!format) {
        mlc_fail(im, about, "has data type %d (%s), which is not supported", (int)from->data_type,
                 mlc_data_type_name(from->data_type));
        return NULL;
    }
    mlc_shape shape;
    const uint8_t *bytes;
    if (!mlc_import_dims(im, about, from->dims, from->n_dims, &shape) ||
        !locate(im, about, format, &shape, from, &bytes))
        return NULL;
    mlc_tensor *t = mlc_tensor_create(im->arena, format->dtype, &shape);
    int64_t n = mlc_shape_elements(&shape);
    bool ok = bytes ? decode_bytes(im, about, t, n, format->bits, bytes)
                    : decode_field(im, about, t, n, format, from);
    if (ok && mlc_dtype_is_float(t->dtype))
        ok = check_finite(im, about, t, n);
    return ok ? t : NULL;
}
