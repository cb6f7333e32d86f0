#ifndef MLC_OPS_CLASSES_H
#define MLC_OPS_CLASSES_H

#include "Real.h"

/*
 * What the classifiers and regressors of ai.onnx.ml share: the transformation of
 * scores that their attribute `post_transform` names, and class labels.
 */
typedef enum mlc_transform {
    MLC_TRANSFORM_NONE,
    MLC_TRANSFORM_LOGISTIC,
    MLC_TRANSFORM_SOFTMAX
} mlc_transform;

/* Reports a transformation that is not known or not supported. */
bool mlc_infer_transform(mlc_graph *g, const mlc_node *node);
mlc_transform mlc_node_transform(const mlc_node *node);
/* One row of n scores, in place. */
void mlc_eval_transform(mlc_transform t, double *scores, int64_t n);
/* scores [M,n]. */
mlc_value *mlc_q_transform(mlc_quant *q, mlc_transform t, mlc_value *scores);

/* The class labels: of integers or of strings, one of which has n > 0. */
typedef struct mlc_classes {
    int64_t n;
    const int64_t *ints;
    const char *const *strings;
} mlc_classes;

/* From attributes of these names; reports none, or both. */
bool mlc_infer_classes(mlc_graph *g, const mlc_node *node, const char *ints, const char *strings);
mlc_classes mlc_node_classes(const mlc_node *node, const char *ints, const char *strings);
/* INT64 or STRING. */
mlc_dtype mlc_classes_dtype(const mlc_classes *c);
/* labels[at] = label of class k. */
void mlc_eval_class(const mlc_classes *c, int64_t k, mlc_tensor *labels, int64_t at);
/* Binds output 0 to the labels of the classes with numbers `index`. Labels that are
 * strings are reported, but only where something reads them. */
bool mlc_q_bind_labels(mlc_quant *q, const mlc_node *node, const mlc_classes *c, mlc_value *index);

#endif
