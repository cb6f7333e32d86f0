"""The 43 features of a packet filter's model, from captures; integer arithmetic only.

The kernel computes the same numbers (`mlc --list-features` says what they mean). A row is one IPv4 packet, computed
from it and from what went before: the state of its flow, of its source and of its destination. The packet is added to
that state before the features are read. No address, port number, sequence number, payload byte or time of day is a
feature.

usage: features.py FILE.pcap... -o OUT.npz      writes X [rows, 43] and `packet`, each row's packet in its capture
"""
import argparse
import struct

import numpy as np

NAMES = """
    is_tcp is_udp is_icmp ip_len l8_payload ip_opt_len is_frag df fin syn rst psh ack urg ece_cwr l8_tcp_win
    tcp_opt_len sport_cls dport_cls
    f_l8_pkts f_l8_bytes f_mean_len f_l8_var_len f_min_len f_max_len f_l8_dur_us f_l8_iat_us f_l8_iat_mean_us
    f_l8_iat_max_us f_l8_syn f_l8_finrst f_l8_psh
    s_l8_pkts s_l8_newflows s_l8_syn s_ports64 s_dsts64 s_mean_len s_l8_age_us
    d_l8_pkts d_l8_newflows d_l8_syn d_srcs64
""".split()

FLOW_IDLE_NS, SOURCE_WINDOW_NS, DESTINATION_WINDOW_NS = 1 << 36, 1 << 33, 1 << 30
TCP, UDP, ICMP = 6, 17, 1
FIN, SYN, RST, PSH, ACK, URG, ECE, CWR = (1 << i for i in range(8))


def l8(x):
    """8 * (1 + log2 x) with three fractional bits, piecewise linear; 0 for 0."""
    if x == 0:
        return 0
    x = min(x, (1 << 40) - 1)
    e = x.bit_length() - 1
    return 8 * (e + 1) + ((x << 3 >> e) & 7)


def bucket(x):
    """One bit of a 64-bit set that estimates how many different x there were."""
    return 1 << ((x * 0x9E3779B1 & 0xFFFFFFFF) >> 26)


def port_class(port):
    return 0 if port == 0 else 1 if port < 1024 else 2 if port < 32768 else 3


class Packet:
    """An IPv4 packet's header fields. L4 fields are 0 in later fragments and where that header is cut short."""

    def __init__(self, b, header):
        self.length, fragment = struct.unpack_from(">H2xH", b, 2)
        self.protocol = b[9]
        self.source, self.destination = struct.unpack_from(">II", b, 12)
        self.options = header - 20
        self.is_fragment = fragment & 0x3FFF != 0
        self.dont_fragment = fragment >> 14 & 1
        self.sport = self.dport = self.flags = self.window = self.tcp_options = 0
        l4 = 0
        rest = len(b) - header if fragment & 0x1FFF == 0 else 0
        if self.protocol == TCP and rest >= 20:
            self.sport, self.dport = struct.unpack_from(">HH", b, header)
            l4 = (b[header + 12] >> 4) * 4
            self.flags = b[header + 13]
            self.window, = struct.unpack_from(">H", b, header + 14)
            self.tcp_options = max(0, l4 - 20)
        elif self.protocol == UDP and rest >= 8:
            self.sport, self.dport = struct.unpack_from(">HH", b, header)
            l4 = 8
        elif self.protocol == ICMP and rest >= 8:
            l4 = 8
        self.payload = max(0, self.length - header - l4)
        self.opens = self.protocol == TCP and self.flags & (SYN | ACK) == SYN


def parse(b):
    """The packet, or None for what a filter does not classify: not IPv4, or a header cut short."""
    if len(b) < 20 or b[0] >> 4 != 4:
        return None
    header = (b[0] & 15) * 4
    return Packet(b, header) if 20 <= header <= len(b) else None


