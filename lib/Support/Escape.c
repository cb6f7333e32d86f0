#include "mlc/diag.h"

#include <ctype.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

const char *mlc_escape(const char *s) {
    enum { BUFFERS = 8, MAX_BYTES = 200 };
    static _Thread_local char buffers[BUFFERS][MAX_BYTES * 4 + sizeof "..."];
    static _Thread_local unsigned next;
    char *buffer = buffers[next++ % BUFFERS], *p = buffer;
    for (int i = 0; i < MAX_BYTES && *s; i++, s++) {
        unsigned char c = (unsigned char)*s;
        if (c >= 0x20 && c < 0x7f && c != '\\' && c != '"' && c != '\'')
            *p++ = *s;
        else
            p += snprintf(p, 5, "\\x%02x", c);
    }
    strcpy(p, *s ? "..." : "");
    return buffer;
}

/* Levenshtein distance without regard to case, on at most MAX_WORD bytes of each. */
static int distance(const char *a, const char *b) {
    enum { MAX_WORD = 64 };
    int n = (int)strnlen(a, MAX_WORD), m = (int)strnlen(b, MAX_WORD);
    int row[MAX_WORD + 1];
    for (int j = 0; j <= m; j++)
        row[j] = j;
    for (int i = 1; i <= n; i++) {
        int diagonal = row[0];
        row[0] = i;
        for (int j = 1; j <= m; j++) {
            bool same = tolower((unsigned char)a[i - 1]) == tolower((unsigned char)b[j - 1]);
            int best = diagonal + !same;
            diagonal = row[j];
            if (row[j] + 1 < best)
                best = row[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            row[j] = best;
        }
    }
    return row[m];
}

const char *mlc_closest(const char *word, const char *const *candidates, int n) {
    int limit = (int)strnlen(word, 60) / 3;
    const char *closest = NULL;
    for (int i = 0; i < n; i++) {
        int d = distance(word, candidates[i]);
        if (d <= limit) {
            closest = candidates[i];
            limit = d - 1;
        }
    }
    return closest;
}
