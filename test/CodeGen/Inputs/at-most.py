"""at-most.py VERIFY.json INSNS VERIFIED: every program was accepted, with at most so many instructions."""
import json
import sys

for p in json.load(open(sys.argv[1]))["programs"]:
    assert p["verdict"] == "success", p
    assert p["insns"] <= int(sys.argv[2]) and p["verified_insns"] <= int(sys.argv[3]), p
