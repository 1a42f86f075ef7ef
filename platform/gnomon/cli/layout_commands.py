"""`gnomon layouts`: what the layouts of tables by entity take on the disk, and their removal."""

from __future__ import annotations

from typing import Annotated, Any

import typer

import gnomon
from gnomon.cli.output import Format, Output, console, show, table
from gnomon.errors import InvalidInput


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(layouts)


def layouts(
    source: Annotated[str | None, typer.Argument(help="Only this source.")] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Remove the source's layouts.")] = False,
    output: Output = Format.text,
) -> None:
    """List the caches that large training sets read, a source's rows by entity; or remove those of a source."""
    if remove and source is None:
        raise InvalidInput("--remove needs to be told of which source", "gnomon layouts SOURCE --remove")
    with gnomon.connect() as client:
        if remove and source is not None:
            show(client.layouts.remove(source), output, _removed)
            return
        found = client.layouts.list()
    show([each for each in found if source in (None, each["source"])], output, _listed)


def _listed(found: list[dict[str, Any]]) -> None:
    rows = (
        [each["source"], ", ".join(each["keys"]), each["segments"], each["rows"], each["size_bytes"],
         each["last_read"][:19]] for each in found
    )  # fmt: skip
    table(
        ["source", "by", "segments", "rows", "bytes", "last read"], rows,
        empty="no table is laid out by entity: the first training set above `local_rows` does it",
    )  # fmt: skip


def _removed(found: dict[str, Any]) -> None:
    console.print(f"{found['source']}: {found['removed_bytes']} bytes removed", markup=False)
