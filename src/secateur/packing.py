"""Packs what a run would ship into one folder, and a .zip of it, that a device needs nothing else for."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import zipfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from PIL import Image

from secateur import __version__
from secateur.datasets.shapes import Shapes, draw
from secateur.edge.bundle import MANIFEST, Bundle, opened, runtime
from secateur.edge.letterbox import read_picture
from secateur.edge.predictor import open_predictor
from secateur.edge.selftest import EXPECTED, Expected, expect
from secateur.edge.sources import PICTURES
from secateur.errors import ExportError, SpecError
from secateur.manifest import FORMAT, LARGEST_JSON, MODELS, SAMPLES, Listed, Manifest, Packed, Source, Timed
from secateur.plugins import nearest
from secateur.reporting.bundle import readme
from secateur.results import BASELINE, Accuracy, AccuracyChange, Fingerprint
from secateur.store import digest

if TYPE_CHECKING:
    from numpy.typing import NDArray

DRAWN = 4  # pictures of the self-test
DRAWN_SIZE = 256  # px; the net's own size comes by letterboxing, which is tested too
MIDDLE = 128.0  # grey
# a path's folders: where a value begins, an absolute one, a file's address, or one that leads up
PLACES = re.compile(
    r"(?<![^=,:'\"\[{\s])"
    r"(?:\w+:///|file:/|~|[A-Za-z]:[/\\]|(?<!:)/|/(?!/)|(?:[^=,:'\"\[\]{}\s]*[/\\])?\.\.[/\\])"
    r"(?:[^=,'\"\]}]*[/\\])?"
)
OWN = ("tracking", "outputs", "workers")
"""Settings that say where a run was done, not what it was."""

Report = dict[str, Any]


def pack(
    run_dir: Path, out: Path, candidates: Sequence[str], samples: Path | None = None, ship: str | None = None
) -> Bundle:
    """Writes the folder `out` and `out`.zip, in place of what was there; what is to ship (what the run selected, unless
    another is named) and the unpruned FP32 go along with the candidates that are named. Raises SpecError or
    ExportError."""
    report = _shipping(_report(run_dir), ship)
    chosen = [_candidate(report, name) for name in dict.fromkeys([report["selected"], *candidates, BASELINE])]
    _check_replaceable(out)
    fresh = out.with_name(f".{out.name}-{os.getpid()}")
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        fresh.mkdir(parents=True)
        _fill(fresh, run_dir, report, chosen, samples)
        _zip(fresh, out)
        _put_in_place(fresh, out)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    with opened(out) as bundle:
        return bundle


def candidates_of(run_dir: Path) -> list[str]:
    """The names of all files that the run measured."""
    return [candidate["name"] for candidate in _report(run_dir)["candidates"]]


def default_place(run_dir: Path, bundles: Path, ship: str | None = None) -> Path:
    """`<bundles>/<run>-<what is to ship>`."""
    report = _shipping(_report(run_dir), ship)
    return bundles / f"{report['run']['id'].replace('/', '_')}-{report['selected']}"


# ---- what the run found ----------------------------------------------------------------------------


def _report(run_dir: Path) -> Report:
    try:
        report: Report = json.loads((run_dir / "report.json").read_text())
    except (OSError, ValueError) as error:
        raise SpecError(f"{run_dir} holds no finished run; do one: secateur run +study=quickstart") from error
    if report["selected"] is None:
        why = report["run"]["error"] or report["why"] or "no candidate was measured"
        raise SpecError(f"the run in {run_dir} selected nothing that could be bundled: {why}{_another(run_dir)}")
    return report


def _another(run_dir: Path) -> str:
    """The newest run beside it that could be bundled, for an error."""
    for path in sorted(run_dir.resolve().parent.glob("*/report.json"), reverse=True):
        with suppress(OSError, ValueError, KeyError):  # a report that is damaged is another matter
            if json.loads(path.read_text())["selected"]:
                return f"; the newest that did: {os.path.relpath(path.parent)}"
    return ""


def _shipping(report: Report, ship: str | None) -> Report:
    """The same, as if it had selected that one; raises SpecError where none has that name, or it is of no use."""
    if ship is None:
        return report
    chosen = _candidate(report, ship)
    if fault := chosen.get("fault"):
        raise SpecError(f"{ship} is of no use: {fault}; give --ship another of the run's files")
    return {**report, "selected": chosen["name"]}


def _candidate(report: Report, name: str) -> Report:
    found: dict[str, Report] = {candidate["name"]: candidate for candidate in report["candidates"]}
    if name not in found:
        raise SpecError(f"the run has no candidate {name!r}; there are {', '.join(found)}{nearest(name, found)}")
    return found[name]


# ---- the folder ----------------------------------------------------------------------------------


def _fill(folder: Path, run_dir: Path, report: Report, chosen: list[Report], samples: Path | None) -> None:
    (folder / MODELS).mkdir()
    (folder / SAMPLES).mkdir()
    files = {candidate["name"]: _copy_model(candidate, run_dir, folder) for candidate in chosen}
    pictures = _take_along(samples, folder) if samples else _draw(folder, report["run"]["spec"]["imgsz"])
    try:
        models = tuple(_packed(candidate, report, files[candidate["name"]]) for candidate in chosen)
        manifest = _manifest(report, models, pictures, _listed(folder))
    except (ValueError, msgspec.ValidationError) as error:
        raise SpecError(f"the run in {run_dir} cannot be bundled: {error}") from error
    _write_json(folder / "settings.json", _settings(report["run"]["spec"]))
    (folder / "labels.txt").write_text("".join(f"{name}\n" for name in manifest.names), encoding="utf-8")
    _write_expected(folder, manifest)
    (folder / "README.md").write_text(readme(manifest), encoding="utf-8")
    _write_json(folder / MANIFEST, replace(manifest, files=_listed(folder)))


def _copy_model(candidate: Report, run_dir: Path, folder: Path) -> str:
    """Its path in the bundle."""
    source = run_dir / candidate["file"]
    target = folder / MODELS / source.name
    if not source.exists():
        raise ExportError(f"{source} is gone; run again, which makes it anew: {candidate['name']}")
    if digest(source) != candidate["sha256"]:
        raise ExportError(f"{source} is not what was measured (its sha256 differs); run again")
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copyfile(source, target)
    return f"{MODELS}/{target.name}"


def _packed(candidate: Report, report: Report, file: str) -> Packed:
    changes = {name: candidate.get(f"{name}_change") for name in ("box_map50_95", "mask_map50_95")}
    return Packed(
        name=candidate["name"],
        runtime=candidate["runtime"],
        runtime_fields=_runtime_fields(candidate["runtime"], report["run"]["spec"]),
        quantization=candidate["quantization"],
        file=file,
        params=candidate["params"],
        macs=candidate["macs"],
        accuracy=msgspec.convert(candidate, Accuracy),
        accuracy_change=msgspec.convert(changes, AccuracyChange) if changes["box_map50_95"] else None,
        latency=_timed(candidate),
    )


def _runtime_fields(name: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    """As the run set it; the unpruned FP32, which runs in ONNX Runtime always, has as many threads as the others."""
    own = spec["runtime"]
    if name != own["name"]:
        return {"threads": own["threads"]}
    return {key: value for key, value in own.items() if key != "name"}


def _timed(candidate: Report) -> Timed:
    """`report.json` tells it in one row with all else of the candidate; whole predictions need not be timed."""
    whole = None
    if candidate.get("end_to_end_ms"):
        whole = {name: candidate[name] for name in ("preprocess_ms", "postprocess_ms")}
        whole |= {"ms": candidate["end_to_end_ms"], "speedup": candidate["end_to_end_speedup"]}
    return msgspec.convert(candidate | {"ms": candidate["latency_ms"], "end_to_end": whole}, Timed)


def _manifest(
    report: Report, models: tuple[Packed, ...], pictures: tuple[str, ...], files: dict[str, Listed]
) -> Manifest:
    run, dataset = report["run"], report["dataset"]
    return Manifest(
        format=FORMAT,
        secateur=__version__,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        run=Source(run["id"], run["name"], _command(run["command"]), run["git"]),
        versions=run["versions"],
        task="detect" if models[0].accuracy.mask_map50_95 is None else "segment",
        names=tuple(dataset["names"]),
        imgsz=run["spec"]["imgsz"],
        selected=report["selected"],
        reference=BASELINE,
        models=models,
        device=msgspec.convert(report["device"], Fingerprint),
        dataset=_without_places(dataset),
        samples=pictures,
        files=files,
    )


# ---- nothing that is nobody's business --------------------------------------------------------------


def _settings(spec: Mapping[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = _without_places({name: value for name, value in spec.items() if name not in OWN})
    return kept


def _command(line: str) -> str:
    words = [word for word in shlex.split(line) if _key(word) not in OWN]
    return shlex.join(_without_places(words))


def _key(word: str) -> str:
    """The first part of what an override is of: `tracking` of `++tracking.uri=…`."""
    return re.split(r"[=.@]", word.lstrip("+~"))[0]


def _without_places(value: Any) -> Any:
    """The same, of paths that lead elsewhere their last part only: they say whose machine it was."""
    if isinstance(value, Mapping):
        return {key: _without_places(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_without_places(inner) for inner in value]
    return PLACES.sub("", value) if isinstance(value, str) else value


# ---- the self-test --------------------------------------------------------------------------------


def _draw(folder: Path, imgsz: int) -> tuple[str, ...]:
    """Pictures made by code, so that nobody's are taken along: shapes under a texture, and texture alone; wide ones and
    tall ones, which letterboxing pads."""
    size = min(imgsz, DRAWN_SIZE)
    names = tuple(f"{SAMPLES}/{number}.png" for number in range(DRAWN))
    for number, name in enumerate(names):
        height, width = (size * 3 // 4, size) if number % 2 else (size, size * 3 // 4)
        drawn, _ = draw(Shapes(size=size, objects=6, noise=0.0), "val", number)
        below = np.asarray(drawn, np.float64) if number < DRAWN // 2 else MIDDLE
        pixels = below + _texture(size, number)
        Image.fromarray(pixels[:height, :width].clip(0, 255).round().astype(np.uint8)).save(folder / name)
    return names


def _texture(size: int, seed: int) -> NDArray[np.float64]:
    """(size, size, 3), 64 grey levels of standard deviation around 0: noise whose amplitude falls with the frequency.

    So it does in photographs. On smooth pictures sums of 8-bit products stay small, where on those they overflow.
    """
    rng = np.random.default_rng(seed)
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(size), np.fft.fftfreq(size)))
    frequency[0, 0] = np.inf
    grey, colours = rng.normal(size=(size, size, 1)), rng.normal(size=(size, size, 3))
    spectrum = np.fft.fft2(grey + colours / 2, axes=(0, 1)) / frequency[..., None]
    noise = np.real(np.fft.ifft2(spectrum, axes=(0, 1)))
    return np.asarray(64 * noise / noise.std())


def _take_along(samples: Path, folder: Path) -> tuple[str, ...]:
    pictures = sorted(path for path in samples.glob("*") if path.suffix.lower() in PICTURES)
    if not pictures:
        raise SpecError(f"no pictures in {samples}; a folder of {', '.join(PICTURES)} is wanted")
    for picture in pictures:
        shutil.copyfile(picture, folder / SAMPLES / picture.name)
    return tuple(f"{SAMPLES}/{picture.name}" for picture in pictures)


def _write_expected(folder: Path, manifest: Manifest) -> None:
    """Long, so not for reading; raises SpecError where the device would refuse it as too long."""
    raw = msgspec.json.encode(_expected(folder, manifest))
    if len(raw) > LARGEST_JSON:
        raise SpecError(
            f"--samples: what the files give for {len(manifest.samples)} pictures takes {len(raw) / 2**20:.0f} MB, "
            f"more than the {LARGEST_JSON / 2**20:.0f} MB that are read; give fewer"
        )
    (folder / EXPECTED).write_bytes(raw)


def _expected(folder: Path, manifest: Manifest) -> dict[str, Expected]:
    """What each file gives on this machine, in the runtime that it is bundled for."""
    pictures = [read_picture(folder / name) for name in manifest.samples]
    found = {}
    for model in manifest.models:
        opens = runtime(model.runtime, model.runtime_fields)
        predictor = open_predictor(folder / model.file, opens, names=manifest.names)
        found[model.name] = expect(predictor, pictures, model.quantization)
    return found


# ---- on the disk ----------------------------------------------------------------------------------


def _write_json(path: Path, values: Any) -> None:
    path.write_bytes(msgspec.json.format(msgspec.json.encode(values), indent=2))


def _listed(folder: Path) -> dict[str, Listed]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): Listed(digest(path), path.stat().st_size) for path in paths}


def _check_replaceable(out: Path) -> None:
    if out.exists() and not (out / MANIFEST).is_file():
        raise SpecError(f"{out} is there and is no bundle; choose another folder with --out")


def _zip(folder: Path, out: Path) -> None:
    """Beside the folder, and whole or not at all."""
    archive = Path(f"{out}.zip")
    beside = archive.with_name(f".{archive.name}.part")
    try:
        with zipfile.ZipFile(beside, "w", zipfile.ZIP_DEFLATED) as file:
            for path in sorted(path for path in folder.rglob("*") if path.is_file()):
                file.write(path, path.relative_to(folder))
        beside.replace(archive)
    finally:
        beside.unlink(missing_ok=True)


def _put_in_place(fresh: Path, out: Path) -> None:
    """A folder cannot be replaced in one step: the old one stays until the new one has its name."""
    old = out.with_name(f".{out.name}-old-{os.getpid()}")
    if out.exists():
        out.rename(old)
    fresh.rename(out)
    shutil.rmtree(old, ignore_errors=True)
