#include "mlc/graph.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

static const struct {
    mlc_dtype dtype;
    const char *name;
    int64_t lo, hi; /* integer types */
} types[] = {
    {MLC_UNDEFINED, "undefined", 0, 0},
    {MLC_FLOAT, "float", 0, 0},
    {MLC_UINT8, "uint8", 0, UINT8_MAX},
    {MLC_INT8, "int8", INT8_MIN, INT8_MAX},
    {MLC_UINT16, "uint16", 0, UINT16_MAX},
    {MLC_INT16, "int16", INT16_MIN, INT16_MAX},
    {MLC_INT32, "int32", INT32_MIN, INT32_MAX},
    {MLC_INT64, "int64", INT64_MIN, INT64_MAX},
    {MLC_STRING, "string", 0, 0},
    {MLC_BOOL, "bool", 0, 1},
    {MLC_FLOAT16, "float16", 0, 0},
    {MLC_DOUBLE, "double", 0, 0},
    {MLC_UINT32, "uint32", 0, UINT32_MAX},
    {MLC_UINT64, "uint64", 0, INT64_MAX},
    {MLC_BFLOAT16, "bfloat16", 0, 0},
    {MLC_UINT4, "uint4", 0, 15},
    {MLC_INT4, "int4", -8, 7},
};
enum { N_TYPES = sizeof types / sizeof types[0] };

bool mlc_dtype_is_float(mlc_dtype t) {
    return t == MLC_FLOAT || t == MLC_DOUBLE || t == MLC_FLOAT16 || t == MLC_BFLOAT16;
}

bool mlc_dtype_is_integer(mlc_dtype t) {
    int64_t lo, hi;
    mlc_dtype_range(t, &lo, &hi);
    return lo < hi;
}

const char *mlc_dtype_name(mlc_dtype t) {
    for (int i = 0; i < N_TYPES; i++)
        if (types[i].dtype == t)
            return types[i].name;
    return "undefined";
}

mlc_dtype mlc_dtype_from_name(const char *name) {
    for (int i = 0; i < N_TYPES; i++)
        if (strcmp(types[i].name, name) == 0)
            return types[i].dtype;
    return MLC_UNDEFINED;
}

void mlc_dtype_range(mlc_dtype t, int64_t *lo, int64_t *hi) {
    *lo = *hi = 0;
    for (int i = 0; i < N_TYPES; i++) {
        if (types[i].dtype == t) {
            *lo = types[i].lo;
            *hi = types[i].hi;
        }
    }
}

/* Rounds to a binary float of `precision` bits whose smallest subnormal is
 * 2^min_exponent and whose largest finite value is `max`. */
static double round_to(double x, int precision, int min_exponent, double max) {
    if (!isfinite(x) || x == 0)
        return x;
    int exponent;
    frexp(x, &exponent);
    int unit = exponent - precision > min_exponent ? exponent - precision : min_exponent;
    double rounded = ldexp(nearbyint(ldexp(x, -unit)), unit);
    return fabs(rounded) > max ? copysign(INFINITY, x) : rounded;
}

double mlc_dtype_round(mlc_dtype t, double x) {
    switch (t) {
    case MLC_FLOAT:
        return round_to(x, 24, -149, 0x1.fffffep127);
    case MLC_FLOAT16:
        return round_to(x, 11, -24, 65504);
    case MLC_BFLOAT16:
        return round_to(x, 8, -133, 0x1.fep127);
    default:
        return x;
    }
}
