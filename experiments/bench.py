"""`make bench`: what secateur itself costs, against its goals.

Every figure is measured here and now: commands as a person types them, in processes of their own, results in a
temporary folder. All of it takes hours.

    python experiments/bench.py            all of it
    python experiments/bench.py commands   only the quick ones
    python experiments/bench.py pruning    only what a prune costs
    python experiments/bench.py predicting only what is done to a net's outputs
    python experiments/bench.py int8       only how fast INT8 files are, and what calibrating them costs
    python experiments/bench.py store      only what the store costs when it holds ten thousand results
    python experiments/bench.py tracking   only many runs in MLflow: 16 that start cold at once, and 1,000
    python experiments/bench.py chaos      only whether a run bears to be killed 30 times: half an hour
    python experiments/bench.py sweep      only what a sweep's jobs pay for twice: half an hour
    python experiments/bench.py parallel   only jobs side by side: what they lose, what they do to each other's clock
    python experiments/bench.py latency    only whether a speed-up is the same when it is measured again: half an hour
"""

from __future__ import annotations

import json
import math
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

    from secateur.adapters.yolo.door import Yolo
    from secateur.results import Artifact
    from secateur.specs import Timer
    from secateur.store import Stored

SECATEUR = str(Path(sys.executable).with_name("secateur"))
PRUNES = {"channels": 5, "macs": 30, "latency": 180}
"""Units of a budget, and the seconds that planning and applying it may take."""
IMGSZ, ROUNDS, REPEATS = 640, 6, 10
ENTRIES, LOOKUPS = 10_000, 1_000
COLD, COLD_REPEATS = 16, 5
KILLS = 30
CHAOS = [
    *"+study=quickstart imgsz=64 dataset.size=64 dataset.train=32 dataset.val=16 model.training.epochs=3".split(),
    *"healing=batchnorm finetune.epochs=3 max_map_drop=null quantization.images=8".split(),
    *"benchmark.rounds=2 benchmark.seconds=0.2 benchmark.warmup_seconds=0.1".split(),
]
"""A run of a minute: trainings that go on after a kill, healing, two rungs, INT8, processes that are timed."""
SWEEP = [
    *"+study=quickstart max_map_drop=null schedule=one_shot tracking=none".split(),
    *"schedule.target=0.1,0.2,0.3,0.4 quantization=int8_static,int8_dynamic,fp16".split(),
]
STAGES = sum(
    {
        "prepare": 1,
        "baseline": 1,
        "prune": 4,
        "finetune": 4,
        "export": 1 + 4,
        "quantize": (1 + 4) * (1 + 3),  # each net, as it is and in three ways
        "verify": (1 + 4) * (1 + 3),
        "depict": (1 + 4) * (1 + 3),
        "locate": (1 + 4) * 2,  # those in INT8
        "evaluate": 1 + 4 * 2 + (1 + 4) * (1 + 3),  # the checkpoints, pruned and tuned, and the files
        "contrast": 4 + 4 * 3,  # each tuned net with what it was before, and all files of a job together
        "benchmark": 4 * 3,
    }.values()
)
"""Of the sweep's twelve jobs, by hand."""


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


def prune(unit: str, out: str) -> None:
    """In a process of its own: writes how many seconds it takes to get 0.3 of the net away."""
    from secateur.adapters.yolo import open_yolo
    from secateur.edge.fingerprint import fingerprint
    from secateur.runtimes.onnxruntime import Onnxruntime
    from secateur.specs import Timer

    with TemporaryDirectory(prefix="secateur-prune-") as folder:
        yolo = open_yolo("cpu", 0, Path(folder))
        net, runtime = _net(yolo, Path(folder)), Onnxruntime(threads=2)
        timer = Timer(runtime, runtime.version(), fingerprint()) if unit == "latency" else None
        started = time.perf_counter()
        _prune(net, yolo, unit, 0.3, timer, Path(folder))
        Path(out).write_text(str(time.perf_counter() - started))


def _net(yolo: Yolo, folder: Path) -> Path:
    """YOLOv8n-seg with random weights, as a checkpoint."""
    from ultralytics.nn.tasks import SegmentationModel

    net = SegmentationModel("yolov8n-seg.yaml", verbose=False)
    net.task = "segment"
    yolo.save(net, folder / "net.pt")
    return folder / "net.pt"


