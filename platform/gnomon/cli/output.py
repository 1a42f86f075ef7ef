"""How commands write: tables and lines for people, JSON for programs, errors with their remedy, progress while waiting."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from gnomon.errors import GnomonError


class Format(StrEnum):
    """How a command writes its result."""

    text = "text"
    json = "json"


Output = Annotated[Format, typer.Option("--output", "-o", help="text for people, json for programs.")]

console = Console(highlight=False, soft_wrap=True)
_errors = Console(stderr=True, highlight=False, soft_wrap=True)


def show(result: Any, output: Format, as_text: Callable[[Any], None]) -> None:
    """Write a result: the whole of it as JSON, or what `as_text` prints."""
    if output is Format.json:
        typer.echo(json.dumps(result, indent=2, default=str))
    else:
        as_text(result)


def show_error(error: GnomonError) -> None:
    """Write an error and its remedy to standard error."""
    _errors.print(f"[bold red]error[/]: {_plain(error.message)}")
    if error.hint:
        _errors.print(f"[bold]try[/]: {_plain(error.hint)}")


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, empty: str) -> None:
    """Write rows as a table, or the given line where there are none."""
    shown = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        shown.add_column(column, overflow="fold")
    count = 0
    for row in rows:
        shown.add_row(*("–" if value is None else _plain(str(value)) for value in row))
        count += 1
    console.print(shown if count else f"[dim]{_plain(empty)}[/]")


def waiting(what: str) -> Callable[[dict[str, Any]], None]:
    """Return a callback for `Client.wait` that prints each new line of progress once, to standard error."""
    last: list[str] = []

    def report(operation: dict[str, Any]) -> None:
        line = f"{what}: {operation['state']}"
        if operation["attempts"] > 1:
            line += f" (attempt {operation['attempts']})"
        if operation["progress"]:
            line += f" · {operation['progress']}"
        if [line] != last:
            last[:] = [line]
            _errors.print(f"[dim]{_plain(line)}[/]")

    return report


def _plain(text: str) -> str:
    """Escape rich's markup, so that names with brackets are shown as they are."""
    return text.replace("[", r"\[")
