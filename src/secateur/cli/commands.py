"""The commands. Nothing heavy is imported before a command needs it."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from secateur import __version__
from secateur.errors import SpecError
from secateur.plugins import nearest

if TYPE_CHECKING:
    from rich.console import Console

    from secateur.comparisons import Comparison, Entry, Run
    from secateur.edge.coco import JsonArray
    from secateur.reporting.comparison import Offers

Table = TypeVar("Table")

OUTPUTS = Path("outputs")
TRACKED = f"sqlite:///{OUTPUTS}/mlflow.db"

WITH_OVERRIDES = "[OPTIONS] [OVERRIDES]..."
ALSO = "Every command takes --debug too: an error is told with its whole traceback."

app = typer.Typer(
    help="Prunes, fine-tunes, quantizes and measures YOLO models for the device they must run on.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    epilog=ALSO,
)


store_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, epilog=ALSO)
app.add_typer(store_app, name="store", help="What the store holds of stages; check it, and make room.")

Trust = Annotated[
    bool,
    typer.Option("--trust", help="Open the checkpoints that are named even if they could run code: docs/security.md."),
]
Outputs = Annotated[Path, typer.Option(help="The folder that runs write to.")]


def _tell_version(asked: bool) -> None:
    if asked:
        typer.echo(f"secateur {__version__}")
        raise typer.Exit


@app.callback()
def _of_all(
    version: Annotated[bool, typer.Option("--version", help="Tell the version.", callback=_tell_version)] = False,
) -> None: ...


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="Is made where it is not there; nothing in it is overwritten.")],
) -> None:
    """Make a project folder for your own net and pictures. It has a first study, and a place for choices and parts."""
    from secateur.app.projects import make

    for file in make(folder):
        typer.echo(f"Wrote    {file}")
    enter = "" if folder.resolve() == Path.cwd() else f"cd {shlex.quote(str(folder))} && "
    typer.echo(f"Next     {enter}secateur run +study=mine model.weights=best.pt dataset.root=/path/to/data")


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    add_help_option=False,
)
def run(context: typer.Context, trust: Trust = False) -> None:
    """Do a run, or with -m a sweep. Takes Hydra overrides: secateur run +study=quickstart schedule.target=0.4"""
    from secateur.app.commands import main as run_main

    _switch(trust)
    raise typer.Exit(run_main(context.args))


@app.command(context_settings={"allow_extra_args": True}, options_metavar=WITH_OVERRIDES)
def search(
    context: typer.Context,
    trials: Annotated[int, typer.Option(help="How many in all, those included that are done already.")],
    workers: Annotated[int, typer.Option(help="How many at once.")] = 1,
    trust: Trust = False,
) -> None:
    """Look for the nets that are both accurate and fast. Takes Hydra overrides, and search.…: docs/search.md."""
    from secateur.app.searching import main as search_main

    _switch(trust)
    raise typer.Exit(search_main(context.args, trials, workers))


@app.command(context_settings={"allow_extra_args": True}, options_metavar=WITH_OVERRIDES)
def sensitivity(context: typer.Context, trust: Trust = False) -> None:
    """Measure what each group of channels costs alone. Takes Hydra overrides too."""
    from secateur.app.commands import sensitivity as measure

    _switch(trust)
    raise typer.Exit(measure(context.args))


def _switch(trust: bool) -> None:
    from secateur import switches

    if trust:
        switches.trust()


@app.command()
def compare(
    folders: Annotated[list[Path] | None, typer.Argument(help="Runs, sweeps, or folders of them.")] = None,
    budget: Annotated[str | None, typer.Option(help='What to ship within it: "speedup>=1.5, mask_drop<=0.02".')] = None,
    every: Annotated[bool, typer.Option("--all", help="All files of the runs, not only what each ships.")] = False,
    rungs: Annotated[
        bool, typer.Option("--rungs", help="The ladders in place of the files: what each rung cost.")
    ] = False,
    output: Annotated[str, typer.Option("--format", help="table, markdown, csv or json.")] = "table",
    limit: Annotated[int, typer.Option(min=0, help="Lines of a table at most, 0: all.")] = 40,
    from_mlflow: Annotated[
        bool, typer.Option("--mlflow", help="The runs that MLflow has, in place of folders.")
    ] = False,
    where: Annotated[
        str, typer.Option("--filter", help="Of those: in MLflow's own syntax, params.imgsz = '640'.")
    ] = "",
    html: Annotated[Path | None, typer.Option(help="Write the table, with charts, as a page into this file.")] = None,
    svg: Annotated[
        Path | None,
        typer.Option(help="Draw mAP over time into this file; of --rungs what runs end at."),
    ] = None,
    register: Annotated[
        bool, typer.Option("--register", help="Put what the budget offers into MLflow's model registry, as champion.")
    ] = False,
    uri: Annotated[str, typer.Option(help="Where the runs are tracked.")] = TRACKED,
    experiment: Annotated[str, typer.Option(help="MLflow experiment.")] = "secateur",
) -> None:
    """Set runs side by side, and say what to ship. It tells what each would ship, what that costs and scores; within a
    budget, which one to take."""
    from secateur import comparisons, offers
    from secateur.reporting import comparison as pages

    if output not in (formats := ("table", *pages.FORMATS)):
        raise SpecError(f"--format must be {', '.join(formats)}, got {output!r}{nearest(output, formats)}")
    terms = offers.parse(budget) if budget is not None else None
    if where and not from_mlflow:
        raise SpecError("--filter is for the runs that MLflow has: add --mlflow; of folders, name those that are meant")
    if folders and from_mlflow:
        raise SpecError(f"{folders[0]} and --mlflow: give one of them; --filter says which of MLflow's runs are meant")
    if register and not terms:
        raise SpecError(
            '--register needs a --budget, which says what is wanted: --budget "speedup>=1.5, mask_drop<=0.02"'
        )
    of_files = {"--all": every, "--budget": budget, "--html": html, "--register": register}
    if rungs and any(of_files.values()):
        asked = ", ".join(option for option, value in of_files.items() if value)
        raise SpecError(f"--rungs is a table of its own: leave out {asked}")
    if from_mlflow:
        from secateur.adapters import tracking

        runs = tracking.runs_in(uri, experiment, where)
    else:
        if missing := [folder for folder in folders or () if not folder.exists()]:
            raise SpecError(f"no folder {missing[0]}; all runs that there are: secateur compare {OUTPUTS}")
        runs = comparisons.runs_in(folders or [OUTPUTS / kind for kind in ("runs", "sweeps", "searches")])
    if rungs:
        _compare_rungs(runs, output, limit, svg)
        return
    found = comparisons.compared(runs, every or terms is not None)
    best = {number: offers.best(group, terms) for number, group in enumerate(found.groups)} if terms else None
    if output == "table":
        _console().print(pages.tables(found, best, limit))
    else:
        sys.stdout.write(pages.FORMATS[output](found, best))
    if html:
        _write_page(html, found, best)
    if svg:
        from secateur.reporting.comparison_page import front_of

        _draw(svg, found.groups, front_of)
    if best is not None and not any(isinstance(each, offers.Offer) for each in best.values()):
        raise typer.Exit(2)
    if best and register:
        _register(offers.champion(found, best), uri, experiment)


def _compare_rungs(runs: list[Run], output: str, limit: int, svg: Path | None) -> None:
    from secateur.ladders import ladders
    from secateur.reporting import ladders as pages

    found = ladders(runs)
    if output == "table":
        _console().print(pages.tables(found, limit))
    else:
        sys.stdout.write(pages.FORMATS[output](found))
    if svg:
        _draw(svg, found, pages.last_rungs)


def _write_page(file: Path, found: Comparison, best: Offers | None) -> None:
    from secateur.reporting.comparison_page import page

    _write("--html", file, page(found, "Runs side by side", shlex.join(["secateur", *sys.argv[1:]]), best))
    typer.echo(f"Page     {file}", err=True)


def _draw(file: Path, tables: Sequence[Table], chart: Callable[[Table], str]) -> None:
    from secateur.reporting.pictures import picture

    if len(tables) != 1:
        raise SpecError(f"--svg draws one table, got {len(tables)}: name runs of one device and data set")
    _write("--svg", file, picture(chart(tables[0])))
    typer.echo(f"Picture  {file}", err=True)


def _write(option: str, file: Path, content: str) -> None:
    try:
        file.write_text(content, encoding="utf-8")
    except OSError as error:
        raise SpecError(f"{option}: cannot write {file}: {error.strerror}") from error


def _register(champion: Entry, uri: str, experiment: str) -> None:
    from secateur.adapters import tracking

    done = tracking.register(Path(champion.place), champion.file, uri, experiment)
    typer.echo(
        f"{'Registered' if done.is_new else 'Registered before:'} {done.name} version {done.version}, champion",
        err=True,
    )


@app.command()
def doctor(
    model: Annotated[Path | None, typer.Argument(help="An ONNX file; without one the machine is examined.")] = None,
    data: Annotated[Path | None, typer.Option(help="A data yaml: look at its validation pictures.")] = None,
    threads: Annotated[
        int | None, typer.Option(min=0, help="Threads of a forward pass of the model (2), 0: every core.")
    ] = None,
    outputs: Annotated[
        Path | None, typer.Option(help=f"Of the machine: the folder that runs would write to ({OUTPUTS}).")
    ] = None,
    uri: Annotated[
        str | None, typer.Option(help=f"Of the machine: where runs would be tracked (sqlite:///{OUTPUTS}/mlflow.db).")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Everything, for programs.")] = False,
) -> None:
    """Examine a model file, or without one this machine. Why is the file slow, why is what it gives wrong? What does
    the machine lack?"""
    of_model, of_machine = {"--data": data, "--threads": threads}, {"--outputs": outputs, "--uri": uri}
    for option, value in (of_machine if model else of_model).items():
        if value is not None:
            remedy = f"leave out {model}" if model else "name one: secateur doctor model.onnx"
            raise SpecError(f"{option} {value} is for {'the machine' if model else 'a model file'}: {remedy}")
    if model:
        _examine_model(model, data, 2 if threads is None else threads, as_json)
    else:
        folder = outputs or OUTPUTS
        _examine_machine(folder, uri or f"sqlite:///{folder}/mlflow.db", as_json)


def _examine_model(model: Path, data: Path | None, threads: int, as_json: bool) -> None:
    from secateur.doctor.examine import examine
    from secateur.reporting.examination import as_text, tables
    from secateur.runtimes.onnxruntime import Onnxruntime

    found = examine(model, Onnxruntime(threads=threads), data, seconds=3.0)
    if as_json:
        typer.echo(as_text(found))
    else:
        _console().print(tables(found))


def _examine_machine(outputs: Path, uri: str, as_json: bool) -> None:
    from secateur.app.examining import examined
    from secateur.checkup import problems
    from secateur.reporting.checkup import as_text, tables

    found = examined(outputs, uri)
    if as_json:
        typer.echo(as_text(found))
    else:
        _console().print(tables(found))
    raise typer.Exit(2 if problems(found) else 0)


@app.command()
def bundle(
    run: Annotated[Path, typer.Argument(help="A run's folder.")] = OUTPUTS / "latest",
    ship: Annotated[str | None, typer.Option(help="Ship this file in place of what the run selected.")] = None,
    candidate: Annotated[list[str] | None, typer.Option(help="Take this file along too; may be repeated.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Take all files along.")] = False,
    samples: Annotated[Path | None, typer.Option(help="Pictures of your own for the self-test.")] = None,
    out: Annotated[Path | None, typer.Option(help="The bundle's folder; the .zip lies beside it.")] = None,
) -> None:
    """Pack what a run would ship, with all that the device needs. It becomes a folder and a .zip."""
    from secateur import packing

    place = out or packing.default_place(run, OUTPUTS / "bundles", ship)
    named = packing.candidates_of(run) if every else candidate or []
    packed = packing.pack(run, place, named, samples, ship)
    typer.echo(f"Bundle   {packed.folder}/ and {packed.folder}.zip")
    typer.echo(f"         {', '.join(packed.manifest.by_name)}")
    typer.echo(
        f"Next     secateur bench {packed.folder}.zip --json device.json   on the device, after pip install secateur"
    )


@app.command()
def bench(
    bundle: Annotated[Path, typer.Argument(help="A bundle's folder, or its .zip.")],
    as_json: Annotated[Path | None, typer.Option("--json", help="Where to write what was found out.")] = None,
    seconds: Annotated[float, typer.Option(min=1.0, help="About how long to measure.")] = 110.0,
) -> None:
    """Check and time the files of a bundle on this device. Do they give what they should, and how fast are they?"""
    from secateur.console import bar
    from secateur.edge import device
    from secateur.edge.bundle import opened
    from secateur.edge.sources import check_writable
    from secateur.reporting.bundle import device_tables

    console = _console()
    if as_json:
        check_writable(as_json)
    with opened(bundle) as checked, bar(console, "measuring") as progress:
        report = device.measured(checked, seconds, progress, as_json)
    console.print(device_tables(checked.manifest, report))
    if as_json:
        typer.echo(f"Next     secateur replay {as_json}   where the run is")
    device.refuse_faults(report)


@app.command()
def predict(
    model: Annotated[Path, typer.Argument(help="A model file, or a bundle: its folder or .zip.")],
    source: Annotated[str, typer.Argument(help="A picture, a folder of them, a video, or a camera: 0, /dev/video0.")],
    out: Annotated[Path, typer.Option(help="Where the drawn pictures go.")] = OUTPUTS / "predict",
    save: Annotated[bool, typer.Option(help="Draw them at all.")] = True,
    json: Annotated[str | None, typer.Option(help="Write what was found into this file; -: to stdout.")] = None,
    confidence: Annotated[float, typer.Option(min=0, max=1, help="Only what is surer than this.")] = 0.25,
    iou: Annotated[float, typer.Option(min=0, max=1, help="Of two of a class that overlap more, the surer.")] = 0.7,
    classes: Annotated[str | None, typer.Option(help="Only these, by name or number: person,dog.")] = None,
    runtime: Annotated[
        str | None, typer.Option(help="What runs a file (onnxruntime); a bundle says so itself.")
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=0, help="Threads of a forward pass (2), 0: all; not of a bundle.")
    ] = None,
) -> None:
    """Look at pictures: boxes and masks, drawn and as JSON."""
    # the runtime's threads wait awake for the next picture, and would fight with those of numpy
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from secateur.edge.bundle import opened_predictor
    from secateur.edge.predict import predict as look

    wanted = [name.strip() for name in classes.split(",")] if classes else []
    settings = {"confidence": confidence, "iou": iou, "classes": wanted}
    with opened_predictor(model, runtime, threads, **settings) as predictor, _json_array(json) as array:
        tally = look(
            predictor,
            source,
            out if save else None,
            lambda seen: array.write(seen.as_plain(predictor.name)) if array else None,
            lambda line: typer.echo(f"secateur: {line}", err=True),
        )
    where = f"; drawn into {out}" if save and tally.times else ""
    typer.echo(f"{tally}{where}", err=json == "-")
    raise typer.Exit(2 if tally.failed else 0)


@contextmanager
def _json_array(file: str | None) -> Iterator[JsonArray | None]:
    from secateur.edge.coco import JsonArray
    from secateur.edge.sources import check_writable

    if file is None:
        yield None
        return
    if file != "-" and Path(file).suffix != ".json":
        raise SpecError(f"--json {file} would be written over; name a file that ends in .json")
    if file != "-":
        check_writable(Path(file))
    with nullcontext(sys.stdout) if file == "-" else Path(file).open("w") as stream, JsonArray(stream) as array:
        yield array


@app.command()
def replay(
    place: Annotated[Path, typer.Argument(help="A run's folder, or the device.json of a bundle of it.")],
    uri: Annotated[str, typer.Option(help="Where to.")] = TRACKED,
    experiment: Annotated[str, typer.Option(help="MLflow experiment.")] = "secateur",
) -> None:
    """Bring a run's records into MLflow. They take the place of what it has of the run, and what a device found out is
    added."""
    from secateur.adapters import tracking

    if place.is_dir():
        typer.echo(f"MLflow run {tracking.replay(place, uri, experiment)}")
    else:
        typer.echo(f"MLflow run {tracking.replay_device(place, uri, experiment, OUTPUTS)}")


@app.command()
def ui(
    uri: Annotated[str, typer.Option(help="Where the runs are tracked.")] = TRACKED,
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1.")] = 5000,
) -> None:
    """Open MLflow's pages on 127.0.0.1. The address that is printed sets the runs of the newest sweep side by side."""
    from secateur.adapters.tracking import first_page, serve, table_page

    typer.echo(f"Open     {first_page(uri, port)}")
    if table := table_page(uri, port):
        typer.echo(f"Table    {table}")
    raise typer.Exit(serve(uri, port))


