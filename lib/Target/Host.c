/* The same integer code as native code, for differential tests and for user space. */
#include "Target.h"

const mlc_target mlc_target_host = {
    .name = "host",
    .doc = "an x86-64 relocatable object with the same integer code: void mlc_model(in, out, scratch)",
    .host_image = true,
};
