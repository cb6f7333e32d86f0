"""Tables and a plot of what bench.py measured."""

CONDITIONS = ("hot", "fixed", "cold", "hardened", "unprivileged")


def markdown(results):
    m = results["machine"]
    parts = [f"# Results\n\n{m['cpu']}, {m['cores']} cores, Linux {m['kernel']}, {m['llvm']}. Written by "
             f"`test/Bench/run`, which see for what the sides are.\n",
             "## Required and measured\n" + table(("", "required", "measured", ""), acceptance(results)),
             f"## Nanoseconds per inference, net of an empty program: least (median)\n"
             f"Cold: {results['copies']} copies of object and maps in turn, or what makes 64 MiB of machine code.\n"
             + table(("load", "MACs", "side", *CONDITIONS, "times loops", "MAC/ns", "agrees"), timings(results)),
             "## Objects\n" + table(("load", "side", "instructions", "multiplies", "verified", "stack", "load ms", "compile s"),
                                    objects(results)),
             "## For context\n" + table(("load", "one multiply ns", "fixed ns", "onnxruntime us a call"), context(results))]
    if "filter" in results:
        f = results["filter"]
        parts.append(f"The packet filter of `examples` at 8 bits: model {f['model']:.0f} ns, whole packet {f['packet']:.0f} ns.\n")
    if "peers" in results:
        parts.append(f"## The peers' own measurement\n```\n{results['peers']}\n```\n")
    return "\n".join(parts)


def table(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(map(str, line)) + " |\n" for line in lines)


def least(load, side, condition="hot"):
    """None where it was not measured."""
    return (load["sides"].get(side, {}).get("ns", {}).get(condition) or {}).get("min")


def timings(results):
    for name, load in results["loads"].items():
        loops = least(load, "loops")
        for side, facts in load["sides"].items():
            if "refused" in facts:
                yield name, load["macs"], side, facts["refused"].replace("|", "/"), *[""] * (len(CONDITIONS) + 2)
                continue
            cells = [facts["ns"].get(condition, {}) for condition in CONDITIONS]
            hot = least(load, side)
            yield (name, load["macs"], side, *map(cell, cells),
                   f"{loops / hot:.1f}" if loops and hot else "", f"{load['macs'] / hot:.1f}" if hot else "",
                   f"{facts['agreement']:.4f}")


def cell(ns):
    if ns is None:
        return "refused"
    return f"{ns['min']:.0f} ({ns['median']:.0f})" if ns else ""


def objects(results):
    for name, load in results["loads"].items():
        for side, f in load["sides"].items():
            if "refused" not in f:
                yield (name, side, f["insns"], f.get("multiplies", "loops"), f["verified_insns"], f["stack"],
                       f"{f['load_ms']:.1f}", f"{f['compile_s']:.1f}")


def context(results):
    for name, load in results["loads"].items():
        us = load["onnxruntime_us"]
        yield (name, f"{load['limits']['multiply']:.3f}", f"{load['limits']['fixed']:.0f}", f"{us:.1f}" if us else "")


def row(what, required, measured, ok):
    """`measured` None: not measured in this run."""
    if measured is None:
        return what, required, "-", "not measured"
    return what, required, measured, "ok" if ok else "**no**"


def at_least(what, factor, value, unit="x", side=None):
    """`side`: what was to be measured; it may have been refused."""
    if side and "refused" in side:
        return row(what, f"at least {factor}{unit}", "refused", False)
    return row(what, f"at least {factor}{unit}", None if value is None else f"{value:.1f}{unit}",
               value is not None and value >= factor)


def at_most(what, limit, value, unit="x", digits=2, side=None):
    if side and "refused" in side:
        return row(what, f"at most {limit}{unit}", "refused", False)
    return row(what, f"at most {limit}{unit}", None if value is None else f"{value:.{digits}f}{unit}",
               value is not None and value <= limit)


def ratio(a, b):
    return a / b if a and b else None


def acceptance(results):
    """The acceptance rows of the issue on speed."""
    loads = results["loads"]
    for name, factor in (("8-16-2", 9), ("12-32-32-2", 10), ("16-64-32-1", 10), ("32-128-64-2", 9)):
        if name not in loads:
            continue
        load, sides = loads[name], loads[name]["sides"]
        yield at_least(f"{name} at 8 bits against the loops", factor, ratio(least(load, "loops"), least(load, "mlc 8")), side=sides.get("mlc 8"))
        ours, theirs = (sides.get(side, {}).get("agreement") for side in ("mlc 8", "loops"))
        yield row(f"{name}: agreement", f"{theirs:.4f}" if theirs else "the loops'",
                  f"{ours:.4f}" if ours and theirs else None, ours and theirs and ours >= theirs)
        multiplies, ns = sides.get("mlc 8", {}).get("multiplies"), least(load, "mlc 8")
        if name != "8-16-2" and multiplies and ns:
            bound = multiplies * load["limits"]["multiply"] + load["limits"]["fixed"]
            yield at_most(f"{name}: {multiplies} multiplies and the fixed cost, {bound:.0f} ns", 1.10, ns / bound)
    if "12-32-32-2" in loads:
        load = loads["12-32-32-2"]
        for precision, factor in (("4", 14), ("ternary", 19)):
            yield at_least(f"12-32-32-2 at {precision} against the loops", factor,
                           ratio(least(load, "loops"), least(load, f"mlc {precision}")),
                           side=load["sides"].get(f"mlc {precision}"))
    for name in ("64-256-128-10", "64-1024-1024-10"):
        for precision, rate in (("8", 10), ("4", 14)):
            if name in loads:
                yield at_least(f"{name} at {precision} bits", rate,
                               ratio(loads[name]["macs"], least(loads[name], f"mlc {precision}")), " MAC/ns",
                               loads[name]["sides"].get(f"mlc {precision}"))
    if "64-1024-1024-10" in loads:
        facts = loads["64-1024-1024-10"]["sides"].get("mlc 8", {})
        yield at_most("1.12M MACs: compiles", 10, facts.get("compile_s"), " s", 1, facts)
        yield at_most("1.12M MACs: loads", 30, facts.get("load_ms"), " ms", 0, facts)
        yield at_most("1.12M MACs: verified instructions", 60000, facts.get("verified_insns"), "", 0, facts)
    if "28x28 CNN" in loads:
        load = loads["28x28 CNN"]
        ns = least(load, "mlc 8")
        yield at_most("28x28 CNN at 8 bits", 8, ns / 1000 if ns else None, " us")
        yield at_least("28x28 CNN at 8 bits against bpf_loop", 8, ratio(least(load, "loops"), ns))
    yield from conditions(loads)
    yield at_most("packet filter 43-32-32-1: model", 250, results.get("filter", {}).get("model"), " ns", 0)
    yield from peers(results.get("peers", ""))


