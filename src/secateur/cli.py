"""`secateur`: the commands. Nothing heavy is imported before a command needs it."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from secateur.errors import SecateurError

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


@app.command()
def ui(
    uri: Annotated[str, typer.Option(help="Where the runs are tracked.")] = "sqlite:///outputs/mlflow.db",
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
