#include "Packets.h"

#include "Object.h"
#include "mlc/bytes.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

enum { FILE_HEADER = 24, RECORD_HEADER = 16, ETHERNET = 1, MAX_FILE = 1 << 30 };

bool mlc_is_capture(const char *path) {
    const char *dot = strrchr(path, '.');
    return dot && (!strcasecmp(dot, ".pcap") || !strcasecmp(dot, ".cap"));
}

static uint8_t *read_file(mlc_run *run, const char *path, size_t *size) {
    FILE *f = fopen(path, "rbe");
    struct stat st;
    if (!f || fstat(fileno(f), &st)) {
        mlc_error(&run->diag, "%s: %s", mlc_escape(path), mlc_errno(errno));
        if (f)
            fclose(f);
        return NULL;
    }
    if (!S_ISREG(st.st_mode) || st.st_size > MAX_FILE) {
        mlc_error(&run->diag, "%s: not a regular file of at most 1 GiB", mlc_escape(path));
        fclose(f);
        return NULL;
    }
    uint8_t *data = mlc_arena_alloc(run->arena, (size_t)st.st_size + 1);
    *size = fread(data, 1, (size_t)st.st_size, f);
    fclose(f);
    return data;
}

typedef struct format {
    uint64_t (*load)(const uint8_t *p, int bytes);
    uint64_t unit; /* ns of a fraction of a second */
} format;

/* `load` is NULL when the file is none. */
static format find_format(const uint8_t *data, size_t size) {
    static const uint32_t micro = 0xa1b2c3d4, nano = 0xa1b23c4d;
    if (size < FILE_HEADER)
        return (format){0};
    uint64_t le = mlc_load_le(data, 4), be = mlc_load_be(data, 4);
    if (le == micro || le == nano)
        return (format){mlc_load_le, le == micro ? 1000 : 1};
    if (be == micro || be == nano)
        return (format){mlc_load_be, be == micro ? 1000 : 1};
    return (format){0};
}

/* Walks the records; stores packets where there is room for them. */
static bool walk(const uint8_t *data, size_t size, const format *f, mlc_packets *packets, int64_t *n,
                 int64_t *skipped) {
    size_t at = FILE_HEADER;
    *n = *skipped = 0;
    while (at < size) {
        if (size - at < RECORD_HEADER)
            return false;
        size_t length = f->load(data + at + 8, 4);
        uint64_t time = f->load(data + at, 4) * 1000000000 + f->load(data + at + 4, 4) * f->unit;
        at += RECORD_HEADER;
        if (length > size - at)
            return false;
        if (length < MLC_MIN_PACKET || length > MLC_MAX_PACKET) {
            ++*skipped;
        } else {
            if (packets->data) {
                packets->data[*n] = data + at;
                packets->size[*n] = (uint32_t)length;
                packets->time[*n] = time;
            }
            ++*n;
        }
        at += length;
    }
    return true;
}

bool mlc_packets_read(mlc_run *run, const char *path, mlc_packets *packets) {
    *packets = (mlc_packets){0};
    size_t size;
    uint8_t *data = read_file(run, path, &size);
    if (!data)
        return false;
    format f = find_format(data, size);
    if (!f.load)
        return mlc_error(&run->diag, "%s: not a pcap file (convert a pcapng file with editcap -F pcap)",
                         mlc_escape(path));
    if ((f.load(data + 20, 4) & 0xffff) != ETHERNET)
        return mlc_error(&run->diag, "%s: its link type is %llu, not Ethernet", mlc_escape(path),
                         (unsigned long long)f.load(data + 20, 4) & 0xffff);
    int64_t n, skipped;
    if (!walk(data, size, &f, packets, &n, &skipped))
        return mlc_error(&run->diag, "%s: the capture is cut off in packet %lld", mlc_escape(path),
                         (long long)(n + skipped + 1));
    if (skipped)
        mlc_warning(&run->diag, "%s: left out %lld packets that are not %d to %d bytes long",
                    mlc_escape(path), (long long)skipped, MLC_MIN_PACKET, MLC_MAX_PACKET);
    if (n == 0)
        return mlc_error(&run->diag, "%s: has no packet to use", mlc_escape(path));
    packets->data = MLC_NEW_ARRAY(run->arena, n, const uint8_t *);
    packets->size = MLC_NEW_ARRAY(run->arena, n, uint32_t);
    packets->time = MLC_NEW_ARRAY(run->arena, n, uint64_t);
    return walk(data, size, &f, packets, &packets->n, &skipped);
}

bool mlc_packet_run(mlc_run *run, int fd, const mlc_packets *packets, int64_t i, int64_t *verdict) {
    LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = packets->data[i], .data_size_in = packets->size[i],
                .repeat = 1);
    if (!mlc_test_run(run, fd, &opts))
        return false;
    *verdict = opts.retval;
    return true;
}

static const char *const verdict_names[] = {"XDP_ABORTED", "XDP_DROP",     "XDP_PASS",
                                            "XDP_TX",      "XDP_REDIRECT", "other"};
enum { OTHER = 5 };

static int verdict_index(int64_t verdict) {
    return verdict >= 0 && verdict < OTHER ? (int)verdict : OTHER;
}

const char *mlc_verdict_name(int64_t verdict) {
    return verdict_names[verdict_index(verdict)];
}

json_t *mlc_verdicts_json(const int64_t *verdicts, int64_t n) {
    int64_t counts[OTHER + 1] = {0};
    for (int64_t i = 0; i < n; i++)
        counts[verdict_index(verdicts[i])]++;
    json_t *j = json_object();
    for (int v = 0; v <= OTHER; v++)
        if (counts[v])
            json_object_set_new(j, verdict_names[v], json_integer(counts[v]));
    return j;
}