@store_app.command("ls")
def list_store(
    stage: Annotated[str | None, typer.Option(help="List the entries of this stage.")] = None,
    run: Annotated[Path | None, typer.Option(help="Only what this run needs, or all runs of this folder.")] = None,
    outputs: Outputs = OUTPUTS,
) -> None:
    """What the store holds: entries, their size, and the work in them, by stage."""
    from secateur import housekeeping
    from secateur.reporting import store as pages

    if stage and run:
        raise SpecError("--stage and --run: give one of them")
    with housekeeping.opened(outputs) as store:
        if stage:
            _console().print(pages.entries_table(housekeeping.entries(store, stage)))
        elif run:
            _console().print(pages.totals_table(housekeeping.needed_by(store, run)))
        else:
            _console().print(pages.totals_table(housekeeping.totals(store)))


@store_app.command("show")
def show_entry(
    key: Annotated[str, typer.Argument(help="The first digits of a key, as ls or records.jsonl tell it.")],
    outputs: Outputs = OUTPUTS,
) -> None:
    """What one entry is: what it was made of, what came of it, and which runs name it."""
    from secateur import housekeeping
    from secateur.reporting.store import details_page

    with housekeeping.opened(outputs) as store:
        _console().print(details_page(housekeeping.details(store, key, outputs)))


