"""Sweeps whose jobs run at once: on this machine, on two nodes of a Ray cluster, by submitit."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.example_tracking import client, lost
from tests.test_end_to_end import BRIEF, FEW, Place

pytestmark = pytest.mark.slow

NO_RUNG = [
    *"model=yolov8n_seg_scratch model.training.epochs=1 schedule=none finetune=none quantization=fp32".split(),
    *FEW,
    *BRIEF,
    "benchmark.seconds=0.1",
]
"""The least that a run can be; jobs that differ in nothing but their names share all of it."""

ATTEMPTS = 3


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def jobs(place: Place) -> list[Path]:
    (sweep,) = (place.outputs / "sweeps").iterdir()
    return sorted((path for path in sweep.iterdir() if path.name.isdigit()), key=lambda path: int(path.name))


def statuses(place: Place) -> list[str]:
    return [json.loads((job / "report.json").read_text())["run"]["status"] for job in jobs(place)]


def measured(metrics: dict[str, float]) -> dict[str, float]:
    """Of what would ship; how long a job took is its own."""
    return {name: value for name, value in metrics.items() if name.startswith("final/")}


def test_sixteen_cold_jobs_at_once_lose_nothing_in_a_new_database(place: Place) -> None:
    names = ",".join(f"job{number}" for number in range(16))
    place.say(*NO_RUNG, "-m", f"name={names}", "hydra/launcher=parallel", "hydra.launcher.n_jobs=16")

    uri = f"sqlite:///{place.outputs}/mlflow.db"
    known = client(uri)
    told = known.search_runs([known.get_experiment_by_name("secateur").experiment_id])
    (parent,) = [run for run in told if "run_dir" not in run.data.tags]
    runs = [run for run in told if run is not parent]
    assert Counter(run.info.status for run in told) == {"FINISHED": 17}
    assert {run.data.tags["mlflow.parentRunId"] for run in runs} == {parent.info.run_id}
    assert len({run.info.run_name for run in runs}) == 16
    assert len({frozenset(measured(run.data.metrics).items()) for run in runs}) == 1  # by one of them, for all
    assert lost(uri, jobs(place)) == 0
    made = [json.loads(line) for job in jobs(place) for line in (job / "records.jsonl").read_text().splitlines()]
    again = Counter((record["stage"], record["key"]) for record in made if not record["reused"])
    assert set(again.values()) == {1}


def test_submitit_does_the_jobs_of_a_sweep(place: Place) -> None:
    place.say(*NO_RUNG, "-m", "name=one,two", "hydra/launcher=slurm_rehearsal")

    assert statuses(place) == ["finished", "finished"]


@pytest.mark.skipif(find_spec("ray") is None, reason="needs Ray: pip install 'secateur[ray]'")
def test_the_jobs_of_a_sweep_run_on_both_nodes_of_a_ray_cluster_where_the_command_was_given(place: Place) -> None:
    with ray_cluster(place.top) as (address, nodes):
        place.say(
            *NO_RUNG, "-m", "name=one,two", "hydra/launcher=ray_cluster", f"hydra.launcher.ray.init.address={address}",
            "hydra.launcher.ray.remote.num_cpus=1", "tracking=none",
        )  # fmt: skip

    assert statuses(place) == ["finished", "finished"]
    assert all((node / f"secateur-{os.getuid()}").is_dir() for node in nodes)


@contextmanager
def ray_cluster(top: Path) -> Iterator[tuple[str, list[Path]]]:
    """The address of two nodes with a core each, both on this machine; and the temporary folder that each one's jobs
    have, which tells where they were."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address, folders = f"127.0.0.1:{port}", [top / "head", top / "node"]
    with tempfile.TemporaryDirectory(prefix="ray-") as short, ExitStack() as started:  # a socket's path is not long
        head = ["--head", "--port", str(port), "--temp-dir", short, "--include-dashboard", "false"]
        for folder, way in zip(folders, (head, ["--address", address]), strict=True):
            folder.mkdir()
            started.callback(end, patiently_started(folder, way))
        yield address, folders


def patiently_started(folder: Path, way: list[str]) -> subprocess.Popen[str]:
    """Ray gives up on a node that is not there within half a minute, which a busy machine may need longer for."""
    for _ in range(ATTEMPTS):
        node = start_node(folder, way)
        assert node.stdout
        if any("Ray runtime started" in line for line in node.stdout):
            return node
        node.wait()
    raise AssertionError(f"no node of Ray in {ATTEMPTS} attempts")


def start_node(folder: Path, way: list[str]) -> subprocess.Popen[str]:
    own = {"TMPDIR": str(folder), "RAY_USAGE_STATS_ENABLED": "0"}
    ray = [str(Path(sys.executable).with_name("ray")), "start", "--node-ip-address", "127.0.0.1", "--num-cpus", "1"]
    return subprocess.Popen(
        [*ray, *way, "--block"], cwd=folder, env=os.environ | own, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True,
    )  # fmt: skip


def end(node: subprocess.Popen[str]) -> None:
    """With all that it started."""
    node.send_signal(signal.SIGTERM)
    node.communicate(timeout=60)
