#ifndef MLC_PRECISION_H
#define MLC_PRECISION_H

/*
 * Dot products of few bits: what they share with the calibration and with the
 * choice of a precision for each of them.
 *
 * What a narrow product costs is a matter of lanes: as many outputs share one
 * 64-bit multiplication as their accumulators' intervals fit into a word. The
 * number of bits that was asked for decides how many lanes there are (Plan.c); the
 * bits of a lane are then shared out between inputs and weights as it helps most.
 */
#include "mlc/pass.h"

typedef struct mlc_range {
    double lo, hi; /* lo > hi: nothing is known */
} mlc_range;

/* Bits of a dot product: MLC_TERNARY, 2 to 8, 16 or 32. */
enum { MLC_TERNARY = 1, MLC_LEAST_BITS = 2, MLC_MOST_BITS = 8 };
/* Inputs of the model may have more than their weights: they cost no table. */
enum { MLC_MOST_INPUT_BITS = 12 };

/* Where a grid is to end, and the mean square of what that cuts off. */
typedef struct mlc_end {
    mlc_range range;
    double cut;
} mlc_end;

/* What was observed of an element, or of a whole tensor. */
typedef struct mlc_seen {
    mlc_range all;
    double mean, variance;
    double active;       /* share of the samples that are not 0 */
    const mlc_end *ends; /* by bits up to MLC_MOST_INPUT_BITS; NULL where no dot product reads it */
} mlc_seen;

/* A grid for the inputs of one class: for the columns of a row, or the channels of an image. */
typedef struct mlc_class {
    mlc_range range;
    int64_t levels;
} mlc_class;

/* A node of the model whose products are with constants: Gemm, MatMul, Conv. */
typedef struct mlc_dot {
    mlc_node *node;
    int bits;
    int64_t levels; /* of the grid of its input, less one */
    /* Chosen for 8 bits and less (Plan.c). */
    int *room;        /* of each channel: bits that its accumulator's interval may have; NULL: no limit */
    int chunks;       /* into which the taps are cut: each part of the sum has that room */
    double *weight;   /* of each channel: how much a square error of its result matters */
    mlc_class *class; /* the grid of each class of the input; NULL: not known */
    bool shared;      /* they are all the same, since the input comes from another such product */
} mlc_dot;

/* Fills in q->seen_lo, q->seen_hi, q->seen and q->seen_all. */
void mlc_q_observe(mlc_quant *q, const mlc_calibration *data);
/* Finds grids for the inputs of all dot products; mlc_q_observe comes first. */
void mlc_q_choose_ends(mlc_quant *q, const mlc_calibration *data);
/* The range that a grid of `bits` bits covers. */
mlc_range mlc_q_covered(const mlc_seen *seen, int bits);
/* What was observed of the elements of an integer value; NULL: nothing. */
const mlc_seen *mlc_q_seen(const mlc_quant *q, const mlc_value *v);
void mlc_q_set_seen(mlc_quant *q, const mlc_value *v, const mlc_seen *seen);
/* out.flat[i] = concat(in...).flat[index[i]]: what was observed follows. */
void mlc_q_gather_seen(mlc_quant *q, const mlc_value *out, mlc_value *const *in, int n_in,
                       const int64_t *index);

/* All dot products of the model in order, at `bits`. */
mlc_dot *mlc_q_dots(const mlc_graph *g, mlc_arena *arena, int bits, int *n);
/* The one that is not constant. */
const mlc_value *mlc_q_dot_input(const mlc_node *node);
/* NULL for every other node. */
const mlc_dot *mlc_q_dot_of(const mlc_quant *q, const mlc_node *node);

/*
 * The weights of a dot product as the model has them, channel by channel.
 */
typedef struct mlc_dot_weights {
    const double *w;
    int64_t channels, taps, by_channel, by_tap;
    int64_t kernel, groups, classes;
    double alpha;
    bool image;
} mlc_dot_weights;

/* False where the weights stand in another way: such products get no plan of their own. */
bool mlc_q_dot_weights(const mlc_node *node, mlc_dot_weights *out);

static inline double mlc_dot_weight(const mlc_dot_weights *d, int64_t c, int64_t k) {
    return d->alpha * d->w[c * d->by_channel + k * d->by_tap];
}

static inline int64_t mlc_dot_class(const mlc_dot_weights *d, int64_t c, int64_t k) {
    return c / (d->channels / d->groups) * (d->classes / d->groups) + k / d->kernel;
}

enum { MLC_MOST_LANES = 8, MLC_MOST_CHUNKS = 16 };

/* What a narrow product may be like. */
typedef struct mlc_lane_option {
    int lanes, chunks;
    double levels; /* that the whole sum has room for */
    double error;  /* beyond the least one, relative to that of plain rounding */
    double cost;   /* in multiplications */
} mlc_lane_option;

