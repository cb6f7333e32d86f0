#ifndef MLC_TARGET_ROWS_H
#define MLC_TARGET_ROWS_H

#include "mlc/target.h"

extern const mlc_target mlc_target_bpf_xdp, mlc_target_bpf_raw, mlc_target_host;

#endif
