#ifndef MLC_OPS_LEGACY_H
#define MLC_OPS_LEGACY_H

#include "mlc/op.h"

/*
 * Binary ops before opset 7: B broadcasts to A only where attribute `broadcast`
 * is 1, and its first dimension stands at `axis` of A; without `axis` its
 * dimensions are A's last ones. From opset 7 on numpy's rule holds.
 */

/* Shape of B, extended so that numpy's rule aligns it with A. Reports; with g
 * NULL, after infer has passed, it cannot fail. */
bool mlc_legacy_align(mlc_graph *g, const mlc_node *node, const mlc_shape *a, const mlc_shape *b,
                      mlc_shape *aligned);

/* Inputs 0 and 1 of one type; output 0 is their broadcast. Ready to be used as a row's infer. */
bool mlc_infer_legacy_broadcast(mlc_graph *g, mlc_node *node);

#define MLC_LEGACY_BROADCAST_ATTRS                                                                   \
    (const mlc_attr_spec[]) {                                                                        \
        {"axis", MLC_ATTR_INT}, {"broadcast", MLC_ATTR_INT}, {"consumed_inputs", MLC_ATTR_INTS}, {0} \
    }

#endif