def _prune(weights: Path, yolo: Yolo, unit: str, target: float, timer: Timer | None, out: Path) -> None:
    """The prune stage by magnitude, channel counts rounded to 16; writes `pruned.pt` into `out`."""
    from secateur.adapters.channel_pruning import ChannelPruner
    from secateur.importances.magnitude import Magnitude
    from secateur.ports import Tools
    from secateur.specs import Export, Scope
    from secateur.stages import prune as stage
    from secateur.store import artifact

    whole = artifact(weights)
    scope, export = Scope(round_to=16), Export() if timer else None
    inputs = stage.Inputs(whole, whole, Magnitude(), scope, unit, target, IMGSZ, timer, export)
    stage.run(inputs, Tools(yolo, ChannelPruner(), yolo, lambda *_: None), out)


def int8() -> Iterator[Goal]:
    """The same net as files, calibrated on drawn pictures; those that are compared run in turns, in fresh processes."""
    with TemporaryDirectory(prefix="secateur-bench-") as folder:
        _process(sys.executable, __file__, "files", folder)
        ours, pruned, half = _speedups(Path(folder), "fp32", "int8", "pruned_int8", "half_int8")
        (over_theirs,) = _speedups(Path(folder), "ultralytics", "int8")
        yield Goal("int8_static over Ultralytics' own INT8 export", over_theirs, "x", 3.3, at_least=True)
        yield Goal("int8_static over FP32", ours, "x", 1.8, at_least=True)
        yield Goal("  with 27 % of the MACs pruned", pruned, "x", 2.4, at_least=True)
        yield Goal("  with 50 %, whatever that costs in accuracy", half, "x", 4.0, at_least=True)
        for calibrator in ("entropy", "percentile"):
            ran = _process(sys.executable, __file__, "calibrate", folder, calibrator)
            yield Goal(f"calibrator={calibrator}, 128 pictures", ran.seconds, "s", 180)
            yield Goal("  its memory", ran.peak_gb, "GB", 4)


def files(folder: str) -> None:
    """In a process of its own: the net as `fp32`, `ultralytics`, `int8`, `pruned_int8` and `half_int8`, and pictures in
    `data`."""
    from secateur.adapters.yolo import open_yolo
    from secateur.datasets.shapes import Shapes

    out = Path(folder)
    yolo = open_yolo("cpu", 0, out)
    Shapes(train=128, val=16, size=IMGSZ).write(out / "data", yolo)
    net = _net(yolo, out)
    yolo.export_onnx(net, IMGSZ, out / "fp32.onnx")
    _calibrate(out, "fp32", "int8")
    for name, target in {"pruned": 0.27, "half": 0.5}.items():
        _prune(net, yolo, "macs", target, None, out)
        yolo.export_onnx(out / "pruned.pt", IMGSZ, out / f"{name}.onnx")
        _calibrate(out, name, f"{name}_int8")
    from ultralytics import YOLO

    theirs = YOLO(net).export(format="onnx", imgsz=IMGSZ, quantize=8, data=str(out / "data" / "data.yaml"))
    Path(theirs).rename(out / "ultralytics.onnx")


def calibrate(folder: str, calibrator: str) -> None:
    """In a process of its own."""
    _calibrate(Path(folder), "fp32", calibrator, images=128, calibrator=calibrator)


def _calibrate(folder: Path, source: str, target: str, **fields: Any) -> None:
    from secateur.calibration import training_pictures
    from secateur.quantizers.int8_static import Int8Static

    quantizer = Int8Static(**fields)
    pictures = training_pictures(folder / "data", IMGSZ, quantizer.images, 0, lambda *_: None)
    quantizer.quantize(folder / f"{source}.onnx", pictures, folder / f"{target}.onnx")


def _speedups(folder: Path, baseline: str, *names: str) -> list[float]:
    """Medians of the speed-ups over the baseline, paired by turn."""
    from secateur.edge.bench import Contender, compare
    from secateur.runtimes.onnxruntime import Onnxruntime
    from secateur.specs import Benchmark

    contenders = {name: Contender(folder / f"{name}.onnx", Onnxruntime()) for name in (baseline, *names)}
    latencies = compare(contenders, baseline, Benchmark(ROUNDS, seconds=2.0, warmup_seconds=0.5), lambda *_: None)
    return [latencies[name].speedup.median for name in names]


