/* Integers behind float weights: what DequantizeLinear or a quantizer in training made them from. */
#include "Form.h"

#include <math.h>

enum { MOST = 255, CANDIDATES = 255 };

/* Whether every weight is a whole number of at most MOST in units of s, within the rounding of float. */
static bool lies_on(const double *w, int64_t n, double s) {
    for (int64_t i = 0; i < n; i++) {
        const double x = w[i] / s, whole = rint(x);
        if (fabs(whole) > MOST || fabs(x - whole) > fabs(whole) * 0x1p-22)
            return false;
    }
    return true;
}

/* Whether float arithmetic gives exactly these weights. */
static bool makes(const double *w, int64_t n, double s) {
    for (int64_t i = 0; i < n; i++)
        if (mlc_f32(rint(w[i] / s) * s) != w[i])
            return false;
    return true;
}

/* The scale of n weights, the coarsest there is; 0: none. */
static double find_scale(const double *w, int64_t n) {
    double least = INFINITY, most = 0;
    for (int64_t i = 0; i < n; i++) {
        const double a = fabs(w[i]);
        if (!isfinite(a))
            return 0;
        most = fmax(most, a);
        if (a > 0)
            least = fmin(least, a);
    }
    if (most == 0)
        return 1;
    for (int j = 1; j <= CANDIDATES; j++) {
        const double steps = rint(most / (least / j));
        if (steps > MOST)
            return 0;
        const double s = most / steps;
        if (!lies_on(w, n, s))
            continue;
        /* The float next to it that the weights were made with, if any was. */
        const double f = mlc_f32(s),
                     near[3] = {f, (double)nextafterf((float)f, 0), (double)nextafterf((float)f, INFINITY)};
        for (int k = 0; k < 3; k++)
            if (makes(w, n, near[k]))
                return near[k];
        return s;
    }
    return 0;
}

bool mlc_form_weights(mlc_arena *arena, const double *w, int64_t n, int64_t row, int64_t *number,
                      double *scale) {
    if (n == 0)
        return false;
    (void)arena;
    const double all = find_scale(w, n);
    for (int64_t r = 0; r < n / row; r++) {
        scale[r] = all > 0 ? all : find_scale(w + r * row, row);
        if (!(scale[r] > 0))
            return false;
        for (int64_t i = r * row; i < (r + 1) * row; i++)
            number[i] = (int64_t)rint(w[i] / scale[r]);
    }
    return true;
}
