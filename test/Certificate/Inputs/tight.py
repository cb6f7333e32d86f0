"""tight.py MLC-OPT MODEL: says "tight" when the bound of a small network is at most 10 times what was observed."""
import re
import subprocess
import sys

out = subprocess.run([sys.argv[1], "--certify=3000", sys.argv[2]], capture_output=True, text=True, check=True).stdout
tightness = float(re.search(r"tightness ([0-9.e+-]+)", out)[1])
print("tight" if tightness <= 10 else f"loose: {tightness}")
