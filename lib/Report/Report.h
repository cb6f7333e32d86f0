#ifndef MLC_REPORT_H
#define MLC_REPORT_H

#include "mlc/cost.h"
#include "mlc/pass.h"

/* What the integer graph does on the calibration data, beside the real-valued model. */

enum { MLC_WORST_SAMPLES = 5, MLC_MAX_CLASSES = 64 };

/* One value of the model. */
typedef struct mlc_measured {
    double error;  /* largest |integer - real|; NAN: not measured */
    double lo, hi; /* of the real value */
} mlc_measured;

/* The answers on the samples: the class index of the real-valued model, of the
 * integer one, and the label; -1: none. */
typedef struct mlc_answers {
    int64_t *real, *integer, *label;
    int n;         /* samples */
    bool labelled; /* there are labels at all */
} mlc_answers;

typedef struct mlc_worst_sample {
    int64_t index; /* in the file */
    double error;  /* of the outputs, largest element */
    int64_t real, integer, label;
} mlc_worst_sample;

typedef struct mlc_measurement {
    int n_samples;
    mlc_measured *value;  /* by id of the model's values */
    int64_t *saturated;   /* by saturation of the origin: elements cut off, over all samples */
    int64_t *outside;     /* by graph input: elements outside its interval */
    mlc_answers *answers; /* NULL: the outputs are no decision */
    mlc_worst_sample worst[MLC_WORST_SAMPLES];
    int n_worst;
    double mean_error; /* mean over the samples of the outputs' largest error */
} mlc_measurement;

/* Runs both evaluators over `data`, at most `samples` of it, spread evenly. */
mlc_measurement *mlc_measure(const mlc_graph *g, const mlc_origin *origin, const mlc_calibration *data,
                             int samples, mlc_arena *arena);

/* Whether the model's outputs say which class a sample is of; `labelled`: labels
 * were given, so that even a bare score is a decision (compared with 0). */
bool mlc_decides(const mlc_graph *model, bool labelled);
/* The class by the real values of the outputs, out[k] for output k. */
int64_t mlc_real_class(const mlc_graph *model, const double *const *out);

/* Samples where a and b agree, and how many there are where both say something. */
int64_t mlc_agreeing(const int64_t *a, const int64_t *b, int n, int64_t *of);

typedef enum mlc_weights { MLC_WEIGHTS_NONE, MLC_WEIGHTS_IMMEDIATE, MLC_WEIGHTS_MEMORY } mlc_weights;
/* What makes other integers of a dot product's sums. */
typedef enum mlc_after {
    MLC_AFTER_NOTHING,
    MLC_AFTER_TABLE,
    MLC_AFTER_LIMITS, /* of several at once */
    MLC_AFTER_ARITHMETIC
} mlc_after;

/* How the code of a node was made. */
typedef struct mlc_choice {
    int64_t lanes, words; /* of a dot product: most outputs in one accumulator, accumulators; 0: none */
    mlc_weights weights;
    mlc_after after;
    mlc_work work;
    double ns; /* estimated */
} mlc_choice;

/* "unrolled", "loop", "function" (a loop that calls what the kernel verifies once),
 * and so on; NULL: nothing of the kind. */
const char *mlc_choice_code(const mlc_choice *c);
const char *mlc_choice_weights(const mlc_choice *c);
const char *mlc_choice_after(const mlc_choice *c);

/* A report in the making: filled after the pass `quantize`, printed once the code is there. */
typedef struct mlc_report_row {
    const char *name, *op; /* of the node of the model; inputs have op "input" */
    const char *origin; /* of the integer nodes made of it; NULL: an input, or not the node's first output */
    const char *shape;
    double scale, lo, hi, bound, measured; /* `measured` NAN: no data */
    int bits;                              /* of the integers, the sign included */
    bool is_signed;
    int64_t saturated; /* -1: nothing is limited here */
    int64_t multiplications;
    int precision; /* of a dot product: bits, or MLC_TERNARY; 0: none */
    mlc_choice choice;
} mlc_report_row;

typedef struct mlc_report_output {
    const char *name;
    double lo, hi;           /* proven */
    double seen_lo, seen_hi; /* NAN: no data */
    double bound, measured;
    bool choice;                /* a class or a yes or no, not a number */
    bool exact, loose, limited; /* limited: the bound holds where nothing saturates */
} mlc_report_output;

typedef struct mlc_report {
    const mlc_graph *model;
    const mlc_measurement *measurement; /* NULL: no data */
    mlc_report_row *rows;
    mlc_report_output *outputs;
    int n_rows, n_outputs, n_saturations;
    const char *precision;
    bool counted;       /* there are choices and their costs */
    mlc_work all, rest; /* rest: of no row, the entry program's among it, which is not executed here */
    double rest_ns;
} mlc_report;

mlc_report *mlc_report_make(const mlc_graph *g, const mlc_pass_context *context);
/* Adds what became of the nodes: `g` is the final graph, work[] what the object does
 * for each line of its listing; NULL: not known. */
void mlc_report_choices(mlc_report *r, const mlc_graph *g, const mlc_work *work, int n_lines);
/* Text in the arena. */
const char *mlc_report_json(const mlc_report *r, const mlc_stats *stats, mlc_arena *arena);
const char *mlc_report_table(const mlc_report *r, const mlc_stats *stats, mlc_arena *arena);

#endif
