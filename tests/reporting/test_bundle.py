from dataclasses import replace

import pytest
from rich.console import Console, RenderableType

from secateur.manifest import Check, Manifest, OnDevice
from secateur.packing import pack
from secateur.reporting.bundle import device_tables, readme
from tests.example_run import device_report, write_run


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    folder = tmp_path_factory.mktemp("packed")
    return pack(write_run(folder), folder / "bundle", []).manifest


def shown(what: RenderableType) -> str:
    console = Console(width=100, color_system=None)
    with console.capture() as capture:
        console.print(what)
    return capture.get()


def test_the_readme_has_the_commands_and_says_where_its_figures_hold(manifest: Manifest) -> None:
    told = readme(manifest)

    assert "    pip install secateur\n" in told
    assert "    secateur bench . --json device.json" in told
    assert "    secateur predict . image.jpg" in told
    assert "    secateur replay device.json" in told
    assert "at batch 1, were measured\non x86_64, Intel Xeon 8481C, 2 cores, Linux 6.1, by onnxruntime " in told


def test_the_readme_says_how_many_pictures_a_pass_takes(manifest: Manifest) -> None:
    models = tuple(replace(model, latency=replace(model.latency, batch=4)) for model in manifest.models)

    assert "of a forward pass at batch 4, were measured" in readme(replace(manifest, models=models))


def test_what_a_bundle_says_of_a_device_is_text_and_no_markup(manifest: Manifest) -> None:
    odd = replace(manifest, device=replace(manifest.device, processor="[bold]Xeon[/red]"))

    assert "Where it was bundled (x86_64, [bold]Xeon[/red], 2 cores" in shown(device_tables(odd, device_report()))


def test_the_readme_names_what_another_runtime_needs(manifest: Manifest) -> None:
    models = (replace(manifest.models[0], runtime="openvino"), *manifest.models[1:])

    assert "    pip install 'secateur[openvino]'\n" in readme(replace(manifest, models=models))


def test_the_latencies_here_stand_apart_from_those_of_the_workstation(manifest: Manifest) -> None:
    told = shown(device_tables(manifest, device_report()))

    here, there = told.split("Where it was bundled (x86_64, Intel Xeon 8481C, 2 cores, Linux 6.1)")
    assert "This device: Raspberry Pi 5 Model B, Cortex-A76, 4 cores, Linux 6.6 aarch64" in here
    assert "▶ pruned-int8_static   40.0 41.0 49.0  25.0   0.40 120 2.00× (1.90–2.10)" in here
    assert "  baseline-fp32        80.0" in here
    assert "▶ pruned-int8_static   21.6" in there


def test_a_file_that_failed_is_told_with_the_reason_and_without_latencies(manifest: Manifest) -> None:
    failed = {"baseline-fp32": OnDevice("onnxruntime", Check({"scores": 0.9}, 0.05), None)}

    told = shown(device_tables(manifest, replace(device_report(), models=failed)))

    assert "✗ baseline-fp32: its scores are off by 0.90 of their spread, more than 0.05" in told
    assert "p50" not in told
