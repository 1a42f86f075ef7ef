"""How commands write: tables for people, JSON for programs, errors with their remedy, progress while waiting."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import StrEnum
from typing import Annotated, Any, Protocol, TypeVar

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from gnomon.contracts.operations import FINAL
from gnomon.errors import GnomonError


class _HasName(Protocol):
    name: str


_Named = TypeVar("_Named", bound=_HasName)


class Format(StrEnum):
    """How a command writes its result."""

    text = "text"
    json = "json"


Output = Annotated[Format, typer.Option("--output", "-o", help="text for people, json for programs.")]

_ROW_CHARACTERS = 110
_WIDE = 200  # of output that no terminal shows: a log or a pipe should not be folded


def _console(*, stderr: bool) -> Console:
    plain = Console(stderr=stderr, highlight=False, soft_wrap=True)
    return plain if plain.is_terminal else Console(stderr=stderr, highlight=False, soft_wrap=True, width=_WIDE)


console = _console(stderr=False)
WAITED_FOR: list[str] = []
"""Operations that this command has told of; the last one goes on when the command is interrupted."""
_errors = _console(stderr=True)


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


def short(text: str) -> str:
    """Return the first line of a text, cut to what fits a row."""
    line = text.strip().partition("\n")[0]
    return line if len(line) <= _ROW_CHARACTERS else line[: _ROW_CHARACTERS - 1] + "…"


def waiting(what: str) -> Callable[[dict[str, Any]], None]:
    """Return a callback for `Client.wait` that prints each new line of progress once, to standard error."""
    last: list[str] = []

    def report(operation: dict[str, Any]) -> None:
        if not last:
            WAITED_FOR.append(operation["id"])
            _errors.print(f"[dim]{_plain(what)}: operation {operation['id']}[/]")
        line = f"{what}: {operation['state']}"
        if operation["attempts"] > 1:
            line += f" (attempt {operation['attempts']})"
        if operation["progress"] and operation["state"] not in FINAL:  # else it tells of a step that has ended
            line += f" · {operation['progress']}"
        if [line] != last:
            last[:] = [line]
            _errors.print(f"[dim]{_plain(line)}[/]")

    return report


def track(subjects: Sequence[_Named], quiet: bool) -> Iterator[_Named]:
    """Yield each of the subjects, with a bar on the terminal's standard error that names it; none if quiet."""
    with Progress(console=_errors, transient=True, disable=quiet or not _errors.is_terminal) as bar:
        task = bar.add_task("", total=len(subjects))
        for subject in subjects:
            bar.update(task, description=_plain(subject.name))
            yield subject
            bar.advance(task)


def _plain(text: str) -> str:
    """Escape rich's markup, so that names with brackets are shown as they are."""
    return text.replace("[", r"\[")
