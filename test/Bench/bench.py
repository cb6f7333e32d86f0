#!/usr/bin/env python3
"""Measures what mlc makes of the loads of models.py against what one would write by hand, all in the kernel.

usage: bench.py --bin DIR [--out DIR] [--loads RE] [--sides RE] [--conditions A,B] [--copies N] [--peers DIR]

Sides: mlc at several precisions; loops over .rodata; the same C unrolled by clang. All are objects of the form of
`mlc --target=bpf-raw`, so `mlc-run bench` measures each in the same way, the sides of a load in turn. Conditions:
hot, fixed (one input), cold (--copies of each object in turn), hardened (net.core.bpf_jit_harden=2, put back
afterwards), unprivileged (without CAP_PERFMON). Writes results.json, RESULTS.md and, with matplotlib, results.svg.
"""
import argparse
import contextlib
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

import numpy as np

import baseline
import models
import report

HERE = pathlib.Path(__file__).resolve().parent
PRECISIONS = ("8", "6", "4", "ternary")
TURNS = 3  # objects are loaded so often, as it matters where in memory their code lies
CONDITIONS = ("hot", "fixed", "cold", "hardened", "unprivileged")
HARDEN = pathlib.Path("/proc/sys/net/core/bpf_jit_harden")
UNPRIVILEGED = ("setpriv", "--inh-caps=-perfmon,-sys_admin", "--bounding-set=-perfmon,-sys_admin")
PATIENCE = 300  # seconds for one command
MAX_COLD = 64 << 20  # bytes of machine code in all copies of an object; caches are smaller
MAX_UNROLLED = 20000  # multiplications; clang takes minutes above


class Tools:
    def __init__(self, folder):
        self.mlc, self.run = folder / "mlc", folder / "mlc-run"
        self.clang, self.objcopy, self.objdump = "clang-19", "llvm-objcopy-19", "llvm-objdump-19"
        self.system_include = f"/usr/include/{os.uname().machine}-linux-gnu"


def first_error(text):
    lines = [line for line in text.splitlines() if "error:" in line] or text.splitlines() or ["failed"]
    return re.sub(r"/\S*/", "", lines[0].rpartition("error: ")[2])


