import json
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from secateur.edge import device
from secateur.edge.bundle import Bundle
from secateur.edge.selftest import EXPECTED
from secateur.edge.sources import check_writable
from secateur.errors import ExportError, SpecError, StageError
from secateur.manifest import DeviceReport, read
from secateur.packing import pack
from secateur.results import BASELINE
from tests.conftest import no_progress
from tests.example_run import ID, write_run


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("packed")
    return pack(write_run(folder), folder / "bundle", [])


@pytest.fixture(scope="module")
def report(bundle: Bundle) -> DeviceReport:
    return device.measured(bundle, 1.0, no_progress)


def with_expectations(bundle: Bundle, tmp_path: Path, text: str) -> Bundle:
    """The same bundle with other ones."""
    (tmp_path / "samples").mkdir()
    for path in bundle.samples:
        (tmp_path / "samples" / path.name).write_bytes(path.read_bytes())
    (tmp_path / "models").symlink_to(bundle.folder / "models")
    (tmp_path / EXPECTED).write_text(text)
    return replace(bundle, folder=tmp_path)


def test_each_file_is_tested_and_timed(report: DeviceReport) -> None:
    assert report.faults == {}
    assert set(report.models) == {BASELINE, "pruned-int8_static"}
    for found in report.models.values():
        assert found.latency is not None
        assert found.latency.ms.p50 > 0
        assert found.latency.threads == 1
        assert found.latency.rounds == 2
        assert found.latency.end_to_end is not None
        assert found.latency.images_per_second


def test_the_report_says_what_it_is_of(report: DeviceReport, bundle: Bundle) -> None:
    assert (report.run_id, report.bundle) == (ID, bundle.digest)
    assert (report.selected, report.reference) == ("pruned-int8_static", BASELINE)
    assert report.device.cores > 0
    assert report.versions["numpy"]


def test_what_is_written_is_read_back_as_it_was(report: DeviceReport, tmp_path: Path) -> None:
    device.write(report, tmp_path / "device.json")

    assert read((tmp_path / "device.json").read_bytes(), DeviceReport, tmp_path) == report


def test_a_file_that_gives_something_else_here_is_not_timed(bundle: Bundle, tmp_path: Path) -> None:
    expected = json.loads((bundle.folder / EXPECTED).read_text())
    expected[BASELINE] = expected["pruned-int8_static"] | {"allowed": 0.05}  # as if the runtime ran the wrong weights

    report = device.measured(with_expectations(bundle, tmp_path, json.dumps(expected)), 60.0, no_progress)

    assert list(report.faults) == [BASELINE]
    assert all(found.latency is None for found in report.models.values())
    with pytest.raises(
        ExportError, match=f"{BASELINE} does not give on this device what it should: its scores are off"
    ):
        device.refuse_faults(report)


@pytest.mark.parametrize("text", ["", "{}", "[" * 100_000, '{"baseline-fp32": {"allowed": 0.1, "pictures": []}}'])
def test_expectations_of_something_else_are_refused(text: str, bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="expected.json (of the bundle is damaged|tells of other models or samples)"):
        device.tested(with_expectations(bundle, tmp_path, text))


def test_what_the_self_test_found_is_written_though_the_timing_fails(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.executable", "/nowhere/python")  # in which the latencies would be measured

    with pytest.raises((ExportError, StageError, OSError)):
        device.measured(bundle, 1.0, no_progress, tmp_path / "device.json")

    written = read((tmp_path / "device.json").read_bytes(), DeviceReport, tmp_path)
    assert set(written.models) == {BASELINE, "pruned-int8_static"}
    assert all(found.latency is None for found in written.models.values())


def test_the_runtimes_version_is_told_of_what_was_not_timed_too(bundle: Bundle) -> None:
    found = device.tested(bundle).models[BASELINE]

    assert (found.runtime, found.runtime_version) == ("onnxruntime", bundle.runtime(BASELINE).version())


def test_where_no_file_can_be_written_is_said_before_anything_is_measured(tmp_path: Path) -> None:
    (tmp_path / "old.json").write_text("old")

    check_writable(tmp_path / "device.json")
    check_writable(tmp_path / "old.json")
    for place in (tmp_path / "nowhere" / "device.json", tmp_path, Path("/proc/device.json")):
        with pytest.raises(SpecError, match=f"--json: cannot write {place} .*; give another file"):
            check_writable(place)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


@pytest.mark.parametrize("created", ["yesterday", "2026-11-26T08:00:00", ""])
def test_a_report_of_no_moment_is_refused(created: str, report: DeviceReport, tmp_path: Path) -> None:
    raw = msgspec.json.encode(msgspec.to_builtins(report) | {"created": created})

    with pytest.raises(ExportError, match="is damaged, or no such file"):
        read(raw, DeviceReport, tmp_path)


def test_a_report_names_its_device_and_no_other(report: DeviceReport) -> None:
    other = replace(report, device=replace(report.device, cores=report.device.cores + 1))

    assert report.slug != other.slug
    assert report.slug.rpartition("-")[0] == other.slug.rpartition("-")[0]


@pytest.mark.parametrize("run_id", ["../../etc", "a/b/c", "", "/etc", "%", ".", "a/..", "a\n"])
def test_a_report_of_a_run_that_is_no_runs_name_is_refused(run_id: str, report: DeviceReport, tmp_path: Path) -> None:
    raw = msgspec.json.encode(replace_unchecked(report, run_id))

    with pytest.raises(ExportError, match="which is no run's id"):
        read(raw, DeviceReport, tmp_path)


def replace_unchecked(report: DeviceReport, run_id: str) -> object:
    return msgspec.to_builtins(report) | {"run_id": run_id}
