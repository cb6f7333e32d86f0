"""Labels of the packets of collect.py's captures, and the bytes that the model sees."""
import pathlib
import struct

import numpy as np

CLASSES = ("other", "http", "tls", "ssh", "dns", "redis", "mqtt")
PORTS = {"http": 4101, "tls": 4102, "ssh": 4103, "dns": 4104, "redis": 4105, "mqtt": 4106}
BYTES = 64
FULL = 1400  # a payload that long is continued in the next packet
SSH_PLAIN = 4  # version, key exchange; what follows is encrypted
HTTP = (b"HTTP/", b"GET ", b"HEAD ", b"POST ", b"OPTIONS ")


def records(data):
    """Header and bytes of each packet of a pcap file."""
    at = 24
    while at < len(data):
        size, = struct.unpack_from("<I", data, at + 8)
        yield data[at:at + 16], data[at + 16:at + 16 + size]
        at += 16 + size


def is_ipv4(frame):
    return frame[12:14] == b"\x08\x00"


def copy_ipv4(source, target):
    data = pathlib.Path(source).read_bytes()
    target.write_bytes(data[:24] + b"".join(header + frame for header, frame in records(data) if is_ipv4(frame)))


def payload(frame):
    """(flow, payload bytes captured, payload length), or None for what is not IPv4 with TCP or UDP."""
    if not is_ipv4(frame) or frame[23] not in (6, 17):
        return None
    l4 = 14 + (frame[14] & 15) * 4
    start = l4 + (8 if frame[23] == 17 else (frame[l4 + 12] >> 4) * 4)
    end = 14 + struct.unpack_from(">H", frame, 16)[0]
    flow = frame[26:34] + frame[l4:l4 + 4] + frame[23:24]
    return flow, frame[start:min(end, len(frame))], end - start


def label(path):
    """X [packets, 64] and y of every packet: a class by the server's port, "other" for packets that begin with nothing
    a protocol is known by (no payload, the middle of a document, ciphertext), -1 for those that are not TCP or UDP."""
    services = {port: CLASSES.index(name) for name, port in PORTS.items()}
    x, y, flows = [], [], {}
    for _, frame in records(pathlib.Path(path).read_bytes()):
        parsed = payload(frame)
        row, kind = np.zeros(BYTES, np.uint8), -1
        if parsed:
            flow, data, size = parsed
            row[:min(len(data), BYTES)] = np.frombuffer(data[:BYTES], np.uint8)
            sport, dport = struct.unpack_from(">HH", flow, 8)
            kind = services.get(sport, services.get(dport, 0))
            count, before = flows.get(flow, (0, 0))
            if size == 0 or before >= FULL or (CLASSES[kind] == "ssh" and count >= SSH_PLAIN) or (
                    CLASSES[kind] == "http" and not data.startswith(HTTP)):
                kind = 0
            if size:
                flows[flow] = (count + 1, size)
        x.append(row)
        y.append(kind)
    return np.array(x), np.array(y, np.int64)
