"""What the command line asks for: a run or a sweep, or what each group of channels costs alone."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig
from rich.console import Console

from secateur.app import sweeping
from secateur.app.checking import check_places, make_outputs, slots_of, to_spec
from secateur.app.composing import as_command, as_plain, composed, composed_to_run, in_one_line, order_of, shipped
from secateur.app.harmless import overrides_in
from secateur.app.running import run_in_folder, workshop
from secateur.errors import SecateurError, SpecError
from secateur.switches import DEBUG, is_on, told, trust_option

if TYPE_CHECKING:
    from secateur.specs import RunSpec


MORE = "schedule.target=0.45"
FURTHER = "prune more; what is done already is not done again"
PACKED = "what ships, packed for the device"


def main(arguments: list[str]) -> int:
    """Runs what the Hydra overrides ask for; 0, or 2 where a run could not be done."""
    if sweeping.is_meant(arguments):
        return sweeping.main(arguments)
    config = composed_to_run(overrides_in(arguments))
    if not any(argument.startswith("-") for argument in arguments):
        plain = as_plain(config)  # before Hydra makes a folder for the run
        check_places(_one_run(plain))
        make_outputs(plain)
    failures: list[str] = []

    @hydra.main(version_base="1.3", config_path=str(shipped("conf")), config_name="config")
    def run(config: DictConfig) -> None:
        folder = Path(HydraConfig.get().runtime.output_dir)
        try:
            with in_one_line():
                order = order_of(config, HydraConfig.get())
                _one_run(order.plain)
                report = run_in_folder(order, folder)
        except SecateurError as error:  # Hydra would tell it at length
            failures.append(told(error))
            return
        if report.error:
            failures.append("" if is_on(DEBUG) else f"secateur: {report.error}")  # with a traceback, it was told there
        else:
            is_tracked = order.plain["tracking"]["name"] != "none"
            _say_where_run(Console(), folder, order.overrides, is_tracked)

    with as_command(["secateur run", *arguments]), in_one_line():
        run()
    sys.stderr.writelines(f"{text}\n" for text in failures if text)
    return 2 if failures else 0


def check(overrides: list[str]) -> RunSpec:
    """The run that the overrides ask for, without starting it; raises SpecError in one line."""
    spec = _one_run(composed(overrides))
    check_places(spec)
    return spec


def _one_run(plain: dict[str, Any]) -> RunSpec:
    """Raises SpecError where it is none, too."""
    spec = to_spec(plain)
    if slots := slots_of(plain):
        raise SpecError(f"slots={plain['slots']} are for the jobs of a sweep (-m); one run takes device={slots[0]}")
    return spec


def sensitivity(overrides: list[str]) -> int:
    """Measures what each group of channels costs alone, and writes it as a table and a page; 0, or 2 on a failure."""
    from secateur import pipeline
    from secateur.console import Screen
    from secateur.journal import Journal
    from secateur.reporting import sensitivity as pages

    plain = composed(overrides)
    spec = _one_run(plain)
    check_places(spec)
    folder = Path(plain["outputs"]) / "sensitivity" / f"{datetime.now():%Y%m%d-%H%M%S-%f}_{spec.name}"
    screen = Screen(Console())
    with in_one_line(), _unless_empty(folder), closing(screen):
        tools, store = workshop(plain, screen)
        found = pipeline.sensitivities(spec, tools, store, [Journal(folder), screen])
        (folder / "sensitivity.csv").write_text(pages.to_csv(found))
        (folder / "sensitivity.html").write_text(pages.page(found, _sensitivity_facts(plain, overrides)))
    screen.console.print(pages.table(found, limit=20))
    _say_where_sensitivity(screen.console, folder)
    return 0


@contextmanager
def _unless_empty(folder: Path) -> Iterator[None]:
    """Makes the folder; a failure that leaves nothing in it leaves no folder either."""
    folder.mkdir(parents=True)
    try:
        yield
    finally:
        if not any(folder.iterdir()):
            folder.rmdir()


def _sensitivity_facts(plain: dict[str, Any], overrides: list[str]) -> dict[str, str]:
    return {
        "criterion": plain["importance"]["name"],
        "pictures": f"at most {plain['sensitivity']['images']} training pictures at {plain['imgsz']} px",
        "command": shlex.join(["secateur", "sensitivity", *trust_option(), *overrides]),
    }


def _say_where_sensitivity(console: Console, folder: Path) -> None:
    where = os.path.relpath(folder)
    console.print(
        f"\nTable    {where}/sensitivity.csv\nPage     {where}/sensitivity.html\n\n"
        "Next     the same overrides with scope=sensitivity let a run go by it",
        highlight=False, soft_wrap=True,
    )  # fmt: skip


def _say_where_run(console: Console, folder: Path, overrides: Sequence[str], is_tracked: bool) -> None:
    where, in_checkout = os.path.relpath(folder), Path.cwd() == shipped("conf").parent
    same = [override for override in overrides if not override.startswith("schedule.target=")]
    if in_checkout and same == ["+study=quickstart"]:  # which make run adds by itself
        same = []
    more = shlex.join([*trust_option(), *same, MORE])
    pages = [("make ui" if in_checkout else "secateur ui", "this run in MLflow")] if is_tracked else []
    following = [*pages, *(_in_checkout(more) if in_checkout else _elsewhere(more))]
    console.print(
        f"\nReport   {where}/report.html\nModels   {where}/models/\nRecords  {where}/records.jsonl\n\nNext     "
        + "\n         ".join(f"{command:42} {why}" for command, why in following),
        highlight=False, soft_wrap=True,
    )  # fmt: skip


def _in_checkout(more: str) -> Iterator[tuple[str, str]]:
    """What to type next, and why."""
    yield f'make run ARGS="{more}"', FURTHER
    yield ".venv/bin/secateur bundle", PACKED
    yield 'make run ARGS="+study=finetuned model.weights=best.pt dataset.root=…"', "your own net and pictures"


def _elsewhere(more: str) -> Iterator[tuple[str, str]]:
    yield f"secateur run {more}", FURTHER
    yield "secateur bundle", PACKED
