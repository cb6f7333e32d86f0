/* Tensors in, tensors out, through maps: to evaluate, test and measure any model in the kernel. */
#include "CodeGen/CodeGen.h"
#include "Target.h"

#include <linux/bpf.h>

static bool glue(mlc_codegen *cg, mlc_debug *debug) {
    int64_t in_size = mlc_tensors_value_size(&cg->layout, MLC_AREA_IN),
            out_size = mlc_tensors_value_size(&cg->layout, MLC_AREA_OUT);
    LLVMValueRef in = mlc_bpf_map(debug, "mlc_in", BPF_MAP_TYPE_ARRAY, 4, (unsigned)in_size, 1);
    LLVMValueRef out = mlc_bpf_map(debug, "mlc_out", BPF_MAP_TYPE_ARRAY, 4, (unsigned)out_size, 1);
    mlc_bpf_map_getter(debug, "mlc_in_get", in, true);
    mlc_bpf_map_getter(debug, "mlc_out_get", out, true);
    return true;
}

const mlc_target mlc_target_bpf_raw = {
    .name = "bpf-raw",
    .doc = "tensors in, tensors out, through maps: to evaluate, test and measure",
    .entry = "raw",
    .host_image = true,
    .in = "mlc_in",
    .out = "mlc_out",
    .key = "mlc_next",
    .glue = glue,
};
