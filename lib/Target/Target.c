#include "Target.h"

#include <string.h>

static const mlc_target *const targets[] = {&mlc_target_bpf_xdp, &mlc_target_bpf_raw, &mlc_target_host};

const mlc_target *const *mlc_targets(int *n) {
    *n = (int)(sizeof targets / sizeof targets[0]);
    return targets;
}

const mlc_target *mlc_target_find(const char *name) {
    for (size_t i = 0; i < sizeof targets / sizeof targets[0]; i++)
        if (strcmp(targets[i]->name, name) == 0)
            return targets[i];
    return NULL;
}
