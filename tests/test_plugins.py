import sys
from collections.abc import Callable, Iterator
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
import yaml

from secateur import plugins
from secateur.errors import SpecError
from secateur.runtimes.ncnn import Ncnn
from secateur.store import kind_of

ROOT = Path(__file__).parents[1]
PARTS = [(kind, name) for kind in plugins.FOLDERS for name in plugins.names(kind)]
YAMLS = [
    path
    for kind in plugins.FOLDERS
    for path in sorted((ROOT / "conf" / kind).glob("*.yaml"))
    if path.stem != "none"  # no part: nothing is done
]

every_part = pytest.mark.parametrize(("kind", "name"), PARTS, ids=lambda value: value)
every_yaml = pytest.mark.parametrize("path", YAMLS, ids=lambda path: f"{path.parent.name}/{path.stem}")


def settings(path: Path) -> dict[str, Any]:
    """A part's values; those that it takes from the run (`${seed}`) are the run's."""
    plain, run = yaml.safe_load(path.read_text()), yaml.safe_load((ROOT / "conf" / "config.yaml").read_text())
    taken = {key: run.get(value[2:-1], value) for key, value in plain.items() if str(value).startswith("${")}
    return {key: value for key, value in (plain | taken).items() if key not in ("name", "defaults")}


def fields_of(path: Path) -> dict[str, Field[Any]]:
    part = plugins.load(path.parent.name, yaml.safe_load(path.read_text())["name"])
    return {field.name: field for field in fields(part)}


@pytest.mark.parametrize("kind", plugins.FOLDERS)
def test_the_names_are_the_folder_listing(kind: str) -> None:
    files = (ROOT / "src" / "secateur" / plugins.FOLDERS[kind]).glob("*.py")

    assert plugins.names(kind) == sorted(path.stem for path in files if not path.stem.startswith("_"))


@every_part
def test_each_file_holds_a_frozen_dataclass_named_after_it(kind: str, name: str) -> None:
    part = plugins.load(kind, name)

    assert is_dataclass(part)
    assert part.__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert part.__name__.lower() == name.replace("_", "")


@every_part
def test_each_part_says_what_it_is(kind: str, name: str) -> None:
    part = plugins.load(kind, name)

    assert part.__doc__
    assert not part.__doc__.startswith(f"{part.__name__}(")  # dataclass writes one where there is none


@every_part
def test_each_part_has_a_yaml_that_names_it(kind: str, name: str) -> None:
    named = {yaml.safe_load(path.read_text())["name"] for path in (ROOT / "conf" / kind).glob("*.yaml")}

    assert name in named


@every_yaml
def test_each_yaml_names_a_part_that_is_there(path: Path) -> None:
    named = yaml.safe_load(path.read_text())["name"]

    assert named in plugins.names(path.parent.name)
    if path.stem in plugins.names(path.parent.name):
        assert named == path.stem


@every_yaml
def test_a_yamls_keys_are_the_parts_fields(path: Path) -> None:
    assert settings(path).keys() == fields_of(path).keys()


@every_yaml
def test_a_yamls_values_are_the_parts_defaults_where_it_has_any(path: Path) -> None:
    defaults = {name: field.default for name, field in fields_of(path).items() if field.default is not MISSING}

    assert {name: settings(path)[name] for name in defaults} == defaults


def test_a_file_that_begins_with_an_underscore_is_no_part() -> None:
    assert (ROOT / "src/secateur/datasets/_yolo.py").exists()
    assert "_yolo" not in plugins.names("dataset")


