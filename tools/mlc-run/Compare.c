#include "Compare.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static double difference(double got, double reference) {
    if (isnan(got) || isnan(reference))
        return isnan(got) && isnan(reference) ? 0 : INFINITY;
    return got == reference ? 0 : fabs(got - reference);
}

/* Keeps the samples with the largest errors, one entry each. */
static void note_worst(mlc_comparison *c, int64_t sample, int64_t element, double got, double reference,
                       double error) {
    if (error == 0)
        return;
    int at = c->n_worst;
    while (at > 0 && c->worst[at - 1].error < error)
        at--;
    if (at == MLC_WORST_SAMPLES)
        return;
    int last = c->n_worst < MLC_WORST_SAMPLES ? c->n_worst++ : MLC_WORST_SAMPLES - 1;
    memmove(&c->worst[at + 1], &c->worst[at], (size_t)(last - at) * sizeof c->worst[0]);
    c->worst[at].sample = sample;
    c->worst[at].element = element;
    c->worst[at].got = got;
    c->worst[at].reference = reference;
    c->worst[at].error = error;
}

static void measure(mlc_comparison *c, const mlc_tensor *result, const mlc_tensor *reference,
                    int64_t elements) {
    double sum = 0;
    for (int64_t i = 0; i < c->samples; i++) {
        double most = 0;
        int64_t where = 0;
        for (int64_t e = 0; e < elements; e++) {
            double error = difference(mlc_tensor_real(result, i * elements + e),
                                      mlc_tensor_real(reference, i * elements + e));
            sum += error;
            if (error > most) {
                most = error;
                where = e;
            }
        }
        c->equal += most == 0;
        if (most > c->max_error)
            c->max_error = most;
        note_worst(c, i, where, mlc_tensor_real(result, i * elements + where),
                   mlc_tensor_real(reference, i * elements + where), most);
    }
    c->mean_error = sum / ((double)c->samples * (double)elements);
}

static int64_t decide(const mlc_comparison *c, const mlc_tensor *t, int64_t sample, int64_t elements) {
    if (c->decides == MLC_DECIDES_LABEL)
        return mlc_dtype_is_integer(t->dtype) ? t->i[sample] : (int64_t)t->f[sample];
    if (c->decides == MLC_DECIDES_THRESHOLD)
        return mlc_tensor_real(t, sample) > c->threshold;
    int64_t best = 0;
    for (int64_t e = 1; e < elements; e++)
        if (mlc_tensor_real(t, sample * elements + e) > mlc_tensor_real(t, sample * elements + best))
            best = e;
    return best;
}

