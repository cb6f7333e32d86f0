"""check.py REPORT.json: whether a report is complete and its figures fit each other."""
import json
import sys

report = json.load(open(sys.argv[1]))
assert report["samples"] == 400
assert sum(n["multiplications"] for n in report["nodes"]) == report["totals"]["multiplications"] == 356
assert report["totals"]["instructions"] > 0
for node in report["nodes"]:
    assert node["lo"] <= node["hi"] and node["scale"] > 0 and 0 <= node["bits"] <= 64, node
    assert 0 <= node["measured"] <= node["bound"], node
for key in "instructions", "executed", "executed_multiplications", "estimated_ns":
    parts = sum(part[key] for part in (*report["nodes"], report["rest"]))
    assert abs(parts - report["totals"][key]) < 1e-6 and parts > 0, (key, parts)
(output,) = report["outputs"]
assert output["name"] == "y" and output["tightness"] >= 1 and output["bound_useful"]
decisions = report["decisions"]
assert decisions["agreement"] == 1
for table in decisions["confusion_with_model"], decisions["confusion_with_labels"]:
    assert sum(map(sum, table)) == 400
right = sum(row[i] for i, row in enumerate(decisions["confusion_with_labels"]))
assert abs(right / 400 - decisions["accuracy_integer"]) < 1e-6
errors = [w["error"] for w in report["worst_samples"]]
assert len(errors) == 5 and errors == sorted(errors, reverse=True)
assert abs(errors[0] - output["measured"]) < 1e-12
