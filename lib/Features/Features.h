#ifndef MLC_FEATURES_INTERNAL_H
#define MLC_FEATURES_INTERNAL_H

#include <stdint.h>

typedef struct mlc_feature_set {
    const char *name;
    uint64_t builtins; /* bit i: built-in i; in the order of their index */
    const char *doc;
} mlc_feature_set;

extern const mlc_feature_set mlc_feature_sets[]; /* ended by {0} */

#endif