def latency() -> Iterator[Goal]:
    """The speed-up of one INT8 file, again and again: as it is, and beside a process that keeps a core busy."""
    with TemporaryDirectory(prefix="secateur-bench-") as folder:
        _process(sys.executable, __file__, "files", folder)
        yield Goal("ten times the same speed-up: from least to most", _spread(Path(folder)), "%", 3)
        load = subprocess.Popen([sys.executable, "-c", "while True: pass"])
        try:
            yield Goal("  with a second load running", _spread(Path(folder)), "%", 6)
        finally:
            load.kill()


def _spread(folder: Path) -> float:
    """(most − least) / median, %."""
    again = [_speedups(folder, "fp32", "int8")[0] for _ in range(REPEATS)]
    return 100 * (max(again) - min(again)) / statistics.median(again)


def parallel() -> Iterator[Goal]:
    """Sixteen cold jobs at once against a new database, again and again; and what a job that takes the clock finds
    beside one that trains, with and without the lock that both of them see."""
    yield Goal(f"{COLD} cold jobs at once, {COLD_REPEATS} times: values that MLflow lacks", _lost(), "", 0)
    with TemporaryDirectory(prefix="secateur-bench-") as folder:
        _run(*_small(folder))
        alone = _clocked(folder, "0.11")
        with _trained_beside(folder, seed=1):
            beside = _clocked(folder, "0.12")
        with _trained_beside(folder, seed=2), TemporaryDirectory(prefix="secateur-elsewhere-") as elsewhere:
            disturbed = _clocked(folder, "0.13", TMPDIR=elsewhere)
    yield Goal("p50 beside a job that trains, over p50 alone", beside["p50"] / alone["p50"], "x", 1.1)
    yield Goal("  where the two do not see each other's lock", disturbed["p50"] / alone["p50"], "x", math.inf)
    yield Goal("INT8 speed-up beside it, over that alone", _off(beside, alone), "%", 6)
    yield Goal("  where the two do not see each other's lock", _off(disturbed, alone), "%", math.inf)


def _lost() -> int:
    from tests.example_tracking import lost

    names = ",".join(f"job{number}" for number in range(COLD))
    least = ["schedule=none", "quantization=fp32", "imgsz=64", "dataset.size=64"]
    at_once = ["hydra/launcher=parallel", f"hydra.launcher.n_jobs={COLD}"]
    gone = 0
    for _ in range(COLD_REPEATS):
        with TemporaryDirectory(prefix="secateur-bench-") as folder:
            _run(*_small(folder), "-m", f"name={names}", *least, *at_once)
            gone += lost(f"sqlite:///{folder}/mlflow.db", Path(folder).glob("sweeps/*/[0-9]*"))
    return gone


def _small(folder: str) -> list[str]:
    """A run of a minute, in INT8 too."""
    data = "dataset=shapes dataset.size=320 dataset.train=32 dataset.val=8 imgsz=320 quantization.images=8"
    net = "model=yolov8n_seg_scratch model.training.epochs=1 finetune.epochs=1 schedule.steps=4"
    return ["run", *data.split(), *net.split(), "benchmark.rounds=6", "benchmark.seconds=1", f"outputs={folder}"]


def _clocked(folder: str, warmup: str, **environment: str) -> dict[str, float]:
    """What the small run's files take; nothing but that is done again."""
    command = [SECATEUR, *_small(folder), f"benchmark.warmup_seconds={warmup}"]
    subprocess.run(command, env=os.environ | environment, stdout=subprocess.DEVNULL, check=True)
    report = json.loads((Path(folder) / "latest" / "report.json").read_text())
    files = {file["name"]: file for file in report["candidates"]}
    return {
        "p50": files["baseline-fp32"]["latency_ms"]["p50"],
        "speedup": files["baseline-int8_static"]["speedup"]["median"],
    }


