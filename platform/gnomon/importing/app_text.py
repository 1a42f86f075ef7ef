"""The text of an app file: calls and their arguments as `ruff format` and `black` would write them.

Used by `importer`. What fits into a line is one line; what does not has one argument a line and a comma at the end.
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

_WIDTH = 88
_INDENT = "    "


@dataclass(frozen=True)
class Raw:
    """Text that stands as it is, such as a variable."""

    text: str


@dataclass(frozen=True)
class Call:
    """A call; arguments that are None are left out."""

    function: str
    values: tuple[Any, ...] = ()
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class Statement:
    """A definition of the app file.

    Attributes:
        variable: What it is bound to; empty for text that binds its own names.
        value: The definition.
        notes: Sentences for the comment above it.
        spaced: Whether it is a function, which has two empty lines around it.
    """

    variable: str
    value: Any
    notes: list[str] = field(default_factory=list)
    spaced: bool = False

    def lines(self) -> str:
        """Return its text, with its comment."""
        head = f"{self.variable} = " if self.variable else ""
        return comment(self.notes) + head + rendered(self.value, len(head))


def comment(notes: Iterable[str]) -> str:
    """Return sentences as a comment, each on a line of its own and folded where it is long."""
    lines = [
        line
        for note in notes
        for line in textwrap.wrap(
            _printable(" ".join(note.split())),
            _WIDTH, initial_indent="# ", subsequent_indent="#   ", break_long_words=False,
            break_on_hyphens=False,
        )
    ]  # fmt: skip
    return "".join(line + "\n" for line in lines)


def rendered(value: Any, column: int = 0, depth: int = 0) -> str:
    """Return a value as Python.

    Args:
        value: A scalar, a list, a mapping, a `Call` or `Raw`.
        column: How many characters stand before it on its line, and one for each that must follow it there.
        depth: How deep its line is indented.

    Returns:
        One line where it fits.
    """
    line = _one_line(value)
    if column + len(line) <= _WIDTH or not isinstance(value, Call | list | dict) or not _parts(value):
        return line
    opening, closing = _brackets(value)
    inner = _INDENT * (depth + 1)
    parts = [f"{inner}{head}{rendered(part, len(inner) + len(head) + 1, depth + 1)},\n" for head, part in _parts(value)]
    return f"{opening}\n{''.join(parts)}{_INDENT * depth}{closing}"


def _one_line(value: Any) -> str:
    if isinstance(value, Raw):
        return value.text
    if isinstance(value, Call | list | dict):
        opening, closing = _brackets(value)
        return opening + ", ".join(head + _one_line(part) for head, part in _parts(value)) + closing
    return quoted(value) if isinstance(value, str) else repr(value)


def _brackets(value: Call | list[Any] | dict[str, Any]) -> tuple[str, str]:
    if isinstance(value, Call):
        return f"{value.function}(", ")"
    return ("[", "]") if isinstance(value, list) else ("{", "}")


def _parts(value: Call | list[Any] | dict[str, Any]) -> list[tuple[str, Any]]:
    if isinstance(value, Call):
        named = [(f"{name}=", part) for name, part in value.fields.items() if part is not None]
        return [*(("", part) for part in value.values), *named]
    if isinstance(value, list):
        return [("", part) for part in value]
    return [(f"{quoted(name)}: ", part) for name, part in value.items()]


def quoted(text: str) -> str:
    """Return a text as Python, in double quotes unless the others need fewer escapes."""
    plain = repr(text)
    if plain[0] == '"' or text.count('"') > text.count("'"):
        return plain
    return '"' + plain[1:-1].replace("\\'", "'").replace('"', '\\"') + '"'


def _printable(text: str) -> str:
    """Return a text with escapes for what a line of Python cannot hold."""
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)


def docstring(lines: Sequence[str]) -> str:
    """Return a module's docstring; quotes and backslashes in it stay what they are."""
    text = _printable("\n".join(lines).replace("\\", "\\\\").replace('"""', '\\"\\"\\"'))
    return f'"""{text}\n"""\n'


def import_block(imports: Iterable[str]) -> str:
    """Return import statements in the order that isort gives them: Python's own first, `import` before `from`."""
    groups: dict[bool, list[str]] = {True: [], False: []}
    for line in sorted(set(imports), key=lambda line: (line.startswith("from "), line.split()[1].lower(), line)):
        groups[line.split()[1].partition(".")[0] in sys.stdlib_module_names].append(line + "\n")
    return "\n".join("".join(group) for group in groups.values() if group)


def app_text(head: str, imports: Iterable[str], sections: Sequence[tuple[str, Sequence[Statement]]]) -> str:
    """Return the whole file.

    Args:
        head: Its docstring.
        imports: Import statements.
        sections: A title and statements for each; those without statements are left out.

    Returns:
        Text that ends with one line break.
    """
    text = head + "\n" + import_block(imports)
    spaced = False
    for title, statements in sections:
        for number, statement in enumerate(statements):
            gap = "\n\n" if spaced or statement.spaced else "\n"
            text += gap + (f"# {title}\n\n" if number == 0 and not statement.spaced else "") + statement.lines() + "\n"
            spaced = statement.spaced
    return text
