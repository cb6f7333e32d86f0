"""Compares mlc's .npz and .csv reading and writing with NumPy's: npz.py PROGRAM."""
import subprocess
import sys

import numpy as np


def run(path, ok=True):
    r = subprocess.run([sys.argv[1], "out.npz", path], capture_output=True, text=True, timeout=60)
    assert r.returncode == (0 if ok else 1), (path, r)
    return r.stdout if ok else r.stderr


def same(a, b):
    if a.dtype.kind == "S":
        a = a.astype("U")
    return a.shape == b.shape and np.array_equal(a, b, equal_nan=a.dtype.kind == "f") and \
        (a.dtype.kind not in "iub" or a.dtype.newbyteorder("=") == b.dtype)


def arrays():
    random = np.random.default_rng(1)
    for t in ("?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"):
        a = random.integers(0, 2 if t == "?" else 100, (3, 4))
        a = (a if t[0] in "?u" else a - 50).astype(t)
        yield "c" + t, a
        yield "big" + t, a.astype(np.dtype(t).newbyteorder(">"))
        yield "fortran" + t, np.asfortranarray(a)
    yield "cube", np.asfortranarray(random.normal(size=(2, 3, 4)))
    yield "scalar", np.array(3.5)
    yield "empty", np.zeros((0, 5), "f4")
    yield "extremes", np.array([2**63 - 1, -2**63])
    yield "half", np.array([6e-8, 65504, np.inf, -np.inf, np.nan, -0.0], "f2")
    yield "text", np.array([["h\u00e4\u00df", "\u65e5\u672c"], ["", "\U0001f600"]])
    yield "big text", np.array(["ab", "c"]).astype(">U2")
    yield "bytes", np.array([b"ab", b"c"])


def round_trips():
    good = dict(arrays())
    for save in (np.savez, np.savez_compressed):
        save("in.npz", **good)
        run("in.npz")
        with np.load("out.npz") as out:
            assert list(out) == list(good)
            for name, a in good.items():
                assert same(a, out[name]), (name, a, out[name])
    first = open("out.npz", "rb").read()
    run("in.npz")
    assert open("out.npz", "rb").read() == first
    np.save("one.npy", good["cube"])
    run("one.npy")


def reject(data, message, path="bad.npz"):
    if not isinstance(data, bytes):
        np.savez(path, a=data)
    else:
        open(path, "wb").write(data)
    error = run(path, ok=False)
    assert message in error, (message, error)


def npy(descr, shape, data=b""):
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\1\0" + len(text).to_bytes(2, "little") + text + data


def bad_arrays():
    reject(b"", "not a NumPy file")
    reject(b"hello world", "not a NumPy file")
    reject(b"PK\3\4xxxx", "not a NumPy file")
    reject(open("in.npz", "rb").read()[:500], "not a NumPy file")
    reject(np.array([1 + 2j]), "array 'a' cannot be read: its type is not supported")
    reject(np.array([object()]), "its type is not supported")
    reject(np.array([2**64 - 1], "u8"), "a number beyond the range of int64")
    reject(np.zeros((1,) * 9), "it has too many dimensions")
    reject(npy("'<f4'", "(2,)", bytes(7)), "it is cut off")
    reject(npy("'<f4'", "(2,)", bytes(9)), "longer than its header says")
    reject(npy("'<f4'", "(1000000000000,)"), "it has too many elements")
    reject(npy("'<f4'", "(100000000,)"), "it is cut off")
    reject(npy("'<U0'", "(100000000,)"), "its type is not supported")
    reject(npy("[('a', '<f4')]", "(1,)"), "structured arrays cannot be read")
    reject(npy("'<f4'", "(-1,)"), "its header has no valid shape")
    reject(b"\x93NUMPY\1\0\xff\xff" + bytes(100), "it is cut off")
    np.savez("crc.npz", a=np.arange(100.0))
    damaged = bytearray(open("crc.npz", "rb").read())
    damaged[300] ^= 1
    reject(bytes(damaged), "its data is damaged")


def damage():
    random = np.random.default_rng(2)
    for path in ("in.npz", "one.npy"):
        good = open(path, "rb").read()
        for _ in range(50):
            data = bytearray(good)
            for _ in range(3):
                data[random.integers(min(len(data), 4000))] = random.integers(256)
            open("damaged.npz", "wb").write(data)
            r = subprocess.run([sys.argv[1], "out.npz", "damaged.npz"], capture_output=True, timeout=60)
            assert r.returncode in (0, 1), (data, r)
            assert b"Sanitizer" not in r.stderr and b"runtime error" not in r.stderr, r


def tables():
    def table(text, expected, ok=True):
        open("t.csv", "w").write(text)
        out = run("t.csv", ok)
        assert expected in out, (text, out)

    table("1,2\n3,4\n", "[2,2] 1 4")
    table("a,b\n1,2\n3,4.5e1", "[2,2] a b 1 45")
    table("\ufeffa,b\r\n1, 2\r\n", "[1,2] a b 1 2")
    table('"1","2"\n"3","4"\n', "[2,2] 1 4")
    table("1,2\n3\n", "row 2 has 1 columns, but the first row has 2", ok=False)
    table("1,2\nx,3\n", "row 2, column 1: 'x' is not a number", ok=False)
    table("1,2\n,3\n", "row 2, column 1: '' is not a number", ok=False)
    table("1,,3\n1,2,3\n", "the first row mixes numbers and names", ok=False)
    table('1,2\n"3,4\n', "a quote is not closed", ok=False)
    table("", "no rows of numbers", ok=False)
    table("a,b\n", "no rows of numbers", ok=False)


round_trips()
bad_arrays()
damage()
tables()
