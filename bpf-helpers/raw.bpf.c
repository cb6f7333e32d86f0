/* Entry of target bpf-raw: sample after sample from map mlc_in to map mlc_out. The
 * packet is not looked at; one test run at a time. */
#include "mlc.h"

/* Set by the loader. */
volatile __u32 mlc_next = 0;  /* sample to evaluate; the model looks it up itself, too */
volatile __u32 mlc_count = 0; /* number of samples */

/* Returns 0, or 1 when there is no such sample. The type of the packet stays out of BTF: it refers to types
 * that LLVM orders by address, and objects would differ from run to run. */
SEC("socket") int mlc_raw(void *packet) {
    __u8 *in = mlc_in_get(&mlc_next), *out = mlc_out_get(&mlc_next), *frame = mlc_frame_get();
    int failed = 1;
    if (in && out && frame) { /* in a branch of its own: else a test of the flag guards the pointers, and the
                               * verifier puts a barrier behind it where it expects mispredictions */
        mlc_model(in, out, frame + mlc_frame_scratch);
        failed = 0;
    }
    __u32 next = mlc_next + 1;
    mlc_next = next < mlc_count ? next : 0;
    return failed;
}

char mlc_license[] SEC("license") = "GPL";
