#ifndef MLC_RUN_H
#define MLC_RUN_H

#include "mlc/arena.h"
#include "mlc/diag.h"

#include <jansson.h>
#include <stdbool.h>

/* What every command of mlc-run is handed. Errors go to `diag` and are printed as
 * "mlc-run: error: ..."; memory comes from `arena` and lives until the end. */
typedef struct mlc_run {
    mlc_arena *arena;
    mlc_diag diag;
} mlc_run;

/*
 * A command: argv[0] is "mlc-run NAME". Returns false when it failed, which makes
 * the exit status 1; wrong usage exits with 2 from within argp.
 */
typedef bool mlc_command_fn(mlc_run *run, int argc, char **argv);

mlc_command_fn mlc_command_verify, mlc_command_eval, mlc_command_replay, mlc_command_bench,
    mlc_command_attach, mlc_command_detach, mlc_command_list, mlc_command_stats, mlc_command_swap;

/* Key of the option --json in every command's argp table. */
enum { MLC_KEY_JSON = 0x1000, MLC_KEY_FIRST };
#define MLC_OPTION_JSON {"json", MLC_KEY_JSON, NULL, 0, "Print the result as JSON", 0}

/* For commands that take exactly one OBJ or NAME: stores argument `n`, refuses more than `max`. */
struct argp_state;
void mlc_take_argument(struct argp_state *state, const char **slots, int max, char *arg);

/* The whole of an option's argument as a number; leaves through argp_error otherwise. */
long mlc_option_integer(struct argp_state *state, const char *option, const char *arg, long lo, long hi);
double mlc_option_real(struct argp_state *state, const char *option, const char *arg);

/* Prints `json` to stdout and drops the reference to it. */
void mlc_print_json(json_t *json);

/* Decreases the reference count of `json` when the arena goes; returns it. */
json_t *mlc_keep_json(mlc_run *run, json_t *json);

/* The text of an errno, of the kernel's internal ones (524) too. Takes either sign. */
const char *mlc_errno(int err);

#endif
