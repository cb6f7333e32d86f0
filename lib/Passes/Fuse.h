#ifndef MLC_FUSE_H
#define MLC_FUSE_H

/* What the patterns of mlc_fuse share. */
#include "Passes.h"

/* Whether there is such a node, of an op of the default domain. */
bool mlc_fuse_is(const mlc_node *node, const char *name);
/* The one value of a float constant; NAN where it has several, or is none. */
double mlc_fuse_number(const mlc_value *v);

/* Replaces node where it ends the spelled-out form of an activation. */
bool mlc_fuse_activation(mlc_graph *g, mlc_node *node);

#endif
