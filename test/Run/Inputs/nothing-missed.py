"""nothing-missed.py SENT STATS: the packets in STATS are those in SENT, all of them, and both programs saw some."""
import json
import sys

sent = int(open(sys.argv[1]).read())
seen = json.load(open(sys.argv[2]))["counters"]
if sum(seen.values()) != sent or not all(seen.values()):
    sys.exit(f"sent {sent}, seen {seen}")
