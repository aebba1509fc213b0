"""`secateur`: the commands. Nothing heavy is imported before a command needs it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from secateur.errors import SecateurError

OUTPUTS = Path("outputs")
TRACKED = f"sqlite:///{OUTPUTS}/mlflow.db"

app = typer.Typer(
    help="Prunes, fine-tunes, quantizes and measures YOLO models for the device they must run on.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    add_help_option=False,
)
def run(context: typer.Context) -> None:
    """Do a run, or many with -m; takes Hydra overrides: secateur run +study=quickstart schedule.target=0.4"""
    from secateur.app import main as run_main

    raise typer.Exit(run_main(context.args))


@app.command(context_settings={"allow_extra_args": True})
def sensitivity(context: typer.Context) -> None:
    """Measure what each group of channels costs alone; takes Hydra overrides too."""
    from secateur.app import sensitivity as measure

    raise typer.Exit(measure(context.args))


@app.command()
def compare(
    folders: Annotated[list[Path] | None, typer.Argument(help="Runs, sweeps, or folders of them.")] = None,
) -> None:
    """Set runs side by side: what each would ship, what it costs and scores."""
    from rich.console import Console

    from secateur.reporting.comparison import comparison, find

    width = None if sys.stdout.isatty() else 140  # a file has no edge
    Console(width=width).print(comparison(find(folders or [OUTPUTS / "runs", OUTPUTS / "sweeps"])))


@app.command()
def doctor(
    model: Annotated[Path, typer.Argument(help="An ONNX file.")],
    data: Annotated[Path | None, typer.Option(help="A data yaml: look at its validation pictures.")] = None,
    threads: Annotated[int, typer.Option(min=0, help="Threads of a forward pass; 0: every core.")] = 2,
    as_json: Annotated[bool, typer.Option("--json", help="Everything, for programs.")] = False,
) -> None:
    """Examine a model file: why is it slow, why is what it gives wrong, and what to do about it."""
    from rich.console import Console

    from secateur.doctor.examine import examine
    from secateur.reporting.examination import as_text, tables
    from secateur.runtimes.onnxruntime import Onnxruntime

    found = examine(model, Onnxruntime(threads=threads), data, seconds=3.0)
    if as_json:
        typer.echo(as_text(found))
    else:
        Console(width=None if sys.stdout.isatty() else 140).print(tables(found))


@app.command()
def replay(
    folder: Annotated[Path, typer.Argument(help="A run's folder.")],
    uri: Annotated[str, typer.Option(help="Where to.")] = TRACKED,
    experiment: Annotated[str, typer.Option(help="MLflow experiment.")] = "secateur",
) -> None:
    """Bring a run's records into MLflow, in place of what it has of them."""
    from secateur.adapters.tracking import replay as bring

    typer.echo(f"MLflow run {bring(folder, uri, experiment, {})}")


@app.command()
def ui(
    uri: Annotated[str, typer.Option(help="Where the runs are tracked.")] = TRACKED,
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1.")] = 5000,
) -> None:
    """Open MLflow's pages on 127.0.0.1."""
    from secateur.adapters.tracking import serve

    raise typer.Exit(serve(uri, port))


def main() -> None:
    try:
        app()
    except SecateurError as error:
        typer.echo(f"secateur: {error}", err=True)
        sys.exit(2)
