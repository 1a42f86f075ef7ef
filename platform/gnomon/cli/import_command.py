"""`gnomon import-feast`: the definitions of a Feast repository as an app file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from gnomon.cli.output import Format, Output, console, show, table
from gnomon.errors import Conflict, InvalidInput, NotFound


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("import-feast")(import_feast)


def import_feast(
    repository: Annotated[
        Path, typer.Argument(help="Folder of a Feast repository, with feature_store.yaml.", metavar="REPO_FOLDER")
    ],
    out: Annotated[
        Path | None, typer.Option(help="App file to write; without it, it is printed.", metavar="APP_FILE")
    ] = None,
    time_limit: Annotated[float, typer.Option(help="Seconds that the repository's files may run.", min=1)] = 60.0,
    output: Output = Format.text,
) -> None:
    """Write the definitions of a Feast repository as an app file, and name what has no counterpart.

    The repository's Python files are run. Feast need not be installed; what else they import must be.
    """
    from gnomon.importing.importer import import_feast as imported_from

    if out is not None:
        _refuse_place(out)
    found = imported_from(repository, out.parent if out else Path.cwd(), time_limit)
    if out is not None:
        from gnomon.storage.durable_files import write_once

        if not write_once(out, found.text.encode()):
            raise _taken(out)
    result = {**found.as_json(), "out": str(out) if out else None}
    show(result, output, _written if out else _printed)


def _refuse_place(out: Path) -> None:
    if out.suffix != ".py":
        raise InvalidInput(f"'{out}' is no name of a Python file", "an app file ends with .py")
    if not out.parent.is_dir():
        raise NotFound(f"there is no folder '{out.parent}'", "make it first")
    if out.exists():
        raise _taken(out)


def _taken(out: Path) -> Conflict:
    return Conflict(f"'{out}' exists, and nothing is written over it", "give another --out, or remove the file")


def _printed(result: dict[str, Any]) -> None:
    typer.echo(result["app_file"], nl=False)


def _written(result: dict[str, Any]) -> None:
    rows = ([each["kind"], each["name"], each["becomes"]] for each in result["imported"])
    table(["in Feast", "name", "here"], rows, empty="nothing was imported")
    for each in result["differences"]:
        console.print(f"  differs: {each['what']}: {each['difference']}", markup=False)
    for each in result["left_out"]:
        console.print(f"  no counterpart: {each['what']}: {each['reason']}", markup=False)
    console.print(f"wrote {result['out']}; next: gnomon plan {result['out']}", markup=False)
