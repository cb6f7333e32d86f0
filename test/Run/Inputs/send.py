"""send.py IFACE COUNT [SECONDS]: sends COUNT marked packets, or as many as fit in SECONDS where COUNT is 0; prints how many."""
import socket
import sys
import time

iface, count = sys.argv[1], int(sys.argv[2])
deadline = time.monotonic() + float(sys.argv[3]) if len(sys.argv) > 3 else None
packet = b"\xff" * 6 + b"\x02" + b"\0" * 5 + b"\x88\xb5" + b"mlc" * 20
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind((iface, 0))
sent = 0
while sent < count if count else time.monotonic() < deadline:
    sent += s.send(packet) > 0
    if sent % 64 == 0:
        time.sleep(0.0002)  # lets the receiving ring drain
print(sent)