class Flow:
    """Packets with the same addresses, ports and protocol, in one direction."""

    def __init__(self, now, length):
        self.first = self.last = now
        self.packets = self.bytes = self.squares = 0
        self.gap = self.longest_gap = 0
        self.shortest = self.longest = length
        self.syn = self.finrst = self.psh = 0

    def add(self, now, p):
        self.gap = max(0, now - self.last)
        self.last += self.gap
        self.longest_gap = max(self.longest_gap, self.gap)
        self.packets += 1
        self.bytes += p.length
        self.squares += p.length * p.length
        self.shortest = min(self.shortest, p.length)
        self.longest = max(self.longest, p.length)
        self.syn += p.flags & SYN != 0
        self.finrst += p.flags & (FIN | RST) != 0
        self.psh += p.flags & PSH != 0

    def features(self):
        n, mean = self.packets, self.bytes // self.packets
        us = (self.last - self.first) // 1000
        return [l8(n), l8(self.bytes), mean, l8(self.squares // n - mean * mean), self.shortest, self.longest,
                l8(us), l8(self.gap // 1000), l8(us // (n - 1)) if n > 1 else 0, l8(self.longest_gap // 1000),
                l8(self.syn), l8(self.finrst), l8(self.psh)]


class Source:
    """What one address sent in a window of time."""

    def __init__(self, now):
        self.start = now
        self.packets = self.bytes = self.flows = self.syn = self.ports = self.destinations = 0

    def add(self, p, new_flow):
        self.packets += 1
        self.bytes += p.length
        self.flows += new_flow
        self.syn += p.opens
        self.ports |= bucket(p.dport)
        self.destinations |= bucket(p.destination)

    def features(self, now):
        return [l8(self.packets), l8(self.flows), l8(self.syn), self.ports.bit_count(),
                self.destinations.bit_count(), self.bytes // self.packets, l8(max(0, now - self.start) // 1000)]


class Destination:
    """What one address was sent in a window of time."""

    def __init__(self, now):
        self.start = now
        self.packets = self.flows = self.syn = self.sources = 0

    def add(self, p, new_flow):
        self.packets += 1
        self.flows += new_flow
        self.syn += p.opens
        self.sources |= bucket(p.source)

    def features(self):
        return [l8(self.packets), l8(self.flows), l8(self.syn), self.sources.bit_count()]


class Extractor:
    """Starts with empty state, as the program in the kernel does."""

    def __init__(self):
        self.flows, self.sources, self.destinations = {}, {}, {}

    def step(self, now, p):
        """The features of packet `p` at time `now` (ns)."""
        key = p.source, p.destination, p.sport, p.dport, p.protocol
        flow = self.flows.get(key)
        new_flow = flow is None or now - flow.last > FLOW_IDLE_NS
        if new_flow:
            flow = self.flows[key] = Flow(now, p.length)
        source = self.sources.get(p.source)
        if source is None or now - source.start >= SOURCE_WINDOW_NS:
            source = self.sources[p.source] = Source(now)
        destination = self.destinations.get(p.destination)
        if destination is None or now - destination.start >= DESTINATION_WINDOW_NS:
            destination = self.destinations[p.destination] = Destination(now)
        flow.add(now, p)
        source.add(p, new_flow)
        destination.add(p, new_flow)
        bits = [p.flags & flag != 0 for flag in (FIN, SYN, RST, PSH, ACK, URG, ECE | CWR)]
        header = [p.protocol == TCP, p.protocol == UDP, p.protocol == ICMP, p.length, l8(p.payload), p.options,
                  p.is_fragment, p.dont_fragment, *bits, l8(p.window), p.tcp_options, port_class(p.sport),
                  port_class(p.dport)]
        return header + flow.features() + source.features(now) + destination.features()


def read_capture(path):
    """Yields time (ns) and IPv4 bytes (empty where there are none) of each packet of a pcap file of Ethernet frames."""
    with open(path, "rb") as f:
        b = f.read()
    magics = {b"\xd4\xc3\xb2\xa1": ("<", 1000), b"\xa1\xb2\xc3\xd4": (">", 1000),
              b"\x4d\x3c\xb2\xa1": ("<", 1), b"\xa1\xb2\x3c\x4d": (">", 1)}
    if b[:4] not in magics:
        raise SystemExit(f"{path}: not a pcap file")
    order, unit = magics[b[:4]]
    if struct.unpack_from(order + "I", b, 20)[0] & 0xFFFF != 1:
        raise SystemExit(f"{path}: not a capture of Ethernet frames")
    at = 24
    while at + 16 <= len(b):
        seconds, fraction, size = struct.unpack_from(order + "III", b, at)
        frame = b[at + 16:at + 16 + size]
        at += 16 + size
        end = 14
        while frame[end - 2:end] in (b"\x81\x00", b"\x88\xa8") and end < 22:
            end += 4
        yield seconds * 10**9 + fraction * unit, frame[end:] if frame[end - 2:end] == b"\x08\x00" else b""


def extract(path):
    """Features [rows, 43] of a capture, and the index of each row's packet."""
    extractor, rows, packets = Extractor(), [], []
    for i, (now, b) in enumerate(read_capture(path)):
        p = parse(b)
        if p:
            rows.append(extractor.step(now, p))
            packets.append(i)
    return np.array(rows, np.uint16).reshape(-1, len(NAMES)), np.array(packets, np.int32)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("captures", nargs="+", metavar="FILE.pcap")
    parser.add_argument("-o", "--output", required=True, metavar="OUT.npz")
    args = parser.parse_args()
    parts = [extract(path) for path in args.captures]
    np.savez_compressed(args.output, X=np.concatenate([x for x, _ in parts]),
                        packet=np.concatenate([packet for _, packet in parts]),
                        capture=np.repeat(np.arange(len(parts), dtype=np.int16), [len(x) for x, _ in parts]),
                        path=np.array(args.captures), names=np.array(NAMES))


if __name__ == "__main__":
    main()
