#ifndef MLC_IMPORT_H
#define MLC_IMPORT_H

#include "mlc/graph.h"

#include <stddef.h>
#include <stdint.h>

/*
 * Reads an ONNX file into a graph of stage IMPORTED. NULL after reporting;
 * one run reports every bad node, up to a limit. Nothing in the file can make
 * this crash, hang or use memory out of proportion to the file's size.
 *
 * External data is read only from regular files beneath the model's folder.
 * g->sha256 is that of the file's bytes, followed by the bytes of each tensor
 * in external files, in the order of the tensors.
 *
 * Sets diag->file to `path` when it is NULL.
 */
mlc_graph *mlc_import_onnx(mlc_arena *arena, mlc_diag *diag, const char *path);

/* The same from memory; `name` stands for the file in messages. Tensors with
 * external data are an error. */
mlc_graph *mlc_import_onnx_memory(mlc_arena *arena, mlc_diag *diag, const char *name, const void *data,
                                  size_t size);

#endif
