"""`gnomon export`: training sets, and features as of a moment, as Parquet files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

import gnomon
from gnomon.cli.output import Format, Output, console, show, waiting
from gnomon.cli.serving_commands import read_rows

Out = Annotated[Path, typer.Option(help="Parquet file to write; an existing one is replaced.")]


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(
        help="Write tables as Parquet files.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    group.command("training-set")(training_set)
    group.command("features")(features)
    app.add_typer(group, name="export", help="Write training sets, and features as of a moment, as Parquet files.")


def training_set(
    model: Annotated[str, typer.Argument(help="Whose label and features.")],
    out: Out,
    as_of: Annotated[
        str | None,
        typer.Option(help="As of then: a duration before now, a date, or a time with its zone."),
    ] = None,
    version: Annotated[int | None, typer.Option(help="What this version was trained on, to the byte.")] = None,
    output: Output = Format.text,
) -> None:
    """Write a model's training set: every label event, with the features that were known at its time."""
    with gnomon.connect() as client:
        progress = _progress(f"training set of {model}", output)
        result = client.exports.training_set(model, out, as_of=as_of, version=version, on_progress=progress)
    show(result, output, _written)


def features(
    of: Annotated[
        list[str],
        typer.Argument(
            help="A model, a deployment (deployment:NAME where a model has the name too), or features.",
            metavar="MODEL|DEPLOYMENT|VIEW[.FEATURE]...",
        ),
    ],
    out: Out,
    as_of: Annotated[
        str, typer.Option(help="The moment: now, a duration before it, a date, or a time with its zone.")
    ] = "now",
    keys: Annotated[Path | None, typer.Option(help="JSON lines of entity keys; all entities when left out.")] = None,
    keys_from: Annotated[
        str | None, typer.Option(help="Source that says which combinations of keys there are.")
    ] = None,
    output: Output = Format.text,
) -> None:
    """Write the features of all entities, or of given ones, as they would have been served at a moment."""
    given = None if keys is None else read_rows(keys)
    with gnomon.connect() as client:
        progress = _progress(f"features of {' '.join(of)}", output)
        result = client.exports.features(
            of[0] if len(of) == 1 else of, out, as_of=as_of, keys=given, keys_from=keys_from, on_progress=progress
        )
    show(result, output, _written)


def _progress(what: str, output: Format) -> Any:
    return None if output is Format.json else waiting(what)


def _written(result: dict[str, Any]) -> None:
    moment = f"version {result['version']}" if "version" in result else f"as of {result['as_of'][:19]}"
    console.print(
        f"{result['file']}: {result['rows']} rows, {len(result['columns'])} columns, {moment}, "
        f"digest {result['sha256'][:12]}",
        markup=False,
    )
    if result.get("left_out"):
        console.print(f"  known only with a request: {', '.join(result['left_out'])}", markup=False)
