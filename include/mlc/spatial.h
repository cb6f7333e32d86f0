#ifndef MLC_SPATIAL_H
#define MLC_SPATIAL_H

#include <stdint.h>

/*
 * A convolution or pooling window over one image x[1, channels_in, in...], with
 * result [1, channels_out, out...]. Output position o and kernel position t meet
 * the input position o*stride + t*dilation - pad_begin; where that lies outside
 * [0, in) it is padding. Output channel m reads the input channels of group
 * m / (channels_out/group); weights are [channels_out, channels_in/group, kernel...].
 * Dimensions from `nd` on are 1 (pad_begin 0), so loops may always run over three.
 */
typedef struct mlc_conv_geometry {
    int nd; /* spatial dimensions, 1 to 3 */
    int64_t channels_in, channels_out, group;
    int64_t in[3], out[3], kernel[3], stride[3], dilation[3], pad_begin[3];
} mlc_conv_geometry;

#endif
