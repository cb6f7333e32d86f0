/* Objects in the kernel, through mlc-run: mlc itself loads nothing. */
#include "Mlc.h"

#include "mlc/rng.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <math.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

/* mlc-run beside this program, else on the path. */
static const char *runner(const char *argv0, char *buffer, size_t size) {
    const char *slash = strrchr(argv0, '/');
    if (slash && snprintf(buffer, size, "%.*s/mlc-run", (int)(slash - argv0), argv0) < (int)size &&
        access(buffer, X_OK) == 0)
        return buffer;
    return "mlc-run";
}

/* Standard output of a program as JSON; NULL when it fails. */
static json_t *run_json(char *const *argv) {
    int ends[2];
    if (pipe(ends) != 0)
        return NULL;
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    posix_spawn_file_actions_addclose(&actions, ends[0]);
    posix_spawn_file_actions_addclose(&actions, ends[1]);
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    pid_t pid;
    int error = posix_spawnp(&pid, argv[0], &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    FILE *f = fdopen(ends[0], "r");
    json_t *j = error || !f ? NULL : json_loadf(f, 0, NULL);
    if (f)
        fclose(f);
    else
        close(ends[0]);
    int status = 1;
    if (!error)
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
            continue;
    if (status == 0)
        return j;
    json_decref(j);
    return NULL;
}

static double number(const json_t *j, const char *key) {
    const json_t *x = json_object_get(j, key);
    return json_is_number(x) ? json_number_value(x) : NAN;
}

/* --- packets, for filters --- */

enum { PACKETS = 64, PACKET_BYTES = 128, ETHERNET = 14, IP = 20 };

typedef struct pcap_header {
    uint32_t magic;
    uint16_t major, minor;
    uint32_t zone, accuracy, most, link;
} pcap_header;

typedef struct pcap_record {
    uint32_t seconds, microseconds, size, original;
} pcap_record;

/* TCP over IPv4, so that every feature is filled; all that may be is random. */
static void make_packet(mlc_rng *rng, uint8_t *p) {
    for (int i = 0; i < PACKET_BYTES; i++)
        p[i] = (uint8_t)mlc_rng_range(rng, 0, UINT8_MAX);
    static const uint8_t head[] = {0x08, 0x00, 0x45, 0x00, 0x00, PACKET_BYTES - ETHERNET};
    static const uint8_t after[] = {0x40, 0x00, 64, 6}; /* no fragment, lives long, TCP */
    memcpy(p + ETHERNET - 2, head, sizeof head);
    memcpy(p + ETHERNET + 6, after, sizeof after);
    p[ETHERNET + IP + 12] = 0x50; /* a TCP header without options */
}

static bool write_packets(const char *path) {
    size_t size = sizeof(pcap_header) + PACKETS * (sizeof(pcap_record) + PACKET_BYTES);
    char *data = calloc(1, size), *p = data;
    if (!data)
        return false;
    mlc_rng rng = {1};
    pcap_header header = {0xa1b2c3d4, 2, 4, 0, 0, PACKET_BYTES, 1};
    memcpy(p, &header, sizeof header);
    p += sizeof header;
    for (uint32_t i = 0; i < PACKETS; i++) {
        pcap_record record = {1, i, PACKET_BYTES, PACKET_BYTES};
        memcpy(p, &record, sizeof record);
        make_packet(&rng, (uint8_t *)p + sizeof record);
        p += sizeof record + PACKET_BYTES;
    }
    bool ok = write_file(path, data, size);
    free(data);
    return ok;
}

/* --- */

bool bench_open(bench *b, const char *argv0) {
    *b = (bench){.directory = "/tmp/mlc-measure-XXXXXX"};
    if (!mkdtemp(b->directory)) {
        fprintf(stderr, "mlc: error: cannot make a directory in /tmp: %s\n", strerror(errno));
        return false;
    }
    char path[PATH_MAX];
    snprintf(b->run, sizeof b->run, "%s", runner(argv0, path, sizeof path));
    return true;
}

static void object_path(const bench *b, int i, char *path, size_t size) {
    snprintf(path, size, "%s/%d.o", b->directory, i);
}

void bench_close(bench *b) {
    char path[64];
    for (int i = 0; i < b->n; i++) {
        object_path(b, i, path, sizeof path);
        unlink(path);
    }
    snprintf(path, sizeof path, "%s/packets.pcap", b->directory);
    unlink(path);
    rmdir(b->directory);
}

bool bench_add(bench *b, const mlc_result *result) {
    char path[64];
    object_path(b, b->n, path, sizeof path);
    if (!write_file(path, result->data, result->size))
        return false;
    b->verified[b->n] = b->ns[b->n] = NAN;
    b->n++;
    return true;
}

/* The verifier's count; NAN where the object is refused. */
static double verify(bench *b, char *path) {
    json_t *j = run_json((char *[]){b->run, "verify", path, "--json", NULL});
    const json_t *programs = json_object_get(j, "programs");
    double n = number(json_is_array(programs) ? json_array_get(programs, 0) : j, "verified_insns");
    json_decref(j);
    return n;
}

bool bench_run(bench *b, bool packets) {
    char path[BENCH_MOST][64], inputs[80], *argv[BENCH_MOST + 5] = {b->run, "bench", "--json"};
    int index[BENCH_MOST], n = 0, args = 3;
    for (int i = 0; i < b->n; i++) {
        object_path(b, i, path[i], sizeof path[i]);
        b->verified[i] = verify(b, path[i]);
        if (isnan(b->verified[i]))
            continue;
        argv[args++] = path[i];
        index[n++] = i;
    }
    if (packets) {
        snprintf(inputs, sizeof inputs, "--inputs=%s/packets.pcap", b->directory);
        if (!write_packets(inputs + strlen("--inputs=")))
            return false;
        argv[args++] = inputs;
    }
    json_t *j = n ? run_json(argv) : NULL; /* all of them in turn: other load meets each */
    for (int k = 0; k < n; k++)
        b->ns[index[k]] = number(json_is_array(j) ? json_array_get(j, (size_t)k) : j, "ns_min");
    json_decref(j);
    return true;
}