@contextmanager
def _trained_beside(folder: str, seed: int) -> Iterator[None]:
    """Within it a run of another seed is at work, past its start."""
    command = [SECATEUR, *_small(folder), f"seed={seed}", f"name=beside{seed}", "finetune.epochs=4"]
    job = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        while job.poll() is None and not list(Path(folder).glob(f"runs/*beside{seed}/records.jsonl")):
            time.sleep(0.1)
        yield
        if job.poll() is not None:
            sys.exit("the job beside had ended before the clock was taken")
    finally:
        job.send_signal(signal.SIGINT)
        job.wait()


def _off(one: dict[str, float], other: dict[str, float]) -> float:
    return 100 * abs(one["speedup"] / other["speedup"] - 1)


def predicting() -> Iterator[Goal]:
    """A hundred instances at 640 px in a picture of 640 x 480, on one thread, beside Ultralytics' predictor."""
    with TemporaryDirectory(prefix="secateur-bench-") as folder:
        ratios = Path(folder) / "ratio"
        _process(sys.executable, __file__, "postprocess", str(ratios))
        ours_ms, ratio = map(float, ratios.read_text().split())
        yield Goal("post-processing in numpy, over Ultralytics' in torch", ratio, "x", 1.2)
        yield Goal("  its time for 100 instances", ours_ms, "ms", 50)


