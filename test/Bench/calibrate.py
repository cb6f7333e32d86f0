#!/usr/bin/env python3
"""Finds the constants of include/mlc/cost.h on this machine: what instructions cost, by what objects execute and take.

usage: calibrate.py --bin DIR [--loads RE]

Compiles the loads of models.py at several precisions, unrolled and as loops, takes what each executes from
`mlc --report`, measures each with `mlc-run bench`, and fits times to counts by least relative squares without negative
terms. Prints the constants, then each object: measured, estimated by this fit, estimated by mlc.
"""
import argparse
import itertools
import json
import pathlib
import re
import sys
import tempfile

import numpy as np

import baseline
import bench
import models

PRECISIONS = ("32", "8", "4", "ternary")
WAYS = ("auto", "full", "none")
MOST_UNROLLED = 60000  # multiplications of loads that are unrolled entirely, at 8 bits only where above a tenth
CACHED = range(4000, 12001, 500)  # instructions that the cache may hold
TERMS = ("MLC_NS_MULTIPLY", "MLC_NS_LOAD", "MLC_NS_OTHER", "MLC_NS_UNCACHED")


def variants(load):
    for precision, way in itertools.product(PRECISIONS, WAYS):
        large = load.macs > MOST_UNROLLED // 10
        if way == "full" and (load.macs > MOST_UNROLLED or (large and precision != "8")):
            continue
        if load.macs > 10 * MOST_UNROLLED and (way != "auto" or precision == "32"):
            continue
        yield precision, way


def measure(tools, load, work):
    """(name, counts, ns measured, ns estimated by mlc) of each variant whose code is another."""
    model, inputs = work / "model.onnx", work / "inputs.npz"
    load.save(model)
    np.savez(inputs, x=load.inputs)
    seen = set()
    for precision, way in variants(load):
        path, facts = work / f"{precision}-{way}.o", work / "report.json"
        try:
            bench.call(tools.mlc, "--target=bpf-raw", f"--precision={precision}", f"--unroll={way}",
                       f"--calibrate={inputs}", f"--report={facts}", "-o", path, model)
            counts = json.loads(facts.read_text())["totals"]
            key = tuple(counts.values())
            if key in seen:
                continue
            seen.add(key)
            ns = json.loads(bench.call(tools.run, "bench", "--json", f"--inputs={inputs}", path))["ns_min"]
        except baseline.Refused as refused:
            print(f"{load.name} {precision} {way}: {refused}", file=sys.stderr)
            continue
        yield f"{load.name} {precision} {way}", counts, ns, counts["estimated_ns"]


def terms(counts, cached):
    """What the constants are multiplied by, in the order of TERMS."""
    multiplications, loads = counts["executed_multiplications"], counts["executed_loads"]
    return (multiplications, loads, counts["executed"] - multiplications - loads - counts["executed_jumps"],
            max(0, counts["executed_straight"] - cached))


def fit(objects, cached):
    """The constants, none of them negative, and the sum of relative squares that remains."""
    ns = np.array([measured for _, _, measured, _ in objects])
    matrix = np.array([terms(counts, cached) for _, counts, _, _ in objects]) / ns[:, None]
    best = None
    for used in itertools.chain.from_iterable(itertools.combinations(range(len(TERMS)), n + 1) for n in range(len(TERMS))):
        x = np.linalg.lstsq(matrix[:, used], np.ones(len(ns)), rcond=None)[0]
        rest = ((matrix[:, used] @ x - 1) ** 2).sum()
        if (x >= 0).all() and (best is None or rest < best[1]):
            best = np.zeros(len(TERMS)), rest
            best[0][list(used)] = x
    return best


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--bin", type=pathlib.Path, required=True, help="where mlc and mlc-run are")
    parser.add_argument("--loads", default="", metavar="RE", help="only loads whose name matches")
    args = parser.parse_args()
    tools, objects = bench.Tools(args.bin.resolve()), []
    with tempfile.TemporaryDirectory(prefix="mlc-calibrate-") as folder:
        for name in models.NAMES:
            if re.search(args.loads, name):
                print(name, file=sys.stderr)
                objects += measure(tools, models.make(name), pathlib.Path(folder))
    cached = min(CACHED, key=lambda n: fit(objects, n)[1])
    constants, _ = fit(objects, cached)
    for name, value in zip(TERMS, constants):
        print(f"{name:24} {value:.3f}")
    print(f"{'MLC_CACHED_INSTRUCTIONS':24} {cached}")
    print(f"{'MLC_NS_MEAN':24} {np.mean([ns / c['executed'] for _, c, ns, _ in objects if c['executed'] < cached]):.3f}")
    print(f"\n{'':28} {'ns':>8} {'fit':>8} {'':>5} {'mlc':>8}")
    for name, counts, ns, estimated in objects:
        ours = float(np.dot(constants, terms(counts, cached)))
        print(f"{name:28} {ns:8.0f} {ours:8.0f} {ours / ns:5.2f} {estimated:8.0f} {estimated / ns:5.2f}")


if __name__ == "__main__":
    main()
