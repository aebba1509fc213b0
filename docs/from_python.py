"""A run from Python, as in a notebook: python docs/from_python.py (arguments: more overrides)."""

import sys
from dataclasses import replace

from secateur import compose, run

spec = compose("+study=quickstart", "schedule=one_shot", *sys.argv[1:])  # what `secateur run` takes
spec = replace(spec, name="from_python", scope=replace(spec.scope, round_to=16))  # frozen dataclasses, checked

report = run(spec, tracking="none")  # outputs/runs/…_from_python/, with everything that the command line leaves there

best = next(file for file in report.candidates if file.name == report.selected)
print(f"{best.name}: {best.latency.speedup.median:.2f}× as fast, mask mAP {best.accuracy.mask_map50_95:.3f}")
for rung in report.rungs:
    print(f"rung {rung.rung}: {rung.footprint.macs / 1e9:.2f} G MACs, {rung.pruned.main:.3f} → {rung.tuned.main:.3f}")
