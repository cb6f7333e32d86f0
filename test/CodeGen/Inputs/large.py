"""large.py K N: a dense layer of K inputs and N outputs."""
import random
import sys

k, n = map(int, sys.argv[1:])
rng = random.Random(1)
weights = ", ".join(str(rng.randint(-127, 127)) for _ in range(n * k))
print(f"graph integer large\ninput %x : int64[{k}] in -32768..32767\noutput %y\n\n%y = mlc.Linear(%x, %w, %b) : int64[{n}]\n")
print(f"const %w : int64[{n},{k}] = [{weights}]\nconst %b : int64[{n}] = [{', '.join(['3'] * n)}]")
