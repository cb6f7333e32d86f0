"""has.py WORD FILE.graph: status 1 where the file is a valid graph and has the word."""
import subprocess
import sys

with open(sys.argv[2]) as f:
    found = sys.argv[1] in f.read()
valid = subprocess.run(["mlc-opt", "--emit=none", sys.argv[2]], stderr=subprocess.DEVNULL).returncode == 0
sys.exit(1 if found and valid else 0)
