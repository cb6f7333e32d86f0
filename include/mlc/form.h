#ifndef MLC_FORM_H
#define MLC_FORM_H

#include "mlc/quantize.h"

/*
 * Exact forms: how quantized models become integers bit for bit.
 *
 * A quantized model computes in floats between DequantizeLinear and QuantizeLinear,
 * but every such float is a function of integers: of one 8-bit number, or of the
 * integer sum of a dot product. Its form says which integers and which function.
 * Nothing is built for it until QuantizeLinear asks for a grid: the composition is
 * then a step function from integers to integers, which mlc_q_step turns into
 * integer nodes that are proven to equal it on the whole proven interval.
 *
 * Functions follow ONNX in float arithmetic, node by node, each result rounded once
 * to its type. A dot product is computed in real numbers from the integers and
 * scales and rounded once: where float summation leaves the order open, this is the
 * exactly rounded result.
 */

/* A function of one integer x, or of two, x and y. */
typedef enum mlc_chain_kind {
    MLC_CHAIN_LINEAR,   /* round((x - zero) * scale + offset) to `dtype` */
    MLC_CHAIN_GRID,     /* saturate(half-even(float(float(prev) * scale)) + zero) of integer type `dtype` */
    MLC_CHAIN_QUANTIZE, /* saturate(half-even(prev / scale in type `precision`) + zero) of integer type
                           `dtype` */
    MLC_CHAIN_NODE, /* an element-wise node: eval of `node` with prev in place of input `at`, and constants */
    MLC_CHAIN_PAIR, /* an element-wise node of two: prev of x at input `at`, other of y at `other_at` */
} mlc_chain_kind;

/* slope_x * x + slope_y * y + a constant, or slope_x * (x - zero_x) * (y - zero_y). */
typedef struct mlc_pair {
    enum { MLC_PAIR_OTHER, MLC_PAIR_SUM, MLC_PAIR_PRODUCT } kind;
    double slope_x, slope_y;
    int64_t zero_x, zero_y;
} mlc_pair;

typedef struct mlc_chain {
    mlc_chain_kind kind;
    int depth;           /* chains behind each other, from 1 */
    int direction;       /* 1 never falls as x grows, -1 never rises, 0 not known */
    mlc_dtype dtype;     /* of the result */
    mlc_dtype precision; /* QUANTIZE: of the division */
    double scale, offset;
    int64_t zero;
    const mlc_node *node;
    int at, other_at;
    const struct mlc_chain *prev, *other;
    mlc_pair pair;                      /* PAIR: what the result is but for rounding and saturation */
    const mlc_tensor *const *constants; /* per input of `node`: one element, or NULL */
} mlc_chain;

/* Element i is chain[cls ? cls[i] : 0] of x.flat[i] (and y.flat[i]). */
typedef struct mlc_form {
    /* Integers, whatever their scale says; an error of theirs is in units of that
     * scale. y is NULL unless chains hold a PAIR. */
    mlc_value *x, *y;
    int n_cls;
    const int *cls; /* NULL: all 0 */
    const mlc_chain *const *chain;
    bool quantized; /* x comes from quantized numbers, not from an input of the model */
    int depth;      /* nodes that wait for being built, from 0 */
} mlc_form;

/* Largest number of classes and depth of chains: what is beyond has no form. */
enum { MLC_FORM_CLASSES = 4096, MLC_FORM_DEPTH = 32 };

/* The form of a shaped value: one that was set, or that of a value of integer type. NULL: none. */
const mlc_form *mlc_form_of(mlc_quant *q, const mlc_value *v);
bool mlc_form_set(mlc_quant *q, const mlc_value *v, const mlc_form *form);

/* Sets forms of a node's results, or binds them, where its inputs have forms.
 * False, without a report: the node's own quantize is to be called. */
bool mlc_form_node(mlc_quant *q, const mlc_node *node);

/* The integer value of a shaped value that has a form but was not bound yet: what
 * mlc_q_value calls. NULL after reporting. */
mlc_value *mlc_form_value(mlc_quant *q, const mlc_value *v);

/* One class, one LINEAR chain without offset: x stands for (x - zero) * scale. */
bool mlc_form_affine(const mlc_form *f, double *scale, int64_t *zero);

/* Results of a class for n integers, in a new tensor [n,1] of the chain's dtype. */
mlc_tensor *mlc_chain_eval(mlc_arena *arena, const mlc_chain *c, const int64_t *x, const int64_t *y,
                           int64_t n);

const mlc_chain *mlc_chain_linear(mlc_quant *q, double scale, int64_t zero, double offset, mlc_dtype dtype);
const mlc_chain *mlc_chain_grid(mlc_quant *q, const mlc_chain *prev, double scale, int64_t zero,
                                mlc_dtype dtype);
const mlc_chain *mlc_chain_quantize(mlc_quant *q, const mlc_chain *prev, double scale, int64_t zero,
                                    mlc_dtype dtype, mlc_dtype precision);

/* A form of one class. */
mlc_form *mlc_form_simple(mlc_quant *q, mlc_value *x, const mlc_chain *chain);

/* Groups elements with equal keys: `width` numbers for each of n elements, row by
 * row. Returns the class of each element, NULL when there are more than
 * MLC_FORM_CLASSES; first[c] is the first element of class c. */
int *mlc_classes(mlc_arena *arena, const int64_t *keys, int64_t n, int width, int *n_cls, int64_t **first);

/*
 * Chains of integer results, as integer nodes: multiply-add-shift and clamp with
 * one multiplier or one per class, else tables. What is returned equals the chains
 * for every x of the proven interval: monotone chains are checked on both sides of
 * every step, others at every x. NULL, without a report, where a chain has more than
 * 65,536 steps, or turns within an interval of more numbers. An error of x carries over
 * as the number of steps within it.
 */
mlc_value *mlc_q_step(mlc_quant *q, const mlc_form *f);
/* The same for chains of two integers of at most 2^17 combinations, all of which are checked. */
mlc_value *mlc_q_step_pair(mlc_quant *q, const mlc_form *f);

/* x of n elements as a constant that broadcasts to `shape`, with as few elements
 * as numbers that vary along one axis at most, or along all, need. */
mlc_value *mlc_q_per_class(mlc_quant *q, const int64_t *x, const mlc_shape *shape);

/* --- in lib/Ops --- */

/* One row per ONNX op that hands forms on. */
typedef struct mlc_form_rule {
    const char *domain, *op;
    bool (*form)(mlc_quant *q, const mlc_node *node);
} mlc_form_rule;
extern const mlc_form_rule mlc_form_rules[];
extern const int mlc_n_form_rules;

#endif