@pytest.mark.parametrize(
    ("kind", "name", "line"),
    [
        (
            "importance",
            "magnitud",
            "no importance named 'magnitud'; there are .*magnitude, .*did you mean 'magnitude'?",
        ),
        ("schedule", "oneshot", "no schedule named 'oneshot'; there are .*one_shot.*; did you mean 'one_shot'?"),
        ("runtime", "xyz", "no runtime named 'xyz'; there are .*onnxruntime[^;]*$"),
        ("dataset", "_yolo", "no dataset named '_yolo'; there are "),
        ("quantization", "../fp32", "no quantization named '../fp32'; there are "),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest(kind: str, name: str, line: str) -> None:
    with pytest.raises(SpecError, match=line.replace("?", r"\?")) as refusal:
        plugins.load(kind, name)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("name", "expected"), [("bn_scale", "BnScale"), ("fp32", "Fp32"), ("int8_static", "Int8Static")]
)
def test_a_class_is_named_after_its_file(name: str, expected: str) -> None:
    assert plugins.class_name(name) == expected


def test_the_libraries_of_parts_are_found_however_deep_they_lie() -> None:
    @dataclass(frozen=True)
    class Part:
        libraries: ClassVar[tuple[str, ...]] = ("numpy",)

    @dataclass(frozen=True)
    class Holder:
        part: Part
        number: int = 1

    assert plugins.libraries(Holder(Part()), 3, None) == ["numpy"]
    assert plugins.libraries(Ncnn()) == ["ncnn", "pnnx"]


# ---- parts of one's own --------------------------------------------------------------------------

OWN = '''"""A part of one's own."""
from dataclasses import dataclass


@dataclass(frozen=True)
class {name}:
    share: float = 0.5
'''
every_own_kind = pytest.mark.parametrize("kind", [kind for kind in plugins.FOLDERS if kind != "runtime"])


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Path]]:
    """Writes a part into the folder that a command would be started in."""
    monkeypatch.chdir(tmp_path)

    def write(kind: str, name: str, content: str = OWN) -> Path:
        file = tmp_path / "parts" / plugins.FOLDERS[kind] / f"{name}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content.format(name=plugins.class_name(name)))
        return file

    yield write
    for module in [name for name in sys.modules if name.startswith("secateur.") and ".own_" in name]:
        del sys.modules[module]


@every_own_kind
def test_a_part_of_ones_own_is_found_like_those_of_the_package(kind: str, own: Callable[..., Path]) -> None:
    before = plugins.names(kind)
    own(kind, f"own_{kind}")

    assert plugins.names(kind) == sorted([*before, f"own_{kind}"])
    assert plugins.load(kind, f"own_{kind}")().share == 0.5


@every_own_kind
def test_elsewhere_it_is_not_found(kind: str, own: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    own(kind, f"own_{kind}")
    plugins.load(kind, f"own_{kind}")
    monkeypatch.chdir(ROOT)

    with pytest.raises(SpecError, match=f"no {kind} named 'own_{kind}'"):
        plugins.load(kind, f"own_{kind}")


def test_a_runtime_of_ones_own_is_never_run(own: Callable[..., Path]) -> None:
    own("runtime", "own_runtime", "raise AssertionError")

    with pytest.raises(SpecError, match="no runtime named 'own_runtime'"):
        plugins.load("runtime", "own_runtime")


def test_a_part_of_ones_own_with_the_name_of_another_is_refused(own: Callable[..., Path]) -> None:
    own("importance", "magnitude")

    with pytest.raises(SpecError, match="^parts/importances/magnitude.py: secateur has one of that name; give"):
        plugins.names("importance")


def test_a_file_without_the_class_that_it_is_named_after_is_told(own: Callable[..., Path]) -> None:
    own("schedule", "own_step", OWN.replace("{name}", "Other"))

    with pytest.raises(SpecError, match="parts/schedules/own_step.py holds no class OwnStep, which its name asks for"):
        plugins.load("schedule", "own_step")


def test_a_changed_file_of_ones_own_is_another_part_to_the_store(own: Callable[..., Path]) -> None:
    own("importance", "own_kind")
    first = kind_of(plugins.load("importance", "own_kind"))
    del sys.modules["secateur.importances.own_kind"]  # as in a new process
    own("importance", "own_kind", OWN.replace("0.5", "0.75"))

    assert kind_of(plugins.load("importance", "own_kind")) != first


def test_a_version_that_a_file_of_ones_own_says_counts_beside_its_digest(own: Callable[..., Path]) -> None:
    own("importance", "own_known", OWN + "\n\nVERSION = 3\n")

    first = kind_of(plugins.load("importance", "own_known"))

    assert first.startswith("OwnKnown@3-")
    assert kind_of(plugins.load("importance", "own_known")) == first  # loaded twice, said once
