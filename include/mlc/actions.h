#ifndef MLC_ACTIONS_H
#define MLC_ACTIONS_H

#include "mlc/arena.h"
#include "mlc/diag.h"
#include "mlc/features.h"

#include <stdbool.h>

/*
 * What a packet filter does with the model's answer. Written as a comma-separated
 * list of rules, or as JSON: an array of such rules, or an object that maps left
 * side to right side.
 *
 *   drop: p >= 0.5                   by the score in output p (the name may be left out)
 *   drop: p[1] > 0.9, else: pass     by one element of it
 *   class 1: drop, class 2: pass     by the class; others get `else`, by default pass
 *   attack=drop, benign=pass         the same by label
 *
 * Without `else`, a threshold rule answers pass where it does not hold (drop when
 * it gives pass).
 */
typedef enum mlc_action_kind { MLC_ACTION_THRESHOLD, MLC_ACTION_CLASSES } mlc_action_kind;

typedef struct mlc_decision {
    const char
        *name; /* "pass", "drop"; "class 1" or the label: may come from the model, escape before printing */
    const char *verdict; /* one of the target's */
} mlc_decision;

typedef struct mlc_actions {
    mlc_action_kind kind;
    /* THRESHOLD: decision 1 where the score compares, else 0. CLASSES: one for each class. */
    mlc_decision decisions[MLC_MAX_DECISIONS];
    int n_decisions;

    /* THRESHOLD */
    const char *output; /* NULL: not named */
    int64_t element;    /* of the flattened output; -1: not given */
    bool strict;        /* > instead of >= */
    double threshold;   /* finite */
} mlc_actions;

/* What the caller knows of target and model. */
typedef struct mlc_actions_context {
    const char *const
        *verdicts; /* the target's, ended by NULL; "pass" and "drop" always mean `pass` and `drop` */
    const char *pass, *drop;
    int n_classes;             /* 1: a single score */
    const char *const *labels; /* n_classes names, or NULL; not trusted */
    double threshold;          /* of a single score when nothing is said */
} mlc_actions_context;

/*
 * `spec` NULL: a single score drops from context->threshold on; of several classes
 * the first passes and the others drop. Reports and returns false on any error.
 */
bool mlc_actions_parse(mlc_arena *arena, mlc_diag *diag, const char *spec, const mlc_actions_context *context,
                       mlc_actions **out);

#endif
