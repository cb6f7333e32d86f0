#ifndef MLC_CALIBRATION_H
#define MLC_CALIBRATION_H

#include "mlc/pass.h"

/* Reads sample inputs (.npz with an array for each graph input, sample index
 * first; .npy or .csv for a single input) for a SHAPED graph. Reports and
 * returns false on anything that does not fit the model. */
bool mlc_calibration_read(mlc_graph *g, const char *path, const mlc_calibration **out);

#endif
