"""Python, secateur and its libraries: what is installed, against the ranges that the package's own metadata tells."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import Distribution, PackageNotFoundError, distribution, packages_distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from secateur.checkup import Check, State
from secateur.edge.video import import_fault

EXTRAS = {
    "lab": "prunes, trains, exports, quantizes and tracks: secateur run, search, sensitivity, compare, ui",
    "search": "with lab: secateur search, in which Optuna looks for the runs that no other beats",
    "openvino": "runtime=openvino, on a device too",
    "ncnn": "runtime=ncnn, on a device too",
    "pnnx": "with lab: converts nets for runtime=ncnn",
    "nncf": "with lab: quantization=nncf",
    "qat": "with lab: quantization=int8_qat, which trains rounded, by NVIDIA's ModelOpt",
    "video": "secateur predict on videos and cameras",
    "ray": "with lab: hydra/launcher=ray_cluster, the jobs of a sweep on the machines of a Ray cluster",
    "slurm": "with lab: hydra/launcher=slurm, the jobs of a sweep by SLURM",
}
"""What each brings; which there are, and of what they consist, the package's metadata tells."""

OURS = "dev"
"""The extra that only secateur's own tests need."""


BUILDS = {"onnxruntime": "onnxruntime", "opencv-python-headless": "cv2"}
"""Libraries of which one build takes the place of another, under a name of its own: what all are imported as."""


class Installed:
    """What a package asks for, by extra ("" for what it always needs), and what of that is installed."""

    def __init__(self, package: Distribution) -> None:
        self.package = package
        extras = [extra for extra in package.metadata.get_all("Provides-Extra") or [] if extra != OURS]
        always = _asked_by(package)
        self.asked = {"": always} | {
            extra: [each for each in _asked_by(package, extra) if each not in always] for extra in extras
        }

    def python(self) -> Check:
        """Whether the one that runs is of a version that the package takes."""
        wanted, has = SpecifierSet(self.package.metadata["Requires-Python"] or ""), platform.python_version()
        if wanted.contains(has, prereleases=True):
            return Check("library", "python", "ok", f"{has} (takes {_told(wanted)}) in {sys.prefix}")
        remedy = f"make an environment with Python {_told(wanted)}"
        return Check("library", "python", "problem", f"{has}; secateur takes {_told(wanted)}", remedy)

    def itself(self) -> Check:
        """Which version it is, and where it lies."""
        return Check("library", "secateur", "ok", f"{self.package.version} in {Path(__file__).parents[1]}")

    def libraries(self) -> Iterator[Check]:
        """Those that are installed, and those that lack where they are meant to be here."""
        for extra, asked in self.asked.items():
            for requirement in sorted(asked, key=lambda each: each.name):
                found = _found(requirement.name)
                if found or self.is_meant(extra):
                    yield self._library(requirement, found, extra)

    def _library(self, asked: Requirement, found: Distribution | None, extra: str) -> Check:
        fault: State = "problem" if self.is_meant(extra) else "note"
        takes = f" (takes {_told(asked.specifier)})" if asked.specifier else ""
        if found is None:
            return Check("library", asked.name, fault, f"not installed{takes}", install(extra))
        if not asked.specifier.contains(found.version, prereleases=True):
            text = f"{found.version}; secateur takes {_told(asked.specifier)}"
            return Check("library", found.name, fault, text, install(extra, "--upgrade "))
        if clash := self._clash(found):
            return Check("library", found.name, fault, f"{found.version} {clash}", install(extra, "--upgrade "))
        return Check("library", found.name, "ok", f"{found.version}{takes}")

    def _clash(self, library: Distribution) -> str | None:
        """What it asks of another library of ours that is not what is installed, as torchvision may of torch.

        Of no others: some are left out on purpose, as `tool.uv` in pyproject.toml says.
        """
        ours = {canonicalize_name(each.name) for asked in self.asked.values() for each in asked}
        for asked in _asked_by(library):
            found = _found(asked.name) if canonicalize_name(asked.name) in ours else None
            if found and not asked.specifier.contains(found.version, prereleases=True):
                return f"takes {asked.name} {_told(asked.specifier)}, and {found.version} is installed"
        return None

    def is_meant(self, extra: str) -> bool:
        """Whether more of an extra's libraries are here than lack: some are here without it, brought by others."""
        here = sum(_found(each.name) is not None for each in self.asked[extra])
        return not extra or here * 2 > len(self.asked[extra])

    def extras(self) -> Iterator[Check]:
        """What each one brings; a note where any of its libraries lack."""
        for extra, asked in list(self.asked.items())[1:]:
            brings = EXTRAS.get(extra, "")
            if lacks := [each.name for each in asked if _found(each.name) is None]:
                what = "not installed" if len(lacks) == len(asked) else f"lacks {', '.join(lacks)}"
                yield Check("extra", extra, "note", f"{what}; {brings}", install(extra))
            else:
                yield Check("extra", extra, "ok", brings)


def _told(range_: SpecifierSet) -> str:
    """From where on, then until where."""
    return ", ".join(sorted(map(str, range_), reverse=True))


def _asked_by(package: Distribution, extra: str = "") -> list[Requirement]:
    """What it asks for on this Python and system, with the extra."""
    every = [Requirement(line) for line in package.requires or []]
    return [each for each in every if each.marker is None or each.marker.evaluate({"extra": extra})]


def _found(name: str) -> Distribution | None:
    try:
        return distribution(name)
    except PackageNotFoundError:
        builds = _builds().get(BUILDS[name]) if name in BUILDS else None
        return distribution(builds[0]) if builds else None


@cache
def _builds() -> Mapping[str, list[str]]:
    return packages_distributions()


def install(extra: str, how: str = "") -> str:
    """The command for an extra, or for secateur alone where it is ""; `how` are options of pip, a space behind them."""
    return f"pip install {how}'secateur[{extra}]'" if extra else f"pip install {how}secateur"


def checks() -> list[Check]:
    """All of it; one problem alone where secateur runs without being installed."""
    try:
        here = Installed(distribution("secateur"))
    except PackageNotFoundError:
        text = f"runs from {Path(__file__).parents[1]} and is not installed, so that what it needs cannot be read"
        return [Check("library", "secateur", "problem", text, "from a checkout: pip install -e '.[lab]'")]
    return [here.python(), here.itself(), *here.libraries(), *_opencv(import_fault()), *here.extras()]


def _opencv(fault: str | None) -> Iterator[Check]:
    """The build that Ultralytics asks for, and imports whatever it does, wants libraries of a desktop."""
    if fault:
        remedy = "pip uninstall opencv-python && pip install --force-reinstall opencv-python-headless"
        yield Check("library", "cv2", "problem", f"OpenCV is installed and cannot be imported: {fault}", remedy)
