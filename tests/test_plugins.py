from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
import yaml

from secateur import plugins
from secateur.errors import SpecError
from secateur.runtimes.ncnn import Ncnn

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
