"""verified.py VERIFY.json RATIO: every program was accepted with at most RATIO verified instructions for each one."""
import json
import sys

for p in json.load(open(sys.argv[1]))["programs"]:
    assert p["verdict"] == "success", p
    assert p["stack"] <= 512, p
    assert p["verified_insns"] <= float(sys.argv[2]) * p["insns"], p
