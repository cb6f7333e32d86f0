/* Tensors in, tensors out, through maps: to evaluate, test and measure any model in the kernel. */
#include "CodeGen/CodeGen.h"
#include "Target.h"

#include <linux/bpf.h>

static bool glue(mlc_codegen *cg, mlc_debug *debug) {
    LLVMValueRef in = mlc_bpf_map(debug, "mlc_in", BPF_MAP_TYPE_ARRAY, 4, (unsigned)cg->layout.in_size, 1);
    LLVMValueRef out = mlc_bpf_map(debug, "mlc_out", BPF_MAP_TYPE_ARRAY, 4, (unsigned)cg->layout.out_size, 1);
    mlc_bpf_map_getter(debug, "mlc_in_get", in, true);
    mlc_bpf_map_getter(debug, "mlc_out_get", out, true);
    return true;
}

const mlc_target mlc_target_bpf_raw = {
    .name = "bpf-raw",
    .doc = "tensors in, tensors out, through maps: to evaluate, test and measure",
    .entry = "raw",
    .host_image = true,
    .glue = glue,
};
