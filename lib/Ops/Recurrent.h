#ifndef MLC_OPS_RECURRENT_H
#define MLC_OPS_RECURRENT_H

#include "Real.h"

/*
 * LSTM, GRU and RNN: `steps` times, the state h of each sequence of the batch is
 * computed from an element of the input and from itself, by gates of `hidden` units
 * each: pre-activations W x + R h + biases, then an activation.
 */
typedef enum mlc_recurrent_kind { MLC_RNN, MLC_GRU, MLC_LSTM } mlc_recurrent_kind;

typedef struct mlc_activation {
    const char *name;
    mlc_real_fn fn;
    double slope, most; /* bounds on |f'| and |f| */
} mlc_activation;

typedef struct mlc_recurrent {
    mlc_recurrent_kind kind;
    int64_t gates, directions, steps, batch, inputs, hidden;
    bool backward;                          /* the first direction starts at the end */
    bool batch_first;                       /* attribute layout */
    bool reset_after;                       /* GRU: linear_before_reset */
    bool coupled;                           /* LSTM: input_forget */
    double clip;                            /* of pre-activations; INFINITY: none */
    const mlc_activation *activation[2][3]; /* of each direction, in ONNX's order f, g, h */
} mlc_recurrent;

enum {
    MLC_RECURRENT_X,
    MLC_RECURRENT_W,
    MLC_RECURRENT_R,
    MLC_RECURRENT_B,
    MLC_RECURRENT_LENGTHS,
    MLC_RECURRENT_H,
    MLC_RECURRENT_C,
    MLC_RECURRENT_P
};
/* Gates in the order of their weights. */
enum { MLC_LSTM_I, MLC_LSTM_O, MLC_LSTM_F, MLC_LSTM_G };
enum { MLC_GRU_Z, MLC_GRU_R, MLC_GRU_N };

/* The node's parameters and shapes. Reports what is wrong or not supported; with g
 * NULL, after infer has passed, it cannot fail. */
bool mlc_recurrent_of(mlc_graph *g, const mlc_node *node, mlc_recurrent *r);

/* Flat indices: of X (step t counted from where direction d starts), of Y, and of states. */
int64_t mlc_recurrent_x(const mlc_recurrent *r, int64_t d, int64_t t, int64_t b);
int64_t mlc_recurrent_y(const mlc_recurrent *r, int64_t d, int64_t t, int64_t b);
int64_t mlc_recurrent_state(const mlc_recurrent *r, int64_t d, int64_t b);

bool mlc_quantize_recurrent(mlc_quant *q, const mlc_node *node);

#endif
