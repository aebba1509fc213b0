"""What a run found, as plain values (`report.json`) and as one sentence."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from secateur.results import (
    BASELINE,
    PRUNED,
    Accuracy,
    AccuracyChange,
    Candidate,
    Change,
    EndToEnd,
    Footprint,
    Interval,
    Latency,
    Rung,
    RunReport,
    Sample,
)

Setting = str | int | float | bool | None

MINUS = "\N{MINUS SIGN}"

MEASURED = (
    "images_per_second", "load_seconds", "peak_memory_mb", "rounds", "runtime_version", "threads", "imgsz", "batch",
)  # fmt: skip
"""What `report.json` tells of a latency besides its percentiles."""

NO_DIFFERENCE = "no measurable difference"
"""What is said where a 95 % interval holds "no difference"."""

USELESS = 0.01
"""mAP50-95 of an unpruned net below which there is nothing that could be lost."""


def report_dict(report: RunReport, run_dir: Path | None = None) -> dict[str, Any]:
    """`report.json`; the candidates' files are told relative to `run_dir`."""
    return {
        "run": _run(report),
        "headline": headline(report),
        "baseline": _baseline(report),
        "before_pruning": {name: asdict(accuracy) for name, accuracy in report.before_pruning.items()},
        "rungs": [rung_dict(rung) for rung in report.rungs],
        "checkpoints": {name: _relative(made.path, run_dir) for name, made in report.checkpoints.items()},
        "candidates": [_candidate(candidate, run_dir) for candidate in report.candidates],
        "selected": report.selected,
        "why": report.why,
        "dataset": report.dataset,
        "device": report.fingerprint and asdict(report.fingerprint),
    }


def rung_dict(rung: Rung) -> dict[str, Any]:
    """One entry of `rungs`."""
    return {
        "rung": rung.rung,
        "target": rung.target,
        "reached": rung.reached,
        **asdict(rung.footprint),
        "pruned": asdict(rung.pruned),
        "tuned": asdict(rung.tuned),
        "accepted": rung.accepted,
        "trials": [asdict(trial) for trial in rung.trials],
        "channels": {name: {"kept": kept, "of": width} for name, (kept, width) in rung.channels.items()},
        "undone": rung.undone and asdict(rung.undone),
    }


def headline(report: RunReport) -> str:
    """The run in one sentence that claims nothing the measurements do not hold."""
    if report.error:
        return f"The run {'failed' if report.status == 'failed' else 'was stopped'}: {report.error}"
    candidate = selected(report)
    if candidate is None or report.baseline is None or report.baseline_footprint is None:
        return f"Nothing was selected: {report.why or 'no candidate was measured'}"
    if candidate.name == BASELINE:
        return f"The unpruned FP32 net was kept: {report.why}"
    cost = macs_change(candidate.footprint, report.baseline_footprint)
    before = unpruned(report)
    accuracy = accuracy_change(candidate, before.accuracy if before else report.baseline)
    slow = before.latency if before else candidate.latency
    return f"{cost}, {accuracy}, {_speed(candidate.latency, slow)}: {candidate.name}."


def caution(report: RunReport) -> str:
    """That the run's accuracies say nothing, as the unpruned net has none; empty where it has."""
    return useless(report.baseline.main) if report.baseline else ""


def useless(accuracy: float) -> str:
    """Of an unpruned net's mAP50-95: that it is too little to say anything; empty where it is not."""
    if accuracy >= USELESS:
        return ""
    return (
        f"The unpruned net finds next to nothing in the validation pictures (mAP50-95 {accuracy:.3f}), so that no "
        "accuracy here says anything: are weights, classes and imgsz those that belong to these pictures?"
    )


def goal(rung: Rung) -> str:
    """`30→29.6 %`: how much was to go, and how much went."""
    return f"{100 * rung.target:.3g}→{100 * rung.reached:.1f} %"


def search(rung: Rung) -> str:
    """What was timed on the way to a latency budget; empty where none was asked for."""
    if not rung.trials:
        return ""
    refused = sum(trial.refused for trial in rung.trials)
    line = f"rung {rung.rung}: {len(rung.trials)} nets were timed on the way"
    return f"{line}, {refused} refused as not measurably faster than the unpruned" if refused else line


def undoing(rung: Rung) -> str:
    """What the training scored that was undone; empty where none was."""
    if rung.undone is None:
        return ""
    box, mask = rung.undone.box_map50_95, rung.undone.mask_map50_95
    scored = f"box {box:.3f}" if mask is None else f"box {box:.3f}, mask {mask:.3f}"
    return f"rung {rung.rung}: fine-tuning came to {scored}, measurably worse, and was undone"


def selected(report: RunReport) -> Candidate | None:
    """The candidate that ships."""
    return next((candidate for candidate in report.candidates if candidate.name == report.selected), None)


def unpruned(report: RunReport) -> Candidate | None:
    """The unpruned FP32 file, where it was measured."""
    return next((candidate for candidate in report.candidates if candidate.name == BASELINE), None)


