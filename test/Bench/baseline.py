"""Baselines: the loads as int8 networks in C (baseline.h), with mlc's manifest, so that mlc-run measures both alike."""
import json
import pathlib
import subprocess

import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
PATIENCE = 60  # seconds for one file
INPUT_BITS = 16  # fraction bits of the inputs
FACTOR_BITS = {"quantize": 30, "requantize": 24}


class Refused(Exception):
    """A compiler does not take it; the first line of what it says."""


def array(name, values, kind):
    return f"static const {kind} {name}[{values.size}] = {{{', '.join(map(str, values.ravel().tolist()))}}};\n"


class Network:
    """C code of a load: constants, fields of struct scratch, steps under bpf_loop, statements of the model."""

    def __init__(self, load):
        self.constants, self.fields, self.steps, self.body = [], [], [], []
        self.shape = load.inputs.shape[1:]
        self.step = float(np.abs(load.inputs).max()) / 127
        self.here = "q"
        n = int(np.prod(self.shape))
        self.inputs = n
        factor = round(2.0 ** (FACTOR_BITS["quantize"] - INPUT_BITS) / self.step)
        self.fields.append(f"__s8 q[{n}];")
        if "Conv" in {node.op_type for node in load.model.graph.node}:
            self.steps.append(f"STEP(quantize_step, {n}) {{ quantize(s->in + i, s->q + i, 1, {factor}); }}\n")
            self.fields.append(f"__s32 in[{n}];")
            self.body.append(f"LOOP for (int i = 0; i < {n}; i++) s->in[i] = in[i];")
            self.body.append(f"bpf_loop({n}, quantize_step, 0, 0);")
        else:
            self.body.append(f"quantize(in, s->q, {n}, {factor});")
        nodes = list(load.model.graph.node)
        for i, node in enumerate(nodes):
            relu = i + 1 < len(nodes) and nodes[i + 1].op_type == "Relu"
            getattr(self, node.op_type)(load, node, f"h{i}", nodes[i + 1] if relu else None)
        self.outputs = int(np.prod(self.shape))
        self.scale = self.step

    def weights(self, load, node, name, relu):
        w, b = (load.tensors[key] for key in node.input[1:])
        step = float(np.abs(w).max()) / 127
        acc = self.step * step
        self.constants.append(array(f"w_{name}", np.rint(w / step).astype(int), "__s8"))
        self.constants.append(array(f"b_{name}", np.rint(b / acc).astype(int), "__s32"))
        self.step = float(load.values[relu.output[0]].max()) / 127 if relu else acc
        return round(acc / self.step * 2 ** FACTOR_BITS["requantize"])

    def move(self, name, shape, kind="__s8"):
        self.fields.append(f"{kind} {name}[{int(np.prod(shape))}];")
        before, self.here, self.shape = self.here, name, shape
        return f"s->{before}"

    def Gemm(self, load, node, name, relu):
        n, k = load.tensors[node.input[1]].shape
        factor = self.weights(load, node, name, relu)
        if relu:
            x = self.move(name, (n,))
            self.body.append(f"dense_relu(w_{name}, b_{name}, {x}, s->{name}, {n}, {k}, {factor});")
        else:
            self.shape = (n,)
            self.body.append(f"dense(w_{name}, b_{name}, s->{self.here}, out, {n}, {k});")

    def Conv(self, load, node, name, relu):
        c, h, width = self.shape
        n, _, size, _ = load.tensors[node.input[1]].shape
        factor = self.weights(load, node, name, relu)
        shape = (n, h - size + 1, width - size + 1)
        x = self.move(name, shape)
        self.add_step(name, shape, f"conv_relu(w_{name}, b_{name}, {x}, i, {c}, {h}, {width}, {n}, {size}, {factor})")

    def MaxPool(self, load, node, name, relu):
        c, h, width = self.shape
        shape = (c, h // 2, width // 2)
        x = self.move(name, shape)
        self.add_step(name, shape, f"max_pool({x}, i, {c}, {h}, {width})")

    def add_step(self, name, shape, value):
        count = int(np.prod(shape))
        self.steps.append(f"STEP({name}_step, {count}) {{ s->{name}[i] = {value}; }}\n")
        self.body.append(f"bpf_loop({count}, {name}_step, 0, 0);")

    def Relu(self, load, node, name, relu):
        pass

    def Flatten(self, load, node, name, relu):
        self.shape = (int(np.prod(self.shape)),)

    def source(self):
        body = "\n".join("    " + line for line in self.body)
        return source(self.inputs, self.outputs, "".join(self.constants) + scratch(self.fields) + "".join(self.steps),
                      body)


def scratch(fields):
    return ("struct scratch {\n    " + "\n    ".join(fields) + "\n};\n"
            "MAP(scratch_map, BPF_MAP_TYPE_PERCPU_ARRAY, struct scratch);\n"
            "INLINE struct scratch *get_scratch(void) {\n    __u32 zero = 0;\n"
            "    return bpf_map_lookup_elem(&scratch_map, &zero);\n}\n")


def source(inputs, outputs, before, body):
    return (f"enum {{ INPUTS = {inputs}, OUTPUTS = {outputs} }};\n#include \"baseline.h\"\n\n{before}\n"
            f"INLINE void mlc_model(const __s32 *in, __s32 *out, struct scratch *s) {{\n{body}\n}}\n")


def manifest(name, shape, outputs, scale):
    one = {"dtype": "float", "dynamic_batch": True, "type": "i32", "offset": 0, "zero_point": 0}
    inputs = int(np.prod(shape))
    return {"mlc": "0.1.0", "target": "bpf-raw", "opt_level": "O2", "mcpu": "v3",
            "model": {"name": name, "file": "", "sha256": "", "producer": "test/Bench/baseline.py"},
            "in_size": 4 * inputs, "out_size": 4 * outputs, "scratch_size": 0,
            "inputs": [{**one, "name": "x", "shape": [1, *map(int, shape)], "scale": 2.0 ** -INPUT_BITS,
                        "lo": -2 ** 31, "hi": 2 ** 31 - 1}],
            "outputs": [{**one, "name": "y", "shape": [1, outputs], "scale": scale}], "nodes": []}


def compile_c(tools, text, description, path, flags=()):
    """Writes PATH.c and the object PATH; raises Refused."""
    path = pathlib.Path(path)
    path.with_suffix(".c").write_text(text)
    path.with_suffix(".json").write_text(json.dumps(description))
    command = [tools.clang, "-target", "bpf", "-mcpu=v3", "-O2", "-g", f"-I{HERE}", "-idirafter",
               tools.system_include, *flags, "-c", path.with_suffix(".c"), "-o", path]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        raise Refused(f"clang takes more than {PATIENCE} s") from None
    if result.returncode:
        lines = [line for line in result.stderr.splitlines() if "error" in line]
        raise Refused("clang: " + (lines or result.stderr.splitlines() or ["failed"])[0].rpartition("error: ")[2])
    subprocess.run([tools.objcopy, "--add-section", f".mlc.manifest={path.with_suffix('.json')}", path], check=True)


def loops(tools, load, path, unrolled=False):
    network = Network(load)
    compile_c(tools, network.source(), manifest(load.name, load.inputs.shape[1:], network.outputs, network.scale), path,
              ["-DUNROLLED"] if unrolled else [])


MULTIPLIES = 1024


def multiplies(tools, path):
    """Nothing but products of inputs with 64-bit constants, three instructions each, as in unrolled dot products."""
    rng = np.random.default_rng(1)
    lines = ["    __s64 x[2] = {in[0], in[1]}, sum[4] = {}, p;"]
    for i, c in enumerate(rng.integers(2 ** 40, 2 ** 62, MULTIPLIES)):
        lines.append(f'    p = {c}; __asm__ volatile("%0 *= %2; %1 += %0" : "+r"(p), "+r"(sum[{i % 4}]) : "r"(x[{i % 2}]));')
    lines.append("    out[0] = sum[0] + sum[1] + sum[2] + sum[3];")
    compile_c(tools, source(2, 1, scratch(["__s8 unused;"]), "\n".join(lines)), manifest("multiplies", (2,), 1, 1.0), path)


def copy(tools, path, inputs, outputs):
    """Every input is read and every output written: what any network of this size costs besides."""
    lines = [f"    __s32 sum = 0;", f"    for (int i = 0; i < {inputs}; i++) sum += in[i];",
             f"    for (int i = 0; i < {outputs}; i++) out[i] = sum + i;"]
    text = source(inputs, outputs, scratch(["__s8 unused;"]), "\n".join(lines))
    compile_c(tools, text.replace("for (", '_Pragma("clang loop unroll(full)") for ('),
              manifest("copy", (inputs,), outputs, 1.0), path)
