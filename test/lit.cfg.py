import ctypes
import os
import platform
import sys

import lit.formats


def can_load_bpf():
    """Whether the kernel lets this process load `r0 = 0; exit` as a socket filter."""
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        return False
    code = ctypes.create_string_buffer(bytes.fromhex("b700000000000000" "9500000000000000"))
    name = ctypes.create_string_buffer(b"GPL")
    attr = (ctypes.c_uint64 * 16)()
    attr[0] = 1 | 2 << 32  # prog_type SOCKET_FILTER, insn_cnt
    attr[1] = ctypes.addressof(code)
    attr[2] = ctypes.addressof(name)
    BPF, PROG_LOAD = 321, 5
    fd = ctypes.CDLL(None, use_errno=True).syscall(BPF, PROG_LOAD, ctypes.byref(attr), ctypes.sizeof(attr))
    if fd < 0:
        return False
    os.close(fd)
    return True


config.name = "mlc"
config.test_format = lit.formats.ShTest(execute_external=True)
config.suffixes = [".test", ".graph", ".c"]
config.excludes = ["Inputs"]
config.test_source_root = os.path.join(config.source_dir, "test")
config.test_exec_root = os.path.join(config.build_dir, "test")

bin_dir = os.path.join(config.build_dir, "bin")
config.environment["PATH"] = os.pathsep.join(
    [bin_dir, os.path.dirname(sys.executable), config.llvm_bin, os.environ["PATH"], "/usr/sbin", "/sbin"])
config.environment["LC_ALL"] = "C.UTF-8"
config.environment["PYTHONDONTWRITEBYTECODE"] = "1"

for tool in ("mlc-opt", "mlc-run", "mlc"):
    config.substitutions.append(("%" + tool + r"\b", os.path.join(bin_dir, tool)))
for name, value in (("python", sys.executable), ("source", config.source_dir), ("build", config.build_dir),
                    ("cmake", config.cmake), ("cc", config.cc)):
    config.substitutions.append(("%" + name + r"\b", value))

config.available_features.add(platform.machine())
if os.geteuid() == 0:
    config.available_features.add("root")
if can_load_bpf():
    config.available_features.add("bpf")
if lit_config.params.get("whole"):
    config.available_features.add("whole")
if os.path.exists(os.path.join(config.build_dir, "build.ninja")):
    config.available_features.add("ninja")
if config.fuzz:
    config.available_features.add("fuzz")
if config.sanitize:
    config.available_features.add("sanitizer")
    config.environment["ASAN_OPTIONS"] = "detect_leaks=1:detect_stack_use_after_return=1:strict_string_checks=1"
    config.environment["UBSAN_OPTIONS"] = "print_stacktrace=1"
    config.environment["ASAN_SYMBOLIZER_PATH"] = os.path.join(config.llvm_bin, "llvm-symbolizer")

# Tests that load programs into the kernel do so one at a time: network namespaces, pins and times are theirs.
lit_config.parallelism_groups["kernel"] = 1
lit_config.maxIndividualTestTime = 900