def who_paid(report: RunReport) -> Candidate | None:
    """The candidate whose classes are told one by one: the selected one or, if that is the unpruned FP32, the best
    of the pruned ones; None where no classes were noted."""
    chosen = selected(report)
    if chosen and chosen.classes:
        return chosen
    pruned = [c for c in report.candidates if c.name.startswith(PRUNED) and c.classes and not c.fault]
    return max(pruned, key=lambda candidate: candidate.accuracy.main, default=None)


def quantized(report: RunReport) -> Candidate | None:
    """The candidate whose layers are told one by one: the selected one or, if that has none to tell, the most accurate
    of those that have; None where there is none."""
    chosen = selected(report)
    if chosen and chosen.layers:
        return chosen
    others = [candidate for candidate in report.candidates if candidate.layers and not candidate.fault]
    return max(others, key=lambda candidate: candidate.accuracy.main, default=None)


def macs_change(footprint: Footprint, baseline: Footprint) -> str:
    """`−31 % MACs`."""
    return f"{change(footprint.macs, baseline.macs)} MACs"


def change(count: int, baseline: int) -> str:
    """`−31 %`, or `±0 %`."""
    percent = round(100 * (count / baseline - 1))
    return f"{'±' if percent == 0 else '+' if percent > 0 else MINUS}{abs(percent)} %"


def accuracy_change(candidate: Candidate, baseline: Accuracy) -> str:
    """`mask mAP 0.512 → 0.498 (−0.014, 95 % interval −0.020 to −0.008)`."""
    accuracy = candidate.accuracy
    difference = points(accuracy.main, baseline.main)
    if candidate.accuracy_change is not None:
        difference = _with_interval(difference, candidate.accuracy_change.main)
    return f"{task(accuracy)} mAP {baseline.main:.3f} → {accuracy.main:.3f} ({difference})"


def _with_interval(difference: str, found: Change) -> str:
    what = difference if found.is_measurable else NO_DIFFERENCE
    return f"{what}, 95 % interval {change_span(found)}"


def task(accuracy: Accuracy) -> str:
    """What `Accuracy.main` is about: `mask` or, for a detector, `box`."""
    return "box" if accuracy.mask_map50_95 is None else "mask"


def points(value: float, baseline: float) -> str:
    """`−0.014`: the difference of the two as they are shown, with three decimals."""
    return signed(round(value, 3) - round(baseline, 3))


def signed(difference: float) -> str:
    """`−0.014`."""
    return f"{difference:+.3f}".replace("-", MINUS)


def change_span(found: Change) -> str:
    """`−0.020 to −0.008`."""
    return f"{signed(found.low)} to {signed(found.high)}"


def change_interval(found: Change) -> str:
    """`−0.014 (−0.020 to −0.008)`."""
    return f"{signed(found.observed)} ({change_span(found)})"


def decibels(value: float | None) -> str:
    """`38.2`, or `–` where there is no noise."""
    return "–" if value is None else f"{value:.1f}".replace("-", MINUS)


def noise_share(value: float | None) -> float:
    """Amplitude of the noise over the signal's, of a ratio in dB: 0.1 of 20 dB; 0 where there is no noise."""
    return 0.0 if value is None else float(10 ** (-value / 20))


def ratio(value: float, digits: int) -> str:
    """`2.6×`."""
    return f"{value:.{digits}f}×"


def digits_of(interval: Interval) -> int:
    """Decimals that show the interval: one from 2× on, else two."""
    return 1 if interval.low >= 2 else 2


def span(interval: Interval) -> str:
    """`2.4–2.7`."""
    digits = digits_of(interval)
    return f"{interval.low:.{digits}f}–{interval.high:.{digits}f}"


def is_measurable(speedup: Interval) -> bool:
    """Whether the 95 % interval leaves out 1×, "no difference"."""
    return not speedup.low <= 1 <= speedup.high


def flatten(spec: Mapping[str, Any], prefix: str = "") -> dict[str, Setting]:
    """Nested values under dotted names, as on the command line; a part's `name` goes under the part's own."""
    flat: dict[str, Setting] = {}
    for key, value in spec.items():
        name = prefix.removesuffix(".") if prefix and key == "name" else prefix + key
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{name}.")
        else:
            flat[name] = json.dumps(value) if isinstance(value, list | tuple) else value
    return flat


def typed(value: Setting) -> str:
    """As one would type it on the command line: `null`, `true`, `0.3`."""
    return value if isinstance(value, str) else json.dumps(value)


def accuracy_method(accuracy: Accuracy) -> str:
    """How the accuracies of a run were measured: the same way for all."""
    return (
        f"mAP50-95 by {accuracy.evaluator} on {accuracy.images} validation pictures, for checkpoints and files alike."
    )


