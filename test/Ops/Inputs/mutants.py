"""mutants.py BUILD SOURCE FOLDER: removes the range checks of integer ops one by one, and says which test fails then.

Each mutant is one object compiled anew, with overflow trapping, and linked in place of the original into the test programs.
int-ops sees what leaves an interval or overflows in the reference evaluator. What only the generated code would compute is
seen by differ, on a graph that the check refuses. A mutant that no test notices is an error.
"""
import glob
import json
import os
import re
import shlex
import subprocess
import sys

build, source, folder = map(os.path.abspath, sys.argv[1:4])
os.makedirs(folder, exist_ok=True)
NO_OVERFLOW = ["-fsanitize=signed-integer-overflow,shift", "-fsanitize-undefined-trap-on-error"]

# A statement `if (...) return mlc_int_overflow(...);`
CHECK = re.compile(r'if \((?P<condition>[^;{}]*)\)\s*return mlc_int_overflow\([^;"]*"(?P<what>[^";]*)"[^;]*;')
# The end of a function that only checks.
LAST_CHECK = re.compile(r"return true;\s*return (?=mlc_int_overflow\()")
FITS_CHECK = re.compile(r"return (?=fits \|\| mlc_int_overflow\()")

FULL = "int64[1] in -9223372036854775808..9223372036854775807"
# Each is refused for the check alone.
GRAPHS = {
    "IntArith.c": f"input %a : {FULL}\ninput %b : {FULL}\noutput %y\n%y = mlc.Max(%a, %b)\n",
    "IntCompare.c": f"input %a : {FULL}\ninput %b : {FULL}\noutput %y\n%y = mlc.Less(%a, %b)\n",
    "IntConv.c": "input %a : int64[1,1,2] in -9223372036854775808..9223372036854775807\noutput %y\n"
                 "%y = mlc.Conv(%a, %w, %b) {pool = [2], pool_strides = [2]} : int64[1,1,1]\n"
                 "const %w : int64[1,1,1] = [1]\nconst %b : int64[1] = [0]\n",
    "IntReduce.c": "input %a : int64[2] in -9223372036854775808..9223372036854775807\noutput %y\n"
                   "%y = mlc.ReduceMax(%a, %i)\nconst %i : int64[1,2] = [0, 1]\n",
}


def mutants(path, text):
    """(what, mutated text, whether generated code alone computes it)"""
    for match in CHECK.finditer(text):
        line = text.count("\n", 0, match.start()) + 1
        yield (f"{path}:{line}: no check of {match['what']}",
               f"{text[:match.start()]}(void)({match['condition']});{text[match.end():]}",
               match["what"].startswith("the difference of"))
    for check, what in (LAST_CHECK, "differences"), (FITS_CHECK, "the accumulator"):
        for match in check.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            yield (f"{path}:{line}: no check of {what}", text[:match.end()] + "true || " + text[match.end():],
                   check is LAST_CHECK)
    if path == "Int.c":
        for end in ("lo", "hi"):
            inward = "+ (r.lo < r.hi)" if end == "lo" else "- (r.lo < r.hi)"
            changed = text.replace(f"->{end}[i] = (int64_t)r.{end};", f"->{end}[i] = (int64_t)(r.{end} {inward});")
            assert changed != text, "mlc_int_bound is written in another way"
            yield f"Int.c: {end} one too narrow", changed, False


def command_of(program):
    lines = subprocess.run(["ninja", "-C", build, "-t", "commands", program], capture_output=True, text=True, check=True)
    return [l for l in lines.stdout.splitlines() if f"-o {program} " in l][-1]


def compiled(path, text):
    """Compiles `text` in place of lib/Ops/`path`; the mutated and the original object."""
    original = os.path.join(source, "lib", "Ops", path)
    entry = next(e for e in json.load(open(os.path.join(build, "compile_commands.json"))) if e["file"] == original)
    mutant, result = os.path.join(folder, path), os.path.join(folder, path + ".o")
    with open(mutant, "w") as f:
        f.write(text)
    command = shlex.split(entry["command"])
    old = command[command.index("-o") + 1]
    command[command.index("-o") + 1] = result
    command = [mutant if c == original else c for c in command]
    subprocess.run(command + NO_OVERFLOW + ["-I", os.path.dirname(original), "-w"], cwd=build, check=True)
    return result, old


def run_mutant(program, arguments, objects):
    """The exit status of the program with a mutated object in place of the original."""
    mutated = os.path.join(folder, "mutant")
    command = command_of(program)
    if objects:
        new, old = objects
        command, count = re.subn(rf"(?<=\s)\S*/Ops/{re.escape(os.path.basename(old))}(?=\s)", new, command)
        assert count == 1, f"{old} is not in the command that links {program}"
    subprocess.run(command.replace(f"-o {program} ", f"-o {mutated} "), shell=True, cwd=build, check=True)
    return subprocess.run([mutated, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode


INT_OPS, DIFFER = "test/Ops/int-ops", "test/Differential/differ"
INSTANCES = "300"  # as int-ops.c runs it
missed = 0
assert run_mutant(INT_OPS, [INSTANCES], None) == 0, "int-ops fails without a mutant"
for path in sorted(map(os.path.basename, glob.glob(os.path.join(source, "lib", "Ops", "Int*.c")))):
    with open(os.path.join(source, "lib", "Ops", path)) as f:
        text = f.read()
    for what, changed, generated in mutants(path, text):
        objects = compiled(path, changed)
        if generated and path not in GRAPHS:
            seen = False  # and a graph has to be written
        elif generated:
            graph = os.path.join(folder, path + ".graph")
            with open(graph, "w") as f:
                f.write("graph integer refused\n" + GRAPHS[path])
            seen = run_mutant(DIFFER, ["--no-kernel", "--mcpu=v3", graph], objects) == 1  # 2: refused
        else:
            seen = run_mutant(INT_OPS, [INSTANCES], objects) != 0
        print(what, "-", "seen" if seen else "MISSED")
        missed += not seen
sys.exit(missed != 0)
