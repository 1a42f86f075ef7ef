"""The command that sends events to a source."""

from __future__ import annotations

import collections
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

import gnomon
from gnomon.cli.output import Format, Output, console, show, table
from gnomon.errors import InvalidInput, NotFound

_LINES, _BYTES = 5_000, 4 * 2**20


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(push)


def push(
    source: Annotated[str, typer.Argument(help="Source that the events belong to.")],
    file: Annotated[Path, typer.Option(help="JSON lines, one event a line; - reads standard input.")],
    output: Output = Format.text,
) -> None:
    """Send events to a source; they are durable when this ends. Sent again, they add nothing."""
    if str(file) != "-" and not file.is_file():
        raise NotFound(f"there is no file '{file}'", "give the path of a file of JSON lines, or - for standard input")
    with gnomon.connect() as client, sys.stdin.buffer if str(file) == "-" else file.open("rb") as lines:
        # Not named by content: rows that a rule kept out must come in when they are sent again after its correction.
        reports = [client.push(source, part) for part in _parts(lines)]
    totals = {name: sum(r[name] for r in reports) for name in ("accepted", "duplicates", "quarantined")}
    rejects = [reject for report in reports for reject in report["rejects"]]
    undeclared = sorted({name for report in reports for name in report["undeclared"]})
    result = {"source": source, "pushes": len(reports), **totals, "rejects": rejects, "undeclared": undeclared}
    show(result, output, _pushed)
    if not totals["accepted"] + totals["duplicates"]:
        raise InvalidInput(
            f"none of {totals['quarantined']} rows was taken in",
            f"`gnomon quarantine {source}` shows them; a row is one JSON object a line",
        )


def _parts(lines: Iterable[bytes]) -> Iterator[bytes]:
    part: list[bytes] = []
    size_bytes = 0
    for line in lines:
        if part and (len(part) == _LINES or size_bytes + len(line) > _BYTES):
            yield b"".join(part)
            part, size_bytes = [], 0
        if line.strip():
            part.append(line if line.endswith(b"\n") else line + b"\n")
            size_bytes += len(line)
    if part:
        yield b"".join(part)


def _pushed(result: dict[str, Any]) -> None:
    columns = ["source", "accepted", "duplicates", "quarantined"]
    table(columns, [[result[name] for name in columns]], empty="")
    for name in result["undeclared"]:
        console.print(f"  column '{name}' is not declared: it is not read", markup=False)
    reasons = collections.Counter((reject["rule"], reject["reason"]) for reject in result["rejects"])
    for (rule, reason), times in reasons.items():
        often = f" ({times} times)" if times > 1 else ""
        console.print(f"  in quarantine for {rule}: {reason}{often}", markup=False)
