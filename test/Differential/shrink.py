#!/usr/bin/env python3
"""Shrinks a graph of stage INTEGER to a small one that fails in the same way.

  shrink.py FILE.graph [--output=SMALL.graph] -- COMMAND...

COMMAND gets the path of a candidate as its last argument; a candidate counts when the command ends with the same status as
on FILE (differ: 1 a difference, 3 refused, negative a crash). Smaller means, in this order: fewer outputs, nodes replaced
by inputs, simpler numbers.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile

NODE = re.compile(r"%(\S+) = mlc\.(\w+)\((.*?)\)(.*)$", re.S)
CONST = re.compile(r"const %(\S+) : (int64\[[\d,]*\])(.*?)= \[(.*)\]$", re.S)
INPUT = re.compile(r"input %(\S+) : (int64\[[\d,N]*\]) in (.*)$", re.S)


def statements(text):
    """Lines, joined while brackets are open; comments and blank lines dropped."""
    result, current = [], ""
    for line in text.splitlines():
        line = re.sub(r"^\s*#.*", "", line)
        current = f"{current}\n{line}" if current else line
        if sum(map(current.count, "([{")) <= sum(map(current.count, ")]}")):
            if current.strip():
                result.append(current.strip())
            current = ""
    return result


class Graph:
    def __init__(self, text):
        self.header, self.inputs, self.outputs, self.nodes, self.constants = "graph integer shrunk", {}, [], {}, {}
        for s in statements(text):
            if s.startswith("output "):
                self.outputs.append(s.split("%")[1])
            elif m := INPUT.match(s):
                self.inputs[m[1]] = (m[2], m[3])
            elif m := CONST.match(s):
                self.constants[m[1]] = (m[2], [int(x) for x in m[4].replace("\n", " ").split(",") if x.strip()])
            elif m := NODE.match(s):
                interval = re.search(r" in (-?\d+\.\.-?\d+)", m[4])
                shape = re.search(r": (int64\[[\d,]*\])", m[4])
                attributes = re.match(r"\s*(\{.*?\})?", m[4], re.S)[1] or ""
                args = [a.strip().lstrip("%") for a in m[3].split(",")]
                self.nodes[m[1]] = (m[2], args, attributes, shape[1], interval[1])

    def copy(self):
        g = Graph("")
        g.inputs, g.outputs, g.nodes, g.constants = \
            dict(self.inputs), list(self.outputs), dict(self.nodes), dict(self.constants)
        return g

    def needed(self):
        seen, todo = set(), list(self.outputs)
        while todo:
            v = todo.pop()
            if v not in seen:
                seen.add(v)
                todo += self.nodes[v][1] if v in self.nodes else []
        return seen

    def text(self):
        seen = self.needed()
        lines = [self.header]
        lines += [f"input %{n} : {t} in {i}" for n, (t, i) in self.inputs.items() if n in seen]
        lines += [f"output %{n}" for n in self.outputs] + [""]
        lines += [f"%{n} = mlc.{op}({', '.join('%' + a for a in args)}) {at} : {t}".replace("  ", " ")
                  for n, (op, args, at, t, _) in self.nodes.items() if n in seen]
        lines += [""] + [f"const %{n} : {t} = [{', '.join(map(str, x))}]"
                         for n, (t, x) in self.constants.items() if n in seen]
        return "\n".join(lines) + "\n"


def without_outputs(g):
    for name in g.outputs:
        if len(g.outputs) > 1:
            c = g.copy()
            c.outputs = [name]
            yield c
    for name in g.outputs:
        if len(g.outputs) > 1:
            c = g.copy()
            c.outputs.remove(name)
            yield c


def inner_outputs(g):
    """An input of the output's node as the output instead."""
    for name in g.outputs:
        for a in g.nodes[name][1]:
            if a in g.nodes and len(g.outputs) == 1:
                c = g.copy()
                c.outputs = [a]
                yield c


def cut_nodes(g):
    """A node becomes a graph input, of the interval of its results."""
    seen = g.needed()
    for name in list(g.nodes):
        if name in seen and name not in g.outputs:
            c = g.copy()
            *_, shape, interval = c.nodes.pop(name)
            c.inputs[name] = (shape, interval)
            yield c


def simpler_intervals(g):
    seen = g.needed()
    for name, (t, text) in g.inputs.items():
        if name not in seen:
            continue
        ranges = [tuple(map(int, r.split(".."))) for r in re.findall(r"-?\d+\.\.-?\d+", text)]
        lo, hi = min(r[0] for r in ranges), max(r[1] for r in ranges)
        for simple in ("0..0", "0..1", "-1..1", "0..255", f"{lo}..{hi}", f"{lo}..{lo}", f"{hi}..{hi}", f"{lo // 2}..{hi}",
                       f"{lo}..{hi // 2}"):
            first, last = map(int, simple.split(".."))
            if simple != text and last - first <= hi - lo and first <= last and \
                    (len(ranges) > 1 or (last - first, abs(last), abs(first)) < (hi - lo, abs(hi), abs(lo))):
                c = g.copy()
                c.inputs[name] = (t, simple)
                yield c


def simpler_constants(g):
    seen = g.needed()
    for name, (t, x) in g.constants.items():
        if name not in seen:
            continue
        for value in (0, 1):
            if any(v != value for v in x) and not all(v in (0, 1) for v in x):
                c = g.copy()
                c.constants[name] = (t, [value] * len(x))
                yield c
        for i, v in enumerate(x):
            for value in (0, 1, v // 2):
                if abs(value) < abs(v):
                    c = g.copy()
                    c.constants[name] = (t, x[:i] + [value] + x[i + 1:])
                    yield c


def shrink(g, fails):
    changed = True
    while changed:
        changed = False
        for step in (without_outputs, inner_outputs, cut_nodes, simpler_intervals, simpler_constants):
            again = True
            while again:
                again = False
                for c in step(g):
                    if fails(c):
                        g, again, changed = c, True, True
                        break
    return g


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file")
    parser.add_argument("--output")
    parser.add_argument("--tries", type=int, default=600)
    parser.add_argument("command", nargs="+")
    a = parser.parse_args()
    run = lambda path: subprocess.run(a.command + [path], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode
    status = run(a.file)
    if status in (0, 2):
        sys.exit(f"{a.file} does not fail: status {status}")
    left, tried = a.tries, set()
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "candidate.graph")

        def fails(candidate):
            nonlocal left
            text = candidate.text()
            if left == 0 or text in tried:
                return False
            left -= 1
            tried.add(text)
            with open(path, "w") as f:
                f.write(text)
            return run(path) == status

        with open(a.file) as f:
            text = shrink(Graph(f.read()), fails).text()
    if a.output:
        with open(a.output, "w") as f:
            f.write(text)
    else:
        sys.stdout.write(text)


if __name__ == "__main__":
    main()
