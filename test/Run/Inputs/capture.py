"""capture.py OUT: a big-endian capture of 200 packets of 60 to 1514 bytes; every fourth is not marked."""
import struct
import sys

with open(sys.argv[1], "wb") as f:
    f.write(struct.pack(">IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
    for i in range(200):
        kind = 0x0806 if i % 4 == 0 else 0x88B5
        packet = b"\xff" * 6 + b"\x02" + bytes(5) + struct.pack(">H", kind)
        packet = packet.ljust(60 + i * 1454 // 199, b"m")
        f.write(struct.pack(">IIII", i, 0, len(packet), len(packet)) + packet)
