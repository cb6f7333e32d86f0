#ifndef MLC_RUN_COMPARE_H
#define MLC_RUN_COMPARE_H

#include "Samples.h"

enum { MLC_MAX_LABELS = 16, MLC_WORST_SAMPLES = 5 };

/* How one output differs from its reference. */
typedef struct mlc_comparison {
    const char *name;
    int64_t samples;
    double max_error, mean_error; /* absolute; infinite where one side is NaN and the other is not */
    int64_t equal;                /* samples with every element equal */
    struct {
        int64_t sample, element;
        double got, reference, error;
    } worst[MLC_WORST_SAMPLES]; /* largest error first */
    int n_worst;

    /* What a sample is taken to decide: the only integer, the index of the largest
     * of several reals, or whether a single real exceeds the threshold. */
    enum { MLC_DECIDES_NOTHING, MLC_DECIDES_LABEL, MLC_DECIDES_ARGMAX, MLC_DECIDES_THRESHOLD } decides;
    double threshold;
    int64_t agree;                                     /* samples that decide the same */
    int64_t labels[MLC_MAX_LABELS];                    /* ascending */
    int n_labels;                                      /* 0: too many for a table */
    int64_t confusion[MLC_MAX_LABELS][MLC_MAX_LABELS]; /* [reference][got] */
} mlc_comparison;

/*
 * Compares `result` with the array of the same name in `reference` (or its only
 * array, where the model has one output). Returns NULL when there is none; sets
 * *ok to false after reporting an array that does not fit. `threshold` NaN: 0.5
 * where all reference values are in [0,1], otherwise 0.
 */
mlc_comparison *mlc_compare(mlc_run *run, const char *path, const mlc_arrays *reference,
                            const mlc_binding *output, bool only, const mlc_tensor *result, double threshold,
                            bool *ok);

void mlc_comparison_print(const mlc_comparison *c);
json_t *mlc_comparison_json(const mlc_comparison *c);

#endif