def postprocess(out: str) -> None:
    """In a process of its own: writes the milliseconds ours takes, and how many times those of Ultralytics' that is;
    medians of runs in turns."""
    os.environ |= {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    import numpy as np
    import torch
    from ultralytics.models.yolo.segment import SegmentationPredictor

    from secateur.edge.letterbox import place
    from secateur.edge.predictor import Predictor

    torch.set_num_threads(1)
    outputs, pixels = _crowd(np.random.default_rng(0)), np.zeros((480, 640, 3), np.uint8)
    names = {label: str(label) for label in range(80)}
    session = SimpleNamespace(input_shape=(1, 3, IMGSZ, IMGSZ), metadata={"names": str(names), "task": "segment"})
    ours, theirs = Predictor(session), SegmentationPredictor(overrides={"conf": 0.25, "verbose": False})
    theirs.model, theirs.batch = SimpleNamespace(names=names, end2end=False), ([""],)
    tensors, image = [torch.from_numpy(output) for output in outputs], torch.zeros(1, 3, IMGSZ, IMGSZ)
    at = place(480, 640, IMGSZ)
    samples = [
        (
            _ms(lambda: ours.postprocess(outputs, at, 480, 640)),
            _ms(lambda: theirs.postprocess(tensors, image, [pixels])),
        )
        for _ in range(20)
    ]
    ours_ms, theirs_ms = np.median(samples[2:], axis=0)
    Path(out).write_text(f"{ours_ms} {ours_ms / theirs_ms}")


def _crowd(rng: Generator) -> list[NDArray[Any]]:
    """Raw outputs of YOLOv8-seg in which a hundred objects stay, each found by eight anchors."""
    import numpy as np

    rows = np.zeros((116, 8400), np.float32)
    rows[:4] = rng.uniform(10, 600, (4, 8400))
    rows[4:84] = rng.random((80, 8400)) * 0.01
    rows[84:] = rng.standard_normal((32, 8400))
    anchors = rng.permutation(8400)[:800].reshape(100, 8)
    for at, (row, column) in zip(anchors, np.ndindex(10, 10), strict=True):
        rows[:2, at] = np.array([[column], [row]]) * 56 + 64 + rng.normal(0, 1, (2, 8))
        rows[2:4, at] = np.exp(rng.uniform(np.log(20), np.log(200), (2, 1))) * rng.normal(1, 0.02, (2, 8))
        rows[4 + rng.integers(80), at] = rng.uniform(0.3, 0.9, 8)
    prototypes = np.kron(rng.standard_normal((32, 20, 20)), np.ones((8, 8)))
    return [rows[None], prototypes[None].astype(np.float32)]


def _ms(step: Callable[[], object]) -> float:
    started = time.perf_counter()
    step()
    return 1000 * (time.perf_counter() - started)


def store() -> Iterator[Goal]:
    """Ten thousand small results: some are looked up, then all are listed, and removed."""
    with TemporaryDirectory(prefix="secateur-bench-") as folder:
        few, many, times = Path(folder) / "few", Path(folder) / "many", Path(folder) / "times"
        _fill(few, ENTRIES // 100)
        _fill(many, ENTRIES)
        _process(sys.executable, __file__, "look_up", str(many / "store"), str(times))
        median, p99 = map(float, times.read_text().split())
        yield Goal(f"a lookup among {ENTRIES:,} stored results, median", median, "ms", 5)
        yield Goal("  of a hundred the slowest", p99, "ms", 5)
        for command, seconds in {("ls",): 10, ("verify",): 60, ("gc", "--days", "1"): 10}.items():
            small, large = (_run("store", *command, "--outputs", str(place)) for place in (few, many))
            yield Goal(f"  secateur store {command[0]}", large.seconds, "s", seconds)
            yield Goal("    its memory over that for a hundredth", 1000 * (large.peak_gb - small.peak_gb), "MB", 4)


def _fill(outputs: Path, count: int) -> None:
    """With so many results of a week ago, as a stage makes them, but without waiting for the disk after each."""
    stored, sync = _store(outputs / "store"), os.fsync
    os.fsync = lambda descriptor: None
    try:
        for number in range(count):
            entry = stored(number).outputs.path.parent
            os.utime(entry / "meta.json", (time.time() - 7 * 86_400,) * 2)
    finally:
        os.fsync = sync


def _store(root: Path) -> Callable[[int], Stored[Artifact]]:
    """The result of that number, from the store."""
    from secateur.results import Artifact
    from secateur.store import Store, artifact

    def make(out: Path) -> Artifact:
        (out / "file").write_bytes(bytes(10_000))
        return artifact(out / "file")

    store = Store(root)
    return lambda number: store.get("stage", ["stage", 1, {}, {"number": number}], Artifact, make)


def look_up(root: str, out: str) -> None:
    """In a process of its own: writes the milliseconds that lookups take, their median and 99th percentile."""
    stored, step = _store(Path(root)), ENTRIES // LOOKUPS
    times = [_ms(lambda number=number: stored(number)) for number in range(0, ENTRIES, step)]
    Path(out).write_text(f"{statistics.median(times)} {statistics.quantiles(times, n=100)[-1]}")


def tracking() -> Iterator[Goal]:
    """Many runs in MLflow's SQLite; the runs are those of the tests."""
    lost, slowest = 0, 0.0
    for _ in range(COLD_REPEATS):
        with TemporaryDirectory(prefix="secateur-bench-") as folder:
            more, seconds = _cold(Path(folder))
            lost, slowest = lost + more, max(slowest, seconds)
    yield Goal(f"values lost by {COLD} jobs that start cold at once, {COLD_REPEATS} times", lost, "", 0)
    yield Goal("  the slowest time, 100 epochs each", slowest, "s", 120)
    with TemporaryDirectory(prefix="secateur-bench-") as folder:
        yield from _thousand(Path(folder))


def _cold(folder: Path) -> tuple[int, float]:
    """Values lost, and seconds, importing mlflow and making the database included."""
    from tests.example_tracking import lost, start_cold

    uri, started = f"sqlite:///{folder / 'mlflow.db'}", time.perf_counter()
    if said := start_cold(uri, folder, COLD, epochs=100):
        sys.exit(said)
    seconds = time.perf_counter() - started
    return lost(uri, [folder / str(job) for job in range(COLD)]), seconds


def _thousand(folder: Path) -> Iterator[Goal]:
    from tests.example_report import finished
    from tests.example_tracking import open_sink, write_folder

    uri = f"sqlite:///{folder / 'mlflow.db'}"
    for number in range(1000):
        write_folder(folder / "runs" / str(number), finished())
    _track_copies(uri, folder / "runs")
    yield Goal("compare 1,000 runs", _run("compare", str(folder / "runs")).seconds, "s", 5)
    opened = _ms(lambda: open_sink(uri, folder / "runs" / "7", finished()))
    yield Goal("start a run beside 1,000 in MLflow", opened / 1000, "s", 1)


def _track_copies(uri: str, folders: Path) -> None:
    """A run in MLflow for each folder, with what the first one's has."""
    from mlflow.entities import Metric, Param, RunTag

    from secateur.adapters.tracking import replay
    from tests.example_tracking import client

    known = client(uri)
    first = known.get_run(replay(folders / "0", uri, "trials"))
    metrics = [Metric(name, value, 0, 0) for name, value in first.data.metrics.items()]
    params = [Param(name, value) for name, value in first.data.params.items()]
    for folder in folders.iterdir():
        run = known.create_run(first.info.experiment_id, tags={"run_dir": folder.as_posix()})
        tags = [RunTag(name, value) for name, value in first.data.tags.items() if name != "run_dir"]
        known.log_batch(run.info.run_id, metrics, params, tags)


def chaos() -> Iterator[Goal]:
    """A run with every kind of work in it, killed at moments that are drawn, and the same run undisturbed."""
    import chaos as disturbing

    from secateur.records import records_in

    with TemporaryDirectory(prefix="secateur-bench-") as folder:
        whole, broken = Path(folder) / "whole", Path(folder) / "broken"
        started = time.perf_counter()
        disturbing.disturbed(lambda: disturbing.Command(CHAOS, whole), [])
        (undisturbed,) = (whole / "runs").iterdir()
        seconds = [record["seconds"] for record in records_in(undisturbed)]
        around = time.perf_counter() - started - sum(seconds)
        at = disturbing.moments(seconds, around, KILLS, seed=0)
        kills = disturbing.disturbed(lambda: disturbing.Command(CHAOS, broken), at)
        last = max((broken / "runs").iterdir(), key=lambda run: run.name)
        different = disturbing.differences(undisturbed, last)
        yield Goal("a run is killed at drawn moments", kills, "times", KILLS - 5, at_least=True)
        yield Goal("  what differs from an undisturbed one but times and ids", len(different), "values", 0)
        for line in different:
            print(line, file=sys.stderr)


def sweep() -> Iterator[Goal]:
    """Rates x quantizations on the quickstart's data; what they share is to be paid for once."""
    from secateur.records import records_in

    with TemporaryDirectory(prefix="secateur-bench-") as folder:
        _run("run", "-m", *SWEEP, f"outputs={folder}")
        jobs = [records_in(job) for job in Path(folder).glob("sweeps/*/[0-9]*")]
    records = [record for job in jobs for record in job]
    once = {record["key"]: record["made_in_seconds"] for record in records}
    made, spent = sum(not record["reused"] for record in records), sum(record["seconds"] for record in records)
    longest = max(sum(record["made_in_seconds"] for record in job) for job in jobs)
    cost = spent / sum(once.values())
    yield Goal("12 jobs, over the longest of them and what the others do not share with it", cost, "x", 1.25)
    yield Goal("  over 12 times the longest", spent / (len(jobs) * longest), "x", 1)
    yield Goal("  stages that were made, more or fewer than there are", abs(made - STAGES), "", 0)


def quickstart() -> Iterator[Goal]:
    from secateur.records import records_in

    with TemporaryDirectory(prefix="secateur-bench-") as folder:
        command = ("run", "+study=quickstart", f"outputs={folder}")
        first, again = _run(*command), _run(*command)
        run = min((Path(folder) / "runs").iterdir())
        yield Goal("quickstart", first.seconds / 60, "min", 8)
        yield Goal("  its memory", first.peak_gb, "GB", 3)
        yield Goal("  again, nothing changed", again.seconds, "s", 15)
        yield Goal("  secateur's own cost, share of the training", _own_share(first, records_in(run)), "%", 3)
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


SECTIONS = {
    "commands": commands,
    "pruning": pruning,
    "int8": int8,
    "chaos": chaos,
    "sweep": sweep,
    "latency": latency,
    "parallel": parallel,
    "predicting": predicting,
    "store": store,
    "tracking": tracking,
    "quickstart": quickstart,
}
PROCESSES = {"prune": prune, "files": files, "calibrate": calibrate, "postprocess": postprocess, "look_up": look_up}


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
    sys.path.append(str(Path(__file__).parents[1]))  # what the tests have as examples
    if sys.argv[1:] and sys.argv[1] in PROCESSES:
        PROCESSES[sys.argv[1]](*sys.argv[2:])
    else:
        sys.exit(main(sys.argv[1:] or list(SECTIONS)))
