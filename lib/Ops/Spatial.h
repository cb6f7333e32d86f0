#ifndef MLC_OPS_SPATIAL_H
#define MLC_OPS_SPATIAL_H

#include "mlc/quantize.h"
#include "mlc/spatial.h"

/* What Conv and the pools have in common: the window, from shapes and attributes. */
typedef struct mlc_window {
    mlc_conv_geometry geometry;
    int64_t pad_end[3];
    int64_t positions; /* spatial positions of the output */
    int64_t pixels;    /* spatial positions of the input */
    int64_t taps;      /* positions of the kernel */
} mlc_window;

/* The attributes of Conv; pools have no `group`. */
#define MLC_WINDOW_ATTRS                                                                       \
    {"auto_pad", MLC_ATTR_STRING}, {"kernel_shape", MLC_ATTR_INTS}, {"pads", MLC_ATTR_INTS}, { \
        "strides", MLC_ATTR_INTS                                                               \
    }

/*
 * The window of a node over input x [N, C, in...]. `kernel` is the shape of the
 * weights [M, C/group, kernel...]; NULL for pools, whose kernel is an attribute.
 * On failure reports and returns false; with g NULL (eval and quantize, after
 * infer has passed) it cannot fail.
 */
bool mlc_window_of(mlc_graph *g, const mlc_node *node, const mlc_shape *x, const mlc_shape *weights,
                   mlc_window *window);

/* Result shape [N, channels_out, out...]. */
mlc_shape mlc_window_shape(const mlc_window *window, int64_t batch);

/* Flat input position under kernel position `tap` at output position `position`; -1: padding. */
int64_t mlc_window_at(const mlc_window *window, int64_t position, int64_t tap);

/* Whether that place lies in the input or its declared padding: false only in
 * the part of a window that ceil_mode lets hang over the end. */
bool mlc_window_padded(const mlc_window *window, int64_t position, int64_t tap);

/*
 * One element of a convolution: the sum over its window of
 * (x - x_zero)*(w - w_zero), padding counting as x_zero. Exact for 8- and 16-bit integers.
 */
double mlc_window_convolve(const mlc_window *window, const mlc_tensor *x, double x_zero, const mlc_tensor *w,
                           double w_zero, int64_t batch, int64_t channel, int64_t position);

/* A convolution with constant weights of `batch` images x [batch,C,in...]. */
mlc_value *mlc_q_window_convolve(mlc_quant *q, const mlc_window *window, mlc_value *x, const mlc_tensor *w,
                                 const double *bias, int64_t batch);

/*
 * The windows of a pool (Pool.c), after infer has passed: `taps` flat input indices
 * for each output, -1 for padding, and what a mean is divided by. NULL where a
 * window lies entirely in the padding.
 */
int64_t *mlc_pool_index(mlc_arena *arena, const mlc_node *node, int64_t *taps, int64_t **counts);

#endif