@store_app.command("verify")
def verify_store(outputs: Outputs = OUTPUTS) -> None:
    """Compare all entries with their digests; what is damaged is moved aside, and made anew when it is needed."""
    from secateur import housekeeping
    from secateur.console import bar

    damaged = 0
    with housekeeping.opened(outputs) as store, bar(_console(), "verifying") as progress:
        for line in housekeeping.verified(store, progress):
            damaged += 1
            typer.echo(f"secateur: {line}", err=True)
    typer.echo(f"{damaged} damaged" if damaged else "all whole")
    raise typer.Exit(2 if damaged else 0)


@store_app.command("gc")
def collect_garbage(
    days: Annotated[float, typer.Option(min=0, help="Keep what a run has used within so many days.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    outputs: Outputs = OUTPUTS,
) -> None:
    """Remove what no run of the last days needs; whatever a run that is alive relies on stays."""
    from secateur import housekeeping
    from secateur.reporting.store import removed_table

    with housekeeping.opened(outputs) as store:
        look = housekeeping.waste if dry_run else housekeeping.collected
        sums = housekeeping.summed(look(store, housekeeping.cutoff(days)))
    whole = sum(sums.values(), housekeeping.Total())
    if sums:
        _console().print(removed_table(sums))
    verb = "would be removed" if dry_run else "removed"
    typer.echo(f"{whole.size_bytes / 1e6:,.1f} MB in {whole.entries} entries {verb}")


def _console() -> Console:
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else 180)  # a file has no edge


for each in (*app.registered_commands, *store_app.registered_commands):
    each.epilog = ALSO