static int compare_labels(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static int find_label(const mlc_comparison *c, int64_t label) {
    for (int i = 0; i < c->n_labels; i++)
        if (c->labels[i] == label)
            return i;
    return -1;
}

static bool add_label(mlc_comparison *c, int64_t label) {
    if (find_label(c, label) >= 0)
        return true;
    if (c->n_labels == MLC_MAX_LABELS)
        return false;
    c->labels[c->n_labels++] = label;
    return true;
}

static void count_decisions(mlc_comparison *c, const mlc_tensor *result, const mlc_tensor *reference,
                            int64_t elements) {
    bool few = true;
    for (int64_t i = 0; i < c->samples; i++) {
        int64_t got = decide(c, result, i, elements), expected = decide(c, reference, i, elements);
        c->agree += got == expected;
        few = few && add_label(c, got) && add_label(c, expected);
    }
    if (!few) {
        c->n_labels = 0;
        return;
    }
    qsort(c->labels, (size_t)c->n_labels, sizeof c->labels[0], compare_labels);
    for (int64_t i = 0; i < c->samples; i++)
        c->confusion[find_label(c, decide(c, reference, i, elements))]
                    [find_label(c, decide(c, result, i, elements))]++;
}

static void choose_decision(mlc_comparison *c, const mlc_binding *output, const mlc_tensor *reference,
                            double threshold) {
    if (mlc_dtype_is_integer(output->dtype)) {
        c->decides = output->elements == 1 ? MLC_DECIDES_LABEL : MLC_DECIDES_NOTHING;
        return;
    }
    c->decides = output->elements == 1 ? MLC_DECIDES_THRESHOLD : MLC_DECIDES_ARGMAX;
    c->threshold = threshold;
    if (!isnan(threshold))
        return;
    c->threshold = 0.5;
    for (int64_t i = 0; i < c->samples * output->elements; i++)
        if (!(mlc_tensor_real(reference, i) >= 0 && mlc_tensor_real(reference, i) <= 1))
            c->threshold = 0;
}

mlc_comparison *mlc_compare(mlc_run *run, const char *path, const mlc_arrays *reference,
                            const mlc_binding *output, bool only, const mlc_tensor *result, double threshold,
                            bool *ok) {
    const mlc_tensor *t = mlc_arrays_find(reference, output->name);
    if (!t && only && reference->n == 1)
        t = reference->array[0].tensor;
    if (!t)
        return NULL;
    if (t->dtype == MLC_STRING || mlc_shape_elements(&t->shape) != mlc_shape_elements(&result->shape)) {
        *ok = mlc_error(&run->diag, "%s: array for output '%s' is %s %s; expected numbers of shape %s",
                        mlc_escape(path), mlc_escape(output->name), mlc_dtype_name(t->dtype),
                        mlc_shape_str(run->arena, &t->shape), mlc_shape_str(run->arena, &result->shape));
        return NULL;
    }
    mlc_comparison *c = MLC_NEW(run->arena, mlc_comparison);
    c->name = output->name;
    c->samples = mlc_shape_elements(&result->shape) / output->elements;
    measure(c, result, t, output->elements);
    choose_decision(c, output, t, threshold);
    if (c->decides != MLC_DECIDES_NOTHING)
        count_decisions(c, result, t, output->elements);
    return c;
}

static const char *decision_name(const mlc_comparison *c) {
    static const char *const names[] = {"nothing", "label", "argmax", "threshold"};
    return names[c->decides];
}

void mlc_comparison_print(const mlc_comparison *c) {
    printf("output '%s': %lld samples, max |error| %.3g, mean %.3g, %lld equal\n", mlc_escape(c->name),
           (long long)c->samples, c->max_error, c->mean_error, (long long)c->equal);
    if (c->decides != MLC_DECIDES_NOTHING) {
        printf("  decisions (%s", decision_name(c));
        if (c->decides == MLC_DECIDES_THRESHOLD)
            printf(" > %g", c->threshold);
        printf("): %lld of %lld agree, %.5f\n", (long long)c->agree, (long long)c->samples,
               (double)c->agree / (double)c->samples);
    }
    if (c->n_labels) {
        printf("  %20s", "reference \\ here");
        for (int j = 0; j < c->n_labels; j++)
            printf(" %8lld", (long long)c->labels[j]);
        putchar('\n');
        for (int i = 0; i < c->n_labels; i++) {
            printf("  %20lld", (long long)c->labels[i]);
            for (int j = 0; j < c->n_labels; j++)
                printf(" %8lld", (long long)c->confusion[i][j]);
            putchar('\n');
        }
    }
    for (int i = 0; i < c->n_worst; i++)
        printf("  %s sample %lld, element %lld: %.9g, reference %.9g, error %.3g\n",
               i ? "      " : "worst:", (long long)c->worst[i].sample, (long long)c->worst[i].element,
               c->worst[i].got, c->worst[i].reference, c->worst[i].error);
}

/* JSON has neither NaN nor infinity. */
static json_t *json_finite(double x) {
    return isfinite(x) ? json_real(x) : json_null();
}

json_t *mlc_comparison_json(const mlc_comparison *c) {
    json_t *j =
        json_pack("{s:s,s:I,s:o,s:o,s:I,s:s}", "output", mlc_escape(c->name), "samples",
                  (json_int_t)c->samples, "max_error", json_finite(c->max_error), "mean_error",
                  json_finite(c->mean_error), "equal", (json_int_t)c->equal, "decides", decision_name(c));
    if (c->decides != MLC_DECIDES_NOTHING) {
        json_object_set_new(j, "agree", json_integer(c->agree));
        json_object_set_new(j, "agreement", json_real((double)c->agree / (double)c->samples));
    }
    if (c->decides == MLC_DECIDES_THRESHOLD)
        json_object_set_new(j, "threshold", json_real(c->threshold));
    if (c->n_labels) {
        json_t *labels = json_array(), *rows = json_array();
        for (int i = 0; i < c->n_labels; i++) {
            json_array_append_new(labels, json_integer(c->labels[i]));
            json_t *row = json_array();
            for (int k = 0; k < c->n_labels; k++)
                json_array_append_new(row, json_integer(c->confusion[i][k]));
            json_array_append_new(rows, row);
        }
        json_object_set_new(j, "labels", labels);
        json_object_set_new(j, "confusion", rows);
    }
    json_t *worst = json_array();
    for (int i = 0; i < c->n_worst; i++)
        json_array_append_new(
            worst,
            json_pack("{s:I,s:I,s:o,s:o,s:o}", "sample", (json_int_t)c->worst[i].sample, "element",
                      (json_int_t)c->worst[i].element, "got", json_finite(c->worst[i].got), "reference",
                      json_finite(c->worst[i].reference), "error", json_finite(c->worst[i].error)));
    json_object_set_new(j, "worst", worst);
    return j;
}
