#ifndef MLC_TARGET_H
#define MLC_TARGET_H

#include "mlc/features.h"
#include "mlc/graph.h"

/*
 * A target is one file in lib/Target and one row of the table there. It says what
 * kind of program carries the model and which helper bitcode is its entry. The
 * entry (C, bpf-helpers/) fills the inputs and calls mlc_model; the row's
 * `glue` supplies what depends on the model.
 */
struct mlc_codegen;
struct mlc_debug;

typedef struct mlc_target {
    const char *name; /* as in --target= */
    const char *doc;
    const char *entry;           /* bitcode in bpf-helpers; NULL: no BPF code, host image only */
    bool packet;                 /* inputs come from packet features, the output is a decision */
    bool host_image;             /* carries .mlc.host */
    const char *const *verdicts; /* names of the hook's return values, ended by NULL */
    const char *pass, *drop;     /* verdicts of --on-error */
    const char *in, *out;        /* maps of inputs and outputs; NULL: they lie in the frame */
    const char *key;             /* the u32 by which they are looked up */

    /* Adds to the glue module the definitions that the entry declares (bpf-helpers/mlc.h). */
    bool (*glue)(struct mlc_codegen *cg, struct mlc_debug *debug);
} mlc_target;

const mlc_target *const *mlc_targets(int *n);
const mlc_target *mlc_target_find(const char *name); /* NULL when unknown */

#endif
