"""Runs the commands of a Markdown file: every fenced block marked `sh`, in order, in one shell.

usage: run-blocks.py FILE.md

Stops at the first command that fails and names its block by its line. Blocks without the mark are not run.
"""
import re
import subprocess
import sys

path = sys.argv[1]
text = open(path, encoding="utf-8").read()
script = ["set -eu"]
blocks = 0
for block in re.finditer(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
    line = text.count("\n", 0, block.start()) + 1
    script.append(f"trap 'echo \"{path}:{line}: error: a command of this block failed\" >&2' ERR")
    script.append("set -x\n" + block.group(1).rstrip() + "\n{ set +x; } 2>/dev/null")
    blocks += 1
if blocks == 0:
    sys.exit(f"{path}: error: no block marked sh")
sys.exit(subprocess.run(["bash", "-c", "\n".join(script)]).returncode)