def change_method(report: RunReport) -> str:
    """How the differences in accuracy were measured; empty where there are none."""
    if not any(candidate.accuracy_change for candidate in report.candidates):
        return ""
    return (
        "Differences in accuracy are to the unpruned FP32 file, with the paired 95 % bootstrap interval over the "
        "validation pictures. It tells of the choice of pictures, not of training seeds."
    )


def latency_method(report: RunReport) -> str:
    """How the latencies of a run were measured."""
    where = sorted({_where(candidate.latency) for candidate in report.candidates})
    return (
        f"Timed on the very file ({'; '.join(where)}), each round in fresh processes that take turns with the unpruned "
        "FP32's. The speed-up is the median of the paired ratios with its 95 % bootstrap interval, never a ratio of "
        "MACs."
    )


def end_to_end_method(report: RunReport) -> str:
    """How whole predictions were timed; empty where none were."""
    if not any(candidate.latency.end_to_end for candidate in report.candidates):
        return ""
    return (
        "Whole predictions are on training pictures, p50: letterboxing (before), the pass, decoding (after); reading "
        "a picture's file is not in it. Memory is the process' most, load what opening the file took."
    )


def _where(latency: Latency) -> str:
    runtime = f"{latency.runtime} {latency.runtime_version}"
    return f"{runtime}, {_threads(latency)}, {latency.imgsz} px, batch {latency.batch}, {latency.rounds} rounds"


def _threads(latency: Latency) -> str:
    return f"{latency.threads} thread{'' if latency.threads == 1 else 's'}"


def _speed(latency: Latency, unpruned: Latency) -> str:
    where = f"in {latency.runtime} with {_threads(latency)}"
    if latency.runtime == unpruned.runtime:
        return f"{_comparison(latency.speedup)} {where}"
    return f"{where} {_comparison(latency.speedup)} in {unpruned.runtime}"


def _comparison(speedup: Interval) -> str:
    if not is_measurable(speedup):
        return f"{NO_DIFFERENCE} in speed to the unpruned FP32 (95 % interval {span(speedup)})"
    if speedup.low > 1:
        return _factor(speedup, "faster")
    return _factor(_inverse(speedup), "slower")


def _factor(speedup: Interval, word: str) -> str:
    median = ratio(speedup.median, digits_of(speedup))
    return f"{median} {word} than the unpruned FP32 (95 % interval {span(speedup)})"


def _inverse(interval: Interval) -> Interval:
    return Interval(median=1 / interval.median, low=1 / interval.high, high=1 / interval.low)


def _run(report: RunReport) -> dict[str, Any]:
    names = ("id", "name", "status", "seconds", "spec", "versions", "git", "command", "error")
    return {name: getattr(report, name) for name in names}


def _baseline(report: RunReport) -> dict[str, Any] | None:
    if report.baseline_footprint is None or report.baseline is None:
        return None
    return asdict(report.baseline_footprint) | asdict(report.baseline)


def _candidate(candidate: Candidate, run_dir: Path | None) -> dict[str, Any]:
    return {
        "name": candidate.name,
        "runtime": candidate.runtime,
        "quantization": candidate.quantization,
        "file": _relative(candidate.model.path, run_dir),
        "sha256": candidate.model.sha256,
        "size_bytes": candidate.size_bytes,
        **asdict(candidate.footprint),
        **asdict(candidate.accuracy),
        **_changes(candidate.accuracy_change),
        "classes": [asdict(found) for found in candidate.classes],
        "samples": [_sample(sample, run_dir) for sample in candidate.samples],
        "layers": [asdict(layer) for layer in candidate.layers],
        "fault": candidate.fault,
        **_latency(candidate.latency),
    }


def _sample(sample: Sample, run_dir: Path | None) -> dict[str, str]:
    return {"picture": sample.picture, "found": sample.found, "file": _relative(sample.drawn.path, run_dir)}


def _changes(changes: AccuracyChange | None) -> dict[str, Any]:
    box, mask = (changes.box_map50_95, changes.mask_map50_95) if changes else (None, None)
    return {"box_map50_95_change": box and asdict(box), "mask_map50_95_change": mask and asdict(mask)}


def _latency(latency: Latency) -> dict[str, Any]:
    return {
        "latency_ms": asdict(latency.ms),
        "latency_quantiles_ms": list(latency.quantiles),
        "speedup": asdict(latency.speedup),
        **_end_to_end(latency.end_to_end),
        **{name: getattr(latency, name) for name in MEASURED},
    }


def _end_to_end(found: EndToEnd | None) -> dict[str, Any]:
    """None where no whole predictions were timed."""
    return {
        "preprocess_ms": found and asdict(found.preprocess_ms),
        "postprocess_ms": found and asdict(found.postprocess_ms),
        "end_to_end_ms": found and asdict(found.ms),
        "end_to_end_speedup": found and asdict(found.speedup),
    }


def _relative(path: Path, run_dir: Path | None) -> str:
    """A path that is relative already is taken to be so to the run folder."""
    if run_dir is None or not path.is_absolute():
        return path.as_posix()
    return Path(os.path.relpath(path, run_dir.absolute())).as_posix()