def conditions(loads):
    def all_of(what, limit, condition):
        """The worst load. A nanosecond more is rounding."""
        refused = [name for name, load in loads.items()
                   if load["sides"].get("mlc 8", {}).get("ns", {}).get(condition, 0) is None]
        if refused:
            yield row(what, f"at most {limit}x", "refused: " + ", ".join(refused), False)
            return
        worst, where = None, ""
        for name, load in loads.items():
            hot, other = least(load, "mlc 8"), least(load, "mlc 8", condition)
            if not hot or not other:
                continue
            a, b = (hot, other) if condition == "fixed" else (other, hot)
            value = 1.0 if a - b <= 1 else a / b
            if worst is None or value > worst:
                worst, where = value, f" ({name})"
        yield at_most(what + where, limit, worst)

    yield from all_of("varied against fixed input", 1.03, "fixed")
    for name, load in loads.items():
        if load["macs"] > 3000 and least(load, "loops", "cold"):
            yield at_least(f"{name}: cold caches against the loops", 5,
                           ratio(least(load, "loops", "cold"), least(load, "mlc 8", "cold")))
    yield from all_of("hardened JIT", 1.25, "hardened")
    yield from all_of("without CAP_PERFMON", 1.10, "unprivileged")


# A lossless scheme of a 2024 paper, as the peers' README quotes it in rot_ns: 32-bit fixed point and tail calls, with
# the int8 variant that it quotes beside it.
PAPER_2024 = {"mlp12": (1781, "int8_map_rolled", 2016), "mlp16": (3930, "int8_map_unroll_i32act", 1288)}


def lossless(rows, model):
    """32 bits against a third of the paper's scheme, both relative to the same int8 variant."""
    paper, variant, quoted = PAPER_2024[model]
    ours, base = rows.get((model, "mlc32")), rows.get((model, variant))
    if not ours or not base or not base[2].isdigit():  # refused
        return
    yield at_most(f"{model} lossless, relative to {variant}; the 2024 paper's scheme {paper / quoted:.2f}",
                  round(paper / quoted / 3, 3), float(ours[10]) / float(base[10]), digits=3)
    yield row(f"{model} lossless: agreement", "at least 0.9999", ours[7], float(ours[7]) >= 0.9999)


def peers(text):
    """From the lines of the peers' table: model, variant, ..., agreement in column 7, rot_ns in column 10."""
    rows = {tuple(line.split()[:2]): line.split() for line in text.splitlines() if len(line.split()) > 10}
    for model, agreement in (("mlp12", 0.992), ("mlp16", 0.996)):
        ours = rows.get((model, "mlc8"))
        hand = next((r for key, r in rows.items() if key[0] == model and key[1].startswith("hand")), None)
        if ours and hand:
            yield at_most(f"{model} against packed by hand, rotating", 0.6, float(ours[10]) / float(hand[10]))
            yield row(f"{model}: agreement", f"at least {agreement}", ours[7], float(ours[7]) >= agreement)
        yield from lossless(rows, model)


def plot(results, path):
    """Bars of the hot times, logarithmic; nothing without matplotlib."""
    try:
        import matplotlib
    except ImportError:
        return
    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "mlc"
    from matplotlib import pyplot
    names = list(results["loads"])
    sides = list(dict.fromkeys(side for load in results["loads"].values() for side in load["sides"]))
    figure, axes = pyplot.subplots(figsize=(11, 5))
    width = 0.8 / len(sides)
    for i, side in enumerate(sides):
        points = [(at, least(results["loads"][name], side)) for at, name in enumerate(names)]
        points = [(at + (i - len(sides) / 2 + 0.5) * width, ns) for at, ns in points if ns]
        bars = axes.bar([at for at, _ in points], [ns for _, ns in points], width, label=side)
        axes.bar_label(bars, [f"{ns:.0f}" for _, ns in points], fontsize=6, rotation=90, padding=2)
    axes.set_yscale("log")
    axes.margins(y=0.15)
    axes.set_xticks(range(len(names)), [f"{name}\n{results['loads'][name]['macs']:,} MACs" for name in names], fontsize=8)
    axes.set_ylabel("ns per inference, net, hot caches")
    m = results["machine"]
    axes.set_title(f"{m['cpu']}, Linux {m['kernel']}", fontsize=9)
    axes.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
