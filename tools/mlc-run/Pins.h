#ifndef MLC_RUN_PINS_H
#define MLC_RUN_PINS_H

#include "Object.h"

/*
 * What is attached lives in the BPF file system, and so outlives the process:
 *
 *   BPFFS/mlc/NAME/link          the attachment
 *   BPFFS/mlc/NAME/ID/prog       the program with that id
 *   BPFFS/mlc/NAME/ID/MAP        each of its maps
 *   BPFFS/mlc/NAME/ID/state      an array map whose one value is JSON: device, mode, object, manifest
 *
 * The link says which ID is current. Any other is left over from a command that
 * was interrupted; without a link all of NAME is.
 */
#define MLC_BPFFS "/sys/fs/bpf"

/* An existing attachment, opened. */
typedef struct mlc_attachment {
    const char *name, *dir; /* BPFFS/mlc/NAME */
    const char *current;    /* BPFFS/mlc/NAME/ID */
    int link, program;      /* file descriptors */
    struct bpf_link_info info;
    json_t *state;
    mlc_manifest *manifest; /* without nodes; NULL: the object had none */
} mlc_attachment;

/* [A-Za-z0-9_-]{1,64} */
bool mlc_name_valid(const char *name);

/* A path below BPFFS/mlc: name and file may be NULL. */
const char *mlc_pin_path(mlc_run *run, const char *bpffs, const char *name, const char *file);

/* Makes BPFFS/mlc, mounting the file system where it is not, and locks it against
 * other changes until the process ends. */
bool mlc_pins_prepare(mlc_run *run, const char *bpffs);

bool mlc_attachment_open(mlc_run *run, const char *bpffs, const char *name, mlc_attachment *a);
void mlc_attachment_close(mlc_attachment *a);

/* The device's name in this network namespace, or "ifindex N". */
const char *mlc_attachment_device(mlc_run *run, const mlc_attachment *a);

/* "veth0 (native)" and so on come from here; "" where the state lacks the key. */
const char *mlc_attachment_text(const mlc_attachment *a, const char *key);

/* The state of a loaded object about to be attached. */
json_t *mlc_state_create(mlc_run *run, const mlc_object *object, const struct bpf_program *program,
                         const char *device, const char *mode);

/* Pins program, maps and state below `dir`; *generation is the folder. Nothing is
 * left behind on failure. */
bool mlc_pin_generation(mlc_run *run, const char *dir, const mlc_object *object,
                        const struct bpf_program *program, const json_t *state, const char **generation);

/* Removes a folder with everything in it; what is not there is no error. */
bool mlc_unpin(mlc_run *run, const char *path);

/* Refuses a program that runs in the interpreter, unless `allowed`. */
bool mlc_require_jit(mlc_run *run, const struct bpf_program *program, bool allowed);

#endif
