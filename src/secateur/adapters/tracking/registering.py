"""A candidate in MLflow's model registry: the very file that was measured, with what it takes and whence it is."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from secateur.adapters.tracking.connection import connect, experiment_of, library, one_line, told_in_one_line
from secateur.adapters.tracking.metrics import candidate_metrics, data_set, plain_tags
from secateur.adapters.tracking.replaying import replay
from secateur.adapters.tracking.run import run_of
from secateur.errors import TrackingError
from secateur.plugins import nearest
from secateur.store import digest

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.models import ModelSignature

CHAMPION = "champion"
"""The alias of what was registered last: `models:/<name>@champion`."""

_FILE = "model.onnx"
_EXAMPLE = "input_example.json"
_SOME_SIDE = 64  # px of the example for a net that takes pictures of any size


@dataclass(frozen=True)
class Registered:
    """A version in the registry; `is_new` is False where this very file was there already."""

    name: str
    version: int
    is_new: bool

    @property
    def uri(self) -> str:
        """What MLflow loads it by."""
        return f"models:/{self.name}@{CHAMPION}"


def register(run_dir: Path, candidate: str | None, uri: str, experiment: str = "secateur") -> Registered:
    """Puts a candidate of a finished run, or where None what the run selected, into the model registry of the MLflow at
    `uri`, and moves the alias `champion` to it.

    The registered model is `secateur-<model>`, by the file of the net's weights or of its architecture, so that there
    is a champion for each net; or the experiment, where the run names neither. A version holds the file byte by byte as
    MLflow's ONNX flavor, its signature (tensors by name), an input example of zeros, and in its tags whence it is and
    what was measured. It belongs to the run of the folder, which is brought in first where MLflow does not know it. A
    file whose sha256 has a version already gets no other: the alias moves to that one. Neither torch nor a session is
    needed.

    Whether the candidate deserves it, that no other beats it in both mAP and time, is for the caller to know.

    Raises TrackingError, in one line, where the folder holds no finished run, the run has no such candidate, its file
    is no ONNX file, of no use (`fault`), gone or not the one that was measured, or MLflow does not take it.
    """
    report = _report(run_dir)
    chosen = _candidate(report, candidate or report["selected"], run_dir)
    file = _file(chosen, run_dir)
    name = _name(report, experiment)
    with told_in_one_line(uri):
        client = connect(uri)
        version = _version_of(client, name, chosen["sha256"])
        is_new = version is None
        if version is None:
            version = _added(client, uri, experiment, name, run_dir, report, chosen, file)
        client.set_registered_model_alias(name, CHAMPION, str(version))
    return Registered(name, version, is_new)


# ---- what the run found --------------------------------------------------------------------------


def _report(run_dir: Path) -> dict[str, Any]:
    try:
        report: dict[str, Any] = json.loads((run_dir / "report.json").read_text())
    except (OSError, ValueError) as error:
        raise TrackingError(f"{run_dir} holds no finished run to register: {one_line(error)}") from error
    if report["run"]["status"] != "finished":
        raise TrackingError(f"the run in {run_dir} is {report['run']['status']}: only what was carried through can be")
    return report


def _candidate(report: Mapping[str, Any], name: str | None, run_dir: Path) -> Mapping[str, Any]:
    found: dict[str, Mapping[str, Any]] = {candidate["name"]: candidate for candidate in report["candidates"]}
    if name is None:
        raise TrackingError(f"the run in {run_dir} selected nothing: {report['why']}")
    if name not in found:
        known = f"{', '.join(found)}{nearest(name, found)}"
        raise TrackingError(f"the run in {run_dir} has no candidate {name!r}; there are {known}")
    if fault := found[name].get("fault"):
        raise TrackingError(f"{name} of {run_dir} is of no use: {fault}")
    return found[name]


def _file(candidate: Mapping[str, Any], run_dir: Path) -> Path:
    path = run_dir / candidate["file"]
    if path.suffix != ".onnx":
        raise TrackingError(f"{path} is no ONNX file; candidates of {candidate['runtime']} cannot be registered")
    if not path.is_file():
        raise TrackingError(f"no file {path}; the command that began the run makes it again")
    if digest(path) != candidate["sha256"]:
        raise TrackingError(f"{path} is not what was measured (its sha256 differs); run again")
    return path


def _name(report: Mapping[str, Any], experiment: str) -> str:
    model = report["run"]["spec"].get("model") or {}
    origin = model.get("weights") or model.get("architecture")
    return f"secateur-{Path(origin).stem}" if origin else experiment


# ---- the registry --------------------------------------------------------------------------------


def _version_of(client: MlflowClient, name: str, sha256: str) -> int | None:
    versions = client.search_model_versions(f"name = '{name}' AND tags.sha256 = '{sha256}'")
    return max((int(found.version) for found in versions), default=None)


def _added(
    client: MlflowClient, uri: str, experiment: str, name: str, run_dir: Path,
    report: Mapping[str, Any], candidate: Mapping[str, Any], file: Path,
) -> int:  # fmt: skip
    experiment_id = experiment_of(client, uri, experiment)
    known = run_of(client, experiment_id, report["run"]["id"], run_dir)
    run_id = known or replay(run_dir, uri, experiment)
    tags = _provenance(report, candidate, run_dir)
    made = client.create_logged_model(experiment_id, candidate["name"], run_id, tags, model_type="onnx")
    with _written(file, run_id, made.model_id, tags) as folder:
        client.log_model_artifacts(made.model_id, str(folder))
    client.finalize_logged_model(made.model_id, "READY")
    client.log_outputs(run_id, [library().entities.LoggedModelOutput(made.model_id, 0)])
    _make_room(client, name)
    version = client.create_model_version(
        name, made.artifact_location, run_id, tags, description=report["headline"], model_id=made.model_id
    )  # its place, as MLflow would look for models:/<id> in the tracking of the process
    return int(version.version)


def _make_room(client: MlflowClient, name: str) -> None:
    """A registered model of this name, where there is none."""
    try:
        client.create_registered_model(name, description="What secateur found best of this net, by its measurements.")
    except library().exceptions.MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _provenance(report: Mapping[str, Any], candidate: Mapping[str, Any], run_dir: Path) -> dict[str, str]:
    """Measured values are called as the metrics `final/…` are."""
    run = report["run"]
    metrics = candidate_metrics("", candidate)
    told = {
        "run": run["id"],
        "run_dir": run_dir.absolute().as_posix(),
        "candidate": candidate["name"],
        **{name: candidate.get(name) for name in ("sha256", "runtime", "quantization", "imgsz", "threads")},
        "git": run["git"],
        "command": run["command"],
        **{f"dataset.{key}": value for key, value in (data_set(report) or {}).items()},
        "device": (report["device"] or {}).get("processor"),
        **{name.removeprefix("/"): value for name, value in metrics.items()},
    }
    return plain_tags(told)


# ---- the folder that MLflow loads ----------------------------------------------------------------


@contextmanager
def _written(file: Path, run_id: str, model_id: str, tags: Mapping[str, str]) -> Iterator[Path]:
    """MLflow would write the net anew, and the example's picture in many times the net's bytes."""
    import mlflow.onnx
    import onnx
    from mlflow.models import Model

    net = onnx.load(file)
    takes = _tensors(net.graph.input)
    signature = _signature(takes, _tensors(net.graph.output))
    model = Model(run_id=run_id, model_id=model_id)
    with TemporaryDirectory(prefix="secateur-") as place:
        folder = Path(place) / "model"
        _write_example(Path(place) / _EXAMPLE, takes)
        model.saved_input_example_info = {"artifact_path": _EXAMPLE, "type": "ndarray"}
        mlflow.onnx.save_model(
            net, folder, mlflow_model=model, signature=signature, metadata=dict(tags), save_as_external_data=False,
            pip_requirements=[f"{name}=={_installed(name)}" for name in ("onnx", "onnxruntime")],
            onnx_execution_providers=["CPUExecutionProvider"],
        )  # fmt: skip
        shutil.move(Path(place) / _EXAMPLE, folder / _EXAMPLE)
        shutil.copyfile(file, folder / _FILE)
        yield folder


@dataclass(frozen=True)
class _Tensor:
    """What goes into a net, or comes out; −1 where any size will do."""

    name: str
    dtype: Any
    shape: tuple[int, ...]


def _tensors(values: Sequence[Any]) -> list[_Tensor]:
    from onnx.helper import tensor_dtype_to_np_dtype

    return [
        _Tensor(
            value.name,
            tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type),
            tuple(dim.dim_value or -1 for dim in value.type.tensor_type.shape.dim),
        )
        for value in values
    ]


def _signature(takes: Sequence[_Tensor], gives: Sequence[_Tensor]) -> ModelSignature:
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    inputs, outputs = (
        Schema([TensorSpec(tensor.dtype, tensor.shape, tensor.name) for tensor in tensors])
        for tensors in (takes, gives)
    )
    return ModelSignature(inputs, outputs)


def _write_example(path: Path, takes: Sequence[_Tensor]) -> None:
    import numpy as np

    zeros = {tensor.name: np.zeros(_sizes(tensor.shape), int).tolist() for tensor in takes}
    path.write_text(json.dumps(zeros, separators=(",", ":")))


def _sizes(shape: tuple[int, ...]) -> tuple[int, ...]:
    """One picture, where any number will do."""
    return tuple(size if size > 0 else (_SOME_SIDE if axis else 1) for axis, size in enumerate(shape))


def _installed(name: str) -> str:
    from importlib.metadata import version

    return version(name)
