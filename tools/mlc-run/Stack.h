#ifndef MLC_RUN_STACK_H
#define MLC_RUN_STACK_H

#include "Run.h"

#include <linux/bpf.h>

/*
 * Bytes of stack of the deepest chain of calls, from the frame sizes in the
 * verifier's log ("stack depth 16+8+0", a number per function) and the calls
 * among the program's `n` instructions. -1 when the log states none.
 */
long mlc_stack_depth(mlc_run *run, const struct bpf_insn *insns, size_t n, const char *log);

#endif
