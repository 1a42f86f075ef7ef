"""What a repository's files define, as the recorder saw it: objects of Feast with the values that they were made with.

Called by `importer`; the mapping modules read the objects.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from gnomon.errors import InvalidDefinition
from gnomon.importing.credentials import cleaned, without_credentials
from gnomon.importing.repositories import Repository
from gnomon.runtime.processes import start, stop

_LAST_WORDS = 400


@dataclass(frozen=True)
class Named:
    """A thing of Feast's, or a value that has no other form, that is known by its name only."""

    name: str


@dataclass(frozen=True)
class Function:
    """A function of the repository, as `function_sources` takes it: its text, or the reason why it cannot be had."""

    name: str
    imports: Mapping[str, str] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)
    reads: tuple[str, ...] = ()
    reads_only_constants: bool = False
    reason: str = ""


@dataclass(eq=False)
class FeastObject:
    """An object that a file of the repository made; equal only to itself.

    Attributes:
        kind: Name of its class.
        known: Whether that class is one of Feast's that is understood here.
        fields: The values that it was made with, by name.
        file: Where it was made, as a path from the repository.
        line: Line of that file.
        bound: Variables at the top of a file that hold it. Feast sees only what has one.
        hidden: Names of those values that had credentials in a URL, which are not in `fields`.
    """

    kind: str
    known: bool
    fields: dict[str, Any] = field(repr=False)
    file: str
    line: int
    bound: tuple[str, ...]
    hidden: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Its name in Feast; a file source without one is called by its path, as Feast does."""
        for field_name in ("name", "path", "table", "table_ref"):
            if isinstance(self.fields.get(field_name), str) and self.fields[field_name]:
                return str(self.fields[field_name])
        return self.bound[0] if self.bound else ""

    @property
    def place(self) -> str:
        """Where it was made, in words."""
        return f"{self.file}, line {self.line}"


@dataclass(frozen=True)
class Projection:
    """A view as another object takes it; `changes` has `features`, `name_alias` or `join_key_map`."""

    of: FeastObject
    changes: Mapping[str, Any]


def record(repository: Repository, time_limit_s: float) -> list[FeastObject]:
    """Run a repository's files in a process of their own, where `feast` is a stand-in.

    Args:
        repository: What to run; its folder is the working folder.
        time_limit_s: How long the files may take together.

    Returns:
        Every object that was made, in order.

    Raises:
        InvalidDefinition: A file raises, or imports what is not there; the message has the file and the line. Or the
            files are not done within the limit.
    """
    with tempfile.TemporaryDirectory(prefix="gnomon-feast-") as folder:
        result, log = Path(folder) / "result.json", Path(folder) / "log.txt"
        command = [sys.executable, "-P", "-m", "gnomon.importing.recorder", str(repository.root), str(result)]
        process = start([*command, *repository.files], log=log, folder=repository.root)
        try:
            process.wait(time_limit_s)
        except subprocess.TimeoutExpired:
            raise InvalidDefinition(
                f"the files of '{repository.root}' were not done after {time_limit_s:g} s",
                "they should only define: name those that work in .feastignore, or raise --time-limit",
            ) from None
        finally:
            status = stop(process)
        body = result.read_text(encoding="utf-8") if result.is_file() else ""
        if status or not body:
            said = without_credentials(log.read_text(encoding="utf-8", errors="replace").strip())[-_LAST_WORDS:]
            raise InvalidDefinition(
                f"the process that runs '{repository.root}' ended with status {status}" + (f": {said}" if said else ""),
                "its files must run to their end",
            )
    return _read(json.loads(body), repository)


def _read(body: Mapping[str, Any], repository: Repository) -> list[FeastObject]:
    if "error" in body:
        raise _refusal(cleaned(body["error"]), repository)
    made = [
        FeastObject(entry["kind"], entry["known"], {}, entry["file"], entry["line"], tuple(entry["bound"]))
        for entry in body["objects"]
    ]
    for obj, entry in zip(made, body["objects"], strict=True):
        clean = {name: cleaned(value) for name, value in entry["fields"].items()}
        obj.fields = {name: _decoded(value, made) for name, value in clean.items()}
        obj.hidden = tuple(name for name, value in entry["fields"].items() if value != clean[name])
    return made


def _refusal(error: Mapping[str, Any], repository: Repository) -> InvalidDefinition:
    message = f"{repository.root / error['file']}, line {error['line']}: {error['type']}: {error['text']}"
    if error["missing"]:
        return InvalidDefinition(
            message, f"install '{error['missing']}' where gnomon runs, or name the file in .feastignore", dict(error)
        )
    return InvalidDefinition(message, "the files of the repository must run without errors", dict(error))


_DECODERS: Mapping[str, Callable[[Any, Mapping[str, Any], list[FeastObject]], Any]] = {
    "$ref": lambda value, _, made: made[value],
    "$projection": lambda value, entry, made: Projection(made[value], _decoded(entry["changes"], made)),
    "$dict": lambda value, _, made: {key: _decoded(item, made) for key, item in value},
    "$seconds": lambda value, _, made: timedelta(seconds=value),
    "$name": lambda value, _, made: Named(value),
    "$function": lambda value, _, made: Function(**{**value, "reads": tuple(value.get("reads", ()))}),
}


def _decoded(value: Any, made: list[FeastObject]) -> Any:
    if isinstance(value, list):
        return [_decoded(item, made) for item in value]
    if isinstance(value, dict):
        key = next(iter(value))
        return _DECODERS[key](value[key], value, made)
    return value


def objects_in(value: Any) -> Iterator[FeastObject]:
    """Yield every object that a value holds, at any depth of lists and mappings, but not what those hold."""
    if isinstance(value, FeastObject):
        yield value
    elif isinstance(value, Projection):
        yield value.of
        yield from objects_in(dict(value.changes))
    elif isinstance(value, list):
        for item in value:
            yield from objects_in(item)
    elif isinstance(value, dict):
        yield from objects_in(list(value.values()))
