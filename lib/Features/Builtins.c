/* The table of built-in features and what --list-features says. */
#include "mlc/features.h"

#include "Features.h"

static const mlc_builtin builtins[] = {
#define MLC_FEATURE(SYMBOL, name, group, needs, lo, hi, doc) {#name, group, needs, lo, hi, doc},
#include "mlc/features.def"
#undef MLC_FEATURE
};
_Static_assert(sizeof builtins / sizeof builtins[0] == MLC_N_BUILTINS, "MLC_N_BUILTINS");

const mlc_builtin *mlc_builtins(void) {
    return builtins;
}

enum {
#define MLC_FEATURE(SYMBOL, name, group, needs, lo, hi, doc) SYMBOL,
#include "mlc/features.def"
#undef MLC_FEATURE
};

#define BIT(SYMBOL) ((uint64_t)1 << SYMBOL)

const mlc_feature_set mlc_feature_sets[] = {
    {"full43", BIT(MLC_N_BUILTINS) - 1, "all of them"},
    {"nodst39", BIT(D_L8_PKTS) - 1, "all but the state of the destination"},
    {"hdr19", BIT(F_L8_PKTS) - 1, "header fields only: no map, no clock"},
    {"tiny12",
     BIT(IS_TCP) | BIT(IS_UDP) | BIT(IP_LEN) | BIT(L8_PAYLOAD) | BIT(SYN) | BIT(ACK) | BIT(L8_TCP_WIN) |
         BIT(TCP_OPT_LEN) | BIT(F_L8_PKTS) | BIT(F_MEAN_LEN) | BIT(S_L8_NEWFLOWS) | BIT(S_PORTS64),
     "is_tcp is_udp ip_len l8_payload syn ack l8_tcp_win tcp_opt_len f_l8_pkts f_mean_len s_l8_newflows "
     "s_ports64"},
    {0},
};

static const char *const error_names[] = {"not-ipv4", "bad-header", "short-packet", "no-memory", "no-frame"};
_Static_assert(sizeof error_names / sizeof error_names[0] == MLC_N_PACKET_ERRORS, "error_names");
_Static_assert(MLC_MAX_DECISIONS + MLC_N_PACKET_ERRORS <= MLC_N_COUNTERS, "MLC_N_COUNTERS");

const char *mlc_packet_error_name(int error) {
    return error_names[error];
}

static void list_group(FILE *f, unsigned group, const char *title) {
    fprintf(f, "\n%s\n", title);
    for (int i = 0; i < MLC_N_BUILTINS; i++) {
        const mlc_builtin *b = &builtins[i];
        if (b->group == group)
            fprintf(f, "  %-17s %2lld..%-6lld %s\n", b->name, (long long)b->lo, (long long)b->hi, b->doc);
    }
}

void mlc_features_list(FILE *f) {
    fputs("Features of IPv4 packets (below Ethernet and up to two VLAN tags), with their ranges.\n"
          "l8(x) = 8*(1 + log2 x) with three fractional bits, 0 for x = 0, at most 327.\n"
          "A feature of the L4 header is 0 for later fragments and where that header is cut short.\n",
          f);
    list_group(f, MLC_GROUP_HEADER, "Header: this packet alone");
    list_group(f, MLC_GROUP_FLOW,
               "Flow: addresses, ports and protocol, one direction; begins anew after 68.7 s of silence");
    list_group(f, MLC_GROUP_SOURCE, "Source: all packets of the source address in a window of 8.6 s");
    list_group(f, MLC_GROUP_DESTINATION,
               "Destination: all packets to the destination address in a window of 1.07 s");
    fputs("\nSets\n", f);
    for (const mlc_feature_set *s = mlc_feature_sets; s->name; s++)
        fprintf(f, "  %-17s %s\n", s->name, s->doc);
    fprintf(
        f,
        "\nRaw bytes (OFF and COUNT in decimal; *COUNT may be left out)\n"
        "  pkt.u8@OFF*COUNT      COUNT elements from byte OFF of the packet on; also i8, and u16 i16 u32 "
        "i32\n"
        "                        followed by le or be: pkt.u16be@36, pkt.u32le@0*12\n"
        "  payload.u8@OFF*COUNT  the same from the end of the L4 header on; zeros behind the payload's end\n"
        "  Both reach to byte %d at most. A packet too short for its pkt features is not classified.\n",
        MLC_MAX_PACKET_BYTE);
}
