import tomllib
from collections.abc import Callable
from importlib.metadata import distribution
from pathlib import Path

import pytest

from secateur.checkup import Check
from secateur.doctor import installed
from secateur.doctor.installed import EXTRAS, OURS, Installed

ROOT = Path(__file__).parents[2]

Package = Callable[..., None]


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Package:
    """Installs made-up packages, as far as their metadata goes."""
    monkeypatch.syspath_prepend(tmp_path)

    def install(name: str, version: str, *lines: str, modules: str = "") -> None:
        info = tmp_path / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        head = ("Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}")
        (info / "METADATA").write_text("\n".join([*head, *lines]))
        (info / "top_level.txt").write_text(modules)

    return install


@pytest.fixture
def ours(package: Package) -> Callable[[], Installed]:
    """A package that always needs `made-up-base`, and with `big` three more."""
    package(
        "made-up", "1.0", "Requires-Python: >=3.11, <4", "Provides-Extra: big", "Provides-Extra: dev",
        "Requires-Dist: made-up-base>=2", "Requires-Dist: made-up-net>=1.5; extra == 'big'",
        "Requires-Dist: made-up-vision; extra == 'big'", "Requires-Dist: made-up-track; extra == 'big'",
        "Requires-Dist: made-up-linter; extra == 'dev'",
        "Requires-Dist: made-up-elsewhere; sys_platform == 'amiga'",
    )  # fmt: skip
    return lambda: Installed(distribution("made-up"))


def by_name(found: Installed) -> dict[str, Check]:
    return {check.name: check for check in (*found.libraries(), *found.extras())}


def test_a_library_that_is_always_needed_and_lacks_is_a_problem(ours: Callable[[], Installed]) -> None:
    found = by_name(ours())["made-up-base"]

    assert (found.state, found.text) == ("problem", "not installed (takes >=2)")
    assert found.remedy == "pip install secateur"


def test_a_library_within_its_range_is_fine(ours: Callable[[], Installed], package: Package) -> None:
    package("made-up-base", "2.1")

    assert by_name(ours())["made-up-base"].state == "ok"


def test_of_an_extra_that_is_not_here_only_the_extra_is_told(ours: Callable[[], Installed]) -> None:
    found = by_name(ours())

    assert found.keys() == {"made-up-base", "big"}
    assert found["big"].state == "note"
    assert found["big"].text.startswith("not installed; ")
    assert found["big"].remedy == "pip install 'secateur[big]'"


def test_of_an_extra_that_is_here_for_the_most_part_what_lacks_is_a_problem(
    ours: Callable[[], Installed], package: Package
) -> None:
    package("made-up-net", "1.5")
    package("made-up-vision", "1")

    found = by_name(ours())

    assert (found["made-up-net"].state, found["made-up-track"].state) == ("ok", "problem")
    assert found["made-up-track"].remedy == "pip install 'secateur[big]'"


def test_a_version_out_of_range_is_a_problem_where_its_extra_is_here(
    ours: Callable[[], Installed], package: Package
) -> None:
    package("made-up-net", "1.4")
    package("made-up-vision", "1")

    found = by_name(ours())["made-up-net"]

    assert (found.state, found.text) == ("problem", "1.4; secateur takes >=1.5")
    assert found.remedy == "pip install --upgrade 'secateur[big]'"


def test_a_version_out_of_range_is_a_note_where_something_else_brought_it(
    ours: Callable[[], Installed], package: Package
) -> None:
    package("made-up-net", "1.4")

    found = by_name(ours())

    assert found["made-up-net"].state == "note"
    assert found["big"].text.startswith("lacks made-up-vision, made-up-track; ")


def test_two_libraries_of_ours_that_do_not_go_together_are_a_problem(
    ours: Callable[[], Installed], package: Package
) -> None:
    package("made-up-net", "1.6")
    package("made-up-vision", "1", "Requires-Dist: made-up-net==1.5", "Requires-Dist: made-up-left-out==3")

    found = by_name(ours())["made-up-vision"]

    assert (found.state, found.text) == ("problem", "1 takes made-up-net ==1.5, and 1.6 is installed")


def test_another_build_takes_a_librarys_place(
    ours: Callable[[], Installed], package: Package, monkeypatch: pytest.MonkeyPatch
) -> None:
    package("made-up-base-gpu", "2.3", modules="made_up_base")
    monkeypatch.setattr(installed, "BUILDS", {"made-up-base": "made_up_base"})
    installed._builds.cache_clear()

    found = by_name(ours())
    installed._builds.cache_clear()

    assert found["made-up-base-gpu"].state == "ok"
    assert "made-up-base" not in found


def test_another_python_is_a_problem(package: Package) -> None:
    package("made-up", "1.0", "Requires-Python: >=3.99")

    found = Installed(distribution("made-up")).python()

    assert found.state == "problem"
    assert found.remedy == "make an environment with Python >=3.99"


def test_opencv_that_cannot_be_imported_is_a_problem() -> None:
    (found,) = installed._opencv("libGL.so.1: cannot open shared object file")

    assert (found.state, found.text.rpartition(": libGL")[1]) == ("problem", ": libGL")
    assert found.remedy is not None
    assert "opencv-python-headless" in found.remedy


def test_every_extra_says_what_it_brings_and_no_other_does() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    assert EXTRAS.keys() == project["optional-dependencies"].keys() - {OURS}


def test_where_the_tests_run_nothing_lacks() -> None:
    found = installed.checks()

    assert [check for check in found if check.state == "problem"] == []
    assert {"python", "secateur", "numpy", "torch", "torch-pruning", "mlflow", "lab"} <= {each.name for each in found}
