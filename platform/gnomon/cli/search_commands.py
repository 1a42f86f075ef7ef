"""`gnomon search`: what is defined, whose it is, and what uses it."""

from __future__ import annotations

from typing import Annotated, Any

import typer

import gnomon
from gnomon.cli.output import Format, Output, short, show, table


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(search)


def search(
    words: Annotated[list[str], typer.Argument(help="Words, all of which must be found; `owner:ann`, `tag:pii`, …")],
    limit: Annotated[int, typer.Option(help="How many.", min=1, max=500)] = 50,
    output: Output = Format.text,
) -> None:
    """Find sources, views, features and all else by the words in names, tags, owners and descriptions."""
    with gnomon.connect() as client:
        found = client.search(" ".join(words), limit)
    show(found, output, show_found)


def show_found(found: list[dict[str, Any]]) -> None:
    """Print what was found as a table."""
    rows = (
        [
            f["kind"], f["name"], short(f["description"]) or None, f["owner"] or None, ", ".join(f["tags"]) or None,
            ", ".join(f["used_by"]) or None,
        ]
        for f in found
    )  # fmt: skip
    table(["kind", "name", "description", "owner", "tags", "used by"], rows, empty="nothing has all of these words")
