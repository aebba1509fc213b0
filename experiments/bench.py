"""`make bench`: what secateur itself costs, against its goals.

Every figure is measured here and now: commands as a person types them, in processes of their own, results in a
temporary folder. Takes about the time of one quickstart.

    python experiments/bench.py            all of it
    python experiments/bench.py commands   only the quick ones
    python experiments/bench.py pruning    only what a prune costs
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.table import Table

SECATEUR = str(Path(sys.executable).with_name("secateur"))
PRUNES = {"channels": 5, "macs": 30, "latency": 180}
"""Units of a budget, and the seconds that planning and applying it may take."""


@dataclass(frozen=True)
class Goal:
    what: str
    measured: float
    unit: str
    bound: float
    at_least: bool = False

    @property
    def met(self) -> bool:
        return self.measured >= self.bound if self.at_least else self.measured <= self.bound


@dataclass(frozen=True)
class Ran:
    seconds: float
    peak_gb: float


def commands() -> Iterator[Goal]:
    yield Goal("secateur --help", min(_run("--help").seconds for _ in range(5)), "s", 1.0)
    yield Goal(
        "a mistyped override", min(_run("run", "finetune.epoks=3", fails=True).seconds for _ in range(5)), "s", 1.0
    )


def pruning() -> Iterator[Goal]:
    """YOLOv8n-seg at 640 px with random weights, which cost what trained ones cost."""
    with TemporaryDirectory(prefix="secateur-bench-") as folder:
        for unit, bound in PRUNES.items():
            seconds = Path(folder) / unit
            ran = _process(sys.executable, __file__, "prune", unit, str(seconds))
            yield Goal(f"a prune by {unit} at 640 px", float(seconds.read_text()), "s", bound)
            yield Goal("  its memory", ran.peak_gb, "GB", 3)


def prune(unit: str, out: Path) -> None:
    """In a process of its own: writes how many seconds it takes to get 0.3 of the net away."""
    from secateur.adapters.channel_pruning import ChannelPruner
    from secateur.adapters.yolo import open_yolo
    from secateur.edge.fingerprint import fingerprint
    from secateur.importances.magnitude import Magnitude
    from secateur.ports import Tools
    from secateur.runtimes.onnxruntime import Onnxruntime
    from secateur.specs import Scope, Timer
    from secateur.stages import prune as stage
    from secateur.store import artifact

    with TemporaryDirectory(prefix="secateur-prune-") as folder:
        yolo = open_yolo("cpu", 0, Path(folder))
        from ultralytics.nn.tasks import SegmentationModel

        net = SegmentationModel("yolov8n-seg.yaml", verbose=False)
        net.task = "segment"
        yolo.save(net, Path(folder) / "net.pt")
        whole, runtime = artifact(Path(folder) / "net.pt"), Onnxruntime(threads=2)
        timer = Timer(runtime, runtime.version(), fingerprint()) if unit == "latency" else None
        inputs = stage.Inputs(whole, whole, Magnitude(), Scope(), unit, 0.3, 640, timer)
        started = time.perf_counter()
        stage.run(inputs, Tools(yolo, ChannelPruner(), yolo, lambda *_: None), Path(folder))
        out.write_text(str(time.perf_counter() - started))


def quickstart() -> Iterator[Goal]:
    with TemporaryDirectory(prefix="secateur-bench-") as folder:
        command = ("run", "+study=quickstart", f"outputs={folder}")
        first, again = _run(*command), _run(*command)
        run = min((Path(folder) / "runs").iterdir())
        records = [json.loads(line) for line in (run / "records.jsonl").read_text().splitlines()]
        yield Goal("quickstart", first.seconds / 60, "min", 8)
        yield Goal("  its memory", first.peak_gb, "GB", 3)
        yield Goal("  again, nothing changed", again.seconds, "s", 15)
        yield Goal("  secateur's own cost, share of the training", _own_share(first, records), "%", 3)
        yield from _quality(json.loads((run / "report.json").read_text()))


def _own_share(run: Ran, records: list[dict]) -> float:
    """Composing, hashing, storing, recording, tracking: all that is neither a stage's work nor importing Ultralytics,
    in % of the time that Ultralytics trained."""
    imports = min(_process(sys.executable, "-c", "from ultralytics import YOLO").seconds for _ in range(2))
    own = run.seconds - imports - sum(r["made_in_seconds"] for r in records)
    return 100 * own / sum(r["made_in_seconds"] for r in records if r["stage"] in ("baseline", "finetune"))


def _quality(report: dict) -> Iterator[Goal]:
    baseline = report["baseline"]
    chosen = next(c for c in report["candidates"] if c["name"] == report["selected"])
    lost = baseline["mask_map50_95"] - chosen["mask_map50_95"]
    yield Goal("  mask mAP50-95 of its baseline", baseline["mask_map50_95"], "", 0.45, at_least=True)
    yield Goal("  lost by what it selects", lost, "", 0.04)
    yield Goal("  MACs gone", 100 * (1 - chosen["macs"] / baseline["macs"]), "%", 25, at_least=True)
    int8 = next(c for c in report["candidates"] if c["name"] == "pruned-int8_static")
    yield Goal("  INT8 speed-up, low end of its interval", int8["speedup"]["low"], "x", 1, at_least=True)


def _run(*arguments: str, fails: bool = False) -> Ran:
    return _process(SECATEUR, *arguments, fails=fails)


def _process(*command: str, fails: bool = False) -> Ran:
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert process.stderr
    said = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    if bool(status) != fails:
        sys.exit(f"{' '.join(command)} ended with {os.waitstatus_to_exitcode(status)}: {said}")
    return Ran(time.perf_counter() - started, usage.ru_maxrss / 2**20)


SECTIONS = {"commands": commands, "pruning": pruning, "quickstart": quickstart}


def main(sections: list[str]) -> int:
    goals = [goal for name in sections for goal in SECTIONS[name]()]
    table = Table("what", "measured", "goal", "", box=None)
    for goal in goals:
        sign = "≥" if goal.at_least else "≤"
        measured, bound = f"{goal.measured:.3g} {goal.unit}", f"{sign} {goal.bound:g} {goal.unit}"
        table.add_row(goal.what, measured, bound, "ok" if goal.met else "falls short")
    Console().print(table)
    return 0 if all(goal.met for goal in goals) else 1


if __name__ == "__main__":
    if sys.argv[1:2] == ["prune"]:
        prune(sys.argv[2], Path(sys.argv[3]))
    else:
        sys.exit(main(sys.argv[1:] or list(SECTIONS)))