def call(*command, prefix=()):
    try:
        result = subprocess.run([*map(str, (*prefix, *command))], capture_output=True, text=True, timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        raise baseline.Refused(f"{pathlib.Path(command[0]).name} takes more than {PATIENCE} s") from None
    if result.returncode:
        raise baseline.Refused(first_error(result.stderr))
    return result.stdout


class Side:
    """An object, or the reason why there is none."""

    def __init__(self, name, path):
        self.name, self.path = name, path
        self.facts = {"ns": {}}

    def build(self, make):
        start = time.monotonic()
        try:
            make(self.path)
            self.facts["compile_s"] = time.monotonic() - start
        except baseline.Refused as why:
            self.facts["refused"] = str(why)

    def verify(self, tools):
        program = json.loads(call(tools.run, "verify", "--json", self.path))["programs"][0]
        if program["verdict"] != "success":
            raise baseline.Refused(program["rejection"]["message"])
        for key in ("insns", "verified_insns", "load_ms", "stack", "jited_bytes"):
            self.facts[key] = program[key]

    def loads(self, tools, condition, prefix):
        """Whether it does, with less privileges too; what does not is marked."""
        if not prefix:
            return True
        try:
            call(tools.run, "verify", self.path, prefix=prefix)
            return True
        except baseline.Refused:
            self.facts["ns"][condition] = None
            return False

    def count(self, tools):
        """Multiplications, where each instruction runs once: no loops, no function that is called several times."""
        text = call(tools.objdump, "-d", self.path)
        targets = [int(at) + int(by, 16) for at, by in re.findall(r"(\d+):\t85 10.*\tcall (-?0x[0-9a-f]+)", text)]
        loops = re.search(r"goto -0x|may_goto|call 0xb5\b", text)  # 0xb5: bpf_loop
        if not loops and len(targets) == len(set(targets)):
            self.facts["multiplies"] = text.count(" *= ")

    def judge(self, tools, load, inputs, work):
        out = work / "outputs.npz"
        call(tools.run, "eval", self.path, f"--inputs={inputs}", f"--outputs={out}")
        y = next(iter(np.load(out).values()))
        self.facts["agreement"] = float((load.decisions(y) == load.decisions(load.outputs)).mean())


def compile_mlc(tools, precision, model, inputs):
    def make(path):
        call(tools.mlc, "--target=bpf-raw", f"--kernel={os.uname().release}", f"--precision={precision}",
             f"--calibrate={inputs}", "-o", path, model)
    return make


def sides_of(tools, load, work, pattern):
    """Builds, verifies and judges every side of a load."""
    stem = work / re.sub(r"\W", "_", load.name)
    model, inputs = stem.with_suffix(".onnx"), stem.with_suffix(".npz")
    load.save(model)
    np.savez(inputs, x=load.inputs)
    makers = {f"mlc {p}": compile_mlc(tools, p, model, inputs) for p in PRECISIONS}
    makers["loops"] = lambda path: baseline.loops(tools, load, path)
    if load.macs < MAX_UNROLLED and "CNN" not in load.name:
        makers["clang unrolled"] = lambda path: baseline.loops(tools, load, path, unrolled=True)
    sides = []
    for i, (name, make) in enumerate(makers.items()):
        if not re.search(pattern, name):
            continue
        side = Side(name, stem.with_name(f"{stem.name}-{i}.o"))
        side.build(make)
        try:
            if "refused" not in side.facts:
                side.verify(tools)
                side.count(tools)
                side.judge(tools, load, inputs, work)
        except baseline.Refused as why:
            side.facts["refused"] = str(why)
        sides.append(side)
    return sides, inputs


@contextlib.contextmanager
def hardened():
    before = HARDEN.read_text()
    HARDEN.write_text("2")
    try:
        yield
    finally:
        HARDEN.write_text(before)


def measure(tools, sides, inputs, condition, copies):
    prefix = UNPRIVILEGED if condition == "unprivileged" else ()
    ready = [side for side in sides if "refused" not in side.facts and side.loads(tools, condition, prefix)]
    if not ready:
        return
    copies = max(2, min(copies, MAX_COLD // max(side.facts["jited_bytes"] for side in ready)))
    options = {"fixed": ["--fixed"], "cold": [f"--cold={copies}"]}.get(condition, [])
    with hardened() if condition == "hardened" else contextlib.nullcontext():
        try:
            rows = json.loads(call(tools.run, "bench", "--json", f"--inputs={inputs}", *options,
                                   *(side.path for side in ready), prefix=prefix))
        except baseline.Refused as why:
            print(f"  {condition}: {why}", file=sys.stderr)
            return
    for side, row in zip(ready, rows if len(ready) > 1 else [rows]):
        before = side.facts["ns"].get(condition, {"min": row["ns_min"], "median": row["ns"]})
        side.facts["ns"][condition] = {"min": min(before["min"], row["ns_min"]),
                                       "median": min(before["median"], row["ns"])}


def time_limits(tools, load, work):
    """What one multiplication costs, and a network of this size without its layers."""
    inputs, outputs = int(np.prod(load.inputs.shape[1:])), load.outputs.shape[1]
    paths = work / "multiplies.o", work / "copy.o"
    baseline.multiplies(tools, paths[0])
    baseline.copy(tools, paths[1], inputs, outputs)
    both = json.loads(call(tools.run, "bench", "--json", *paths))
    return {"multiply": both[0]["ns_min"] / baseline.MULTIPLIES, "fixed": both[1]["ns_min"]}


def time_onnxruntime(load):
    """Microseconds of one call for one sample in this process, for context; None without onnxruntime."""
    try:
        import onnxruntime
    except ImportError:
        return None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(load.model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    rows = [{"x": load.inputs[i:i + 1]} for i in range(len(load.inputs))]
    least = float("inf")
    for _ in range(5):
        start = time.perf_counter()
        for row in rows:
            session.run(None, row)
        least = min(least, (time.perf_counter() - start) / len(rows))
    return least * 1e6


def time_filter(tools, work):
    """The packet filter's example: the model alone and the whole path of a packet, at 8 bits."""
    example = HERE.parent.parent / "examples/packet-filter"
    capture = example / "captures/benign_users.pcap"
    inputs = work / "features.npz"
    np.savez(inputs, x=np.load(example / "data/packets.npz")["X"][::16].astype(np.float32))
    ns = {}
    for name, target, samples in (("model", "bpf-raw", inputs), ("packet", "bpf-xdp", capture)):
        path = work / f"{name}.o"
        call(tools.mlc, f"--target={target}", "--precision=8", f"--calibrate={inputs}", "-o", path, example / "model.onnx")
        ns[name] = min(json.loads(call(tools.run, "bench", "--json", f"--inputs={samples}", path))["ns_min"]
                       for _ in range(TURNS))
    return ns


def peers(tools, folder, work):
    """The table of the peers' measure.sh with objects of mlc in it."""
    place = work / "peers"
    call("cp", "-r", folder, place)
    call("chmod", "-R", "u+w", place)
    extra = []
    for name, n in (("mlp12", 12), ("mlp16", 16)):
        training = np.load(place / f"data/{name.replace('mlp', 'train')}.npz")
        x = next(training[key] for key in training.files if training[key].ndim == 2 and training[key].shape[1] == n)
        np.savez(work / "peer.npz", x=x.astype(np.float32))
        for label, options in (("mlc8", ["--precision=8", f"--calibrate={work / 'peer.npz'}"]), ("mlc32", [])):
            path = work / f"{name}-{label}.o"
            call(tools.mlc, "--target=bpf-xdp", f"--features=pkt.u32le@0*{n}", *options, "-o", path,
                 place / f"models/{name}.onnx")
            extra.append(f"{name}:{label}:{path}")
    head, least = None, {}
    for _ in range(TURNS):
        result = subprocess.run(["./measure.sh", "-k", "^mlp", *extra], cwd=place, capture_output=True, text=True)
        lines = result.stdout.splitlines()
        starts = [i for i, line in enumerate(lines) if line.startswith("model ")]
        if not starts:
            return first_error(result.stderr)
        head = lines[starts[-1]]
        for line in lines[starts[-1] + 1:]:
            variant, ns = tuple(line.split()[:2]), rotating(line)
            if variant not in least or ns < rotating(least[variant]):
                least[variant] = line
    return "\n".join([head, *least.values()])


def rotating(line):
    """The column rot_ns of a line of measure.sh's table, the one in front of the note."""
    found = re.search(r"(\d+)  progs=", line)
    return int(found.group(1)) if found else float("inf")


def machine():
    cpu = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
    llvm = subprocess.run(["clang-19", "--version"], capture_output=True, text=True).stdout.splitlines()[0]
    return {"cpu": cpu.group(1) if cpu else os.uname().machine, "cores": os.cpu_count(), "kernel": os.uname().release,
            "llvm": llvm}


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--bin", type=pathlib.Path, required=True, help="where mlc and mlc-run are")
    parser.add_argument("--out", type=pathlib.Path, default=HERE, help="where results go (default: here)")
    parser.add_argument("--loads", default="", metavar="RE", help="only loads whose name matches")
    parser.add_argument("--sides", default="", metavar="RE", help="only sides whose name matches")
    parser.add_argument("--conditions", default=",".join(CONDITIONS), metavar="A,B")
    parser.add_argument("--copies", type=int, default=200, help="of each object, for cold caches")
    parser.add_argument("--peers", type=pathlib.Path, help="folder with measure.sh")
    args = parser.parse_args()
    tools = Tools(args.bin.resolve())
    results = {"machine": machine(), "copies": args.copies, "loads": {}}
    with tempfile.TemporaryDirectory(prefix="mlc-bench-") as folder:
        work = pathlib.Path(folder)
        for name in models.NAMES:
            if not re.search(args.loads, name):
                continue
            print(name, file=sys.stderr)
            load = models.make(name)
            sides, inputs = sides_of(tools, load, work, args.sides)
            for turn in range(TURNS):
                for condition in args.conditions.split(","):
                    if turn == 0 or condition != "cold":
                        measure(tools, sides, inputs, condition, args.copies)
            results["loads"][name] = {"macs": load.macs, "limits": time_limits(tools, load, work),
                                      "onnxruntime_us": time_onnxruntime(load),
                                      "sides": {side.name: side.facts for side in sides}}
        if not args.loads:
            results["filter"] = time_filter(tools, work)
        if args.peers:
            results["peers"] = peers(tools, args.peers, work)
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    text = report.markdown(results)
    (args.out / "RESULTS.md").write_text(text)
    report.plot(results, args.out / "results.svg")
    print(text)


if __name__ == "__main__":
    main()
