#ifndef MLC_RUN_SAMPLES_H
#define MLC_RUN_SAMPLES_H

#include "Manifest.h"

#include "mlc/npz.h"

/* The arrays of a file that feed a model's inputs. */
typedef struct mlc_samples {
    const mlc_manifest *manifest;
    const mlc_tensor **arrays; /* one per input of the manifest */
    int64_t n;                 /* samples in each */
    bool raw;                  /* the values are the integers themselves */
    int64_t *clamped;          /* per input: values outside its range, and NaNs, packed so far */
} mlc_samples;

/*
 * Finds an array for each input by name; a single array feeds a single input
 * whatever its name. Array shapes are [n, input shape...]; other shapes are
 * accepted where the first dimension is n and the element count fits, or where
 * the array is one sample. Returns false after reporting.
 */
bool mlc_samples_read(mlc_run *run, const mlc_manifest *manifest, const char *path, bool raw,
                      mlc_samples *samples);

/* `n` samples drawn uniformly from each input's range, the same ones every time. */
void mlc_samples_random(mlc_run *run, const mlc_manifest *manifest, int64_t n, mlc_samples *samples);

/* Writes sample `i`, quantized, into a buffer of manifest->in_size bytes. */
void mlc_samples_pack(mlc_samples *samples, int64_t i, uint8_t *in);

/* Warns of clamped values. */
void mlc_samples_report(mlc_run *run, const mlc_samples *samples);

/* An array for `n` samples of an output; `raw` for the integers themselves (int64). */
mlc_tensor *mlc_result_create(mlc_run *run, const mlc_binding *output, int64_t n, bool raw);

/* Stores sample `i` of an output from a buffer of manifest->out_size bytes. */
void mlc_result_unpack(const mlc_binding *output, const uint8_t *out, bool raw, mlc_tensor *result,
                       int64_t i);

#endif