/* A narrow product and how many of its outputs share a word (Lanes.c). */
typedef struct mlc_lanes {
    mlc_dot *dot;
    mlc_dot_weights d;
    double sum;   /* of the weights' magnitudes as integers of dot->bits bits */
    int64_t rows; /* outputs of each channel */
    mlc_lane_option option[64];
    int n_options, chosen;
} mlc_lanes;

/* The chunk of tap k. */
static inline int64_t mlc_dot_chunk(const mlc_dot *dot, int64_t taps, int64_t k) {
    return k * dot->chunks / taps;
}

/* Sets room and chunks of those products that have room. */
void mlc_q_choose_lanes(mlc_quant *q, mlc_lanes *all, int n);

/* Rooms and input bits of the narrow products of q->dots. With them, outputs that lie
 * between two products and a Relu are rescaled: changes the constants that
 * mlc_q_find_pairs has set apart, and what was seen. */
void mlc_q_plan(mlc_quant *q, mlc_dot *dots, int n);
/* SHAPED: the products that mlc_q_equalize may rescale get constants of their own. */
void mlc_q_find_pairs(mlc_quant *q);
/* Undoes every mlc_q_equalize. */
void mlc_q_reset_pairs(mlc_quant *q);
/* Rescales the outputs of product `of`, one of n, and sets the grid of the one that reads them. Does nothing
 * where it cannot help. */
void mlc_q_equalize(mlc_quant *q, mlc_dot *dots, int n, int of);
/* Whether what `node` reads has been, or will be, rescaled. */
bool mlc_q_is_equalized(const mlc_quant *q, const mlc_node *node);
/* The only reader behind a Relu of what `node` computes, where that can be rescaled; NULL: none. */
const mlc_node *mlc_q_reader(const mlc_quant *q, const mlc_node *node);

/* The largest difference between values of an accumulator that its room is enough for. */
double mlc_q_span(const mlc_dot *dot, int64_t channel);
/* The finest step with which the accumulator of a channel stays inside its room: w[k] real
 * weights in units of the input's integers, 0 <= k < n, whose range is span[k]. */
double mlc_q_channel_step(const mlc_dot *dot, int64_t channel, const double *w, const double *span,
                          int64_t n);

/* Grids for the inputs of a dot product with so much room: sets dot->class, and where it is shared
 * dot->levels. For ternary weights, these are given, and so are mlc_seen.ends by `clip`.
 * Returns the mean square error to expect of the results, weighed by dot->weight; 0 for ternary. */
double mlc_q_share(const mlc_quant *q, mlc_dot *dot, const mlc_dot_weights *d, int clip);
/* The same for signed numbers of dot->bits bits without a thought: rounded to the nearest, one
 * scale for all weights and one for the inputs, which reaches as far as these were seen. */
double mlc_q_plain_error(const mlc_quant *q, const mlc_dot *dot, const mlc_dot_weights *d);

/* One attempt of the pass with these precisions; sets context->origin. NULL after reporting. */
mlc_graph *mlc_q_attempt(const mlc_quant *prepared, mlc_pass_context *context, const mlc_dot *dots,
                         int n_dots);
/* The precision of every dot product, by --precision; auto tries on the calibration
 * data. Reports and returns false when that is not possible. */
bool mlc_q_choose_precision(const mlc_quant *prepared, mlc_pass_context *context, mlc_dot **dots, int *n);
/* The same for auto. */
bool mlc_q_choose_auto(const mlc_quant *prepared, mlc_pass_context *context, mlc_dot **dots, int *n);

/* One dot product of a builder: taps in the order of the weights. */
typedef struct mlc_taps {
    const double *w;
    int64_t n;
    const int64_t *x; /* flat input index of each tap, -1 for padding; NULL: x0 + k */
    int64_t x0;
} mlc_taps;

static inline int64_t mlc_tap(const mlc_taps *t, int64_t k) {
    return t->x ? t->x[k] : t->x0 + k;
}

/* Input indices of every output's taps, in the order of one filter's weights. */
mlc_taps *mlc_q_conv_taps(mlc_quant *q, const mlc_conv_geometry *c, const double *w);

/* mlc_q_linear and mlc_q_conv for 16 bits and less. */
mlc_value *mlc_q_linear_narrow(mlc_quant *q, mlc_value *x, int64_t M, int64_t K, int64_t N, const double *w,
                               const double *bias, const mlc_shape *shape);
mlc_value *mlc_q_conv_narrow(mlc_quant *q, mlc_value *x, const mlc_tensor *w, const double *bias,
                             const mlc_conv_geometry *geometry, const mlc_shape *shape);

#endif
