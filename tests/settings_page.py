"""Writes `platform/docs/configuration.md` from the docstrings of `gnomon.settings`: `python -m tests.settings_page`.

`tests/unit/docs` compares the page with what this makes now.
"""

from __future__ import annotations

import ast
import inspect
from itertools import pairwise
from pathlib import Path

from gnomon import settings
from gnomon.settings import Settings

PAGE = Path(__file__).resolve().parents[1] / "platform" / "docs" / "configuration.md"

_HEAD = """# Settings

<!-- Made from platform/gnomon/settings.py: `python -m tests.settings_page`. Edit there. -->

Every setting is an environment variable. `gnomon up` reads them, and every process that it starts inherits them. A
value that cannot be used ends the command with exit code 2 and a message that names the variable. There is no file of
settings.

Units are in the names: `_s` seconds, `_bytes` bytes, `_rows` rows.

| variable | default | meaning |
|---|---|---|
"""


def page() -> str:
    """Return the page's text, one row a setting in the order of the class."""
    return _HEAD + "".join(f"| `GNOMON_{n.upper()}` | {_default(n)} | {text} |\n" for n, text in _docstrings().items())


def _docstrings() -> dict[str, str]:
    """Return each field's docstring: the bare string that follows it in the class."""
    body = next(n.body for n in ast.parse(inspect.getsource(settings)).body if isinstance(n, ast.ClassDef))
    found = {
        field.target.id: " ".join(ast.literal_eval(text.value).split())
        for field, text in pairwise(body)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(text, ast.Expr)
    }
    missing = Settings.model_fields.keys() - found.keys()
    assert not missing, f"settings without a docstring: {sorted(missing)}"
    return found


def _default(name: str) -> str:
    value = Settings.model_fields[name].default
    if value is None or value == ():
        return "–"
    return f"`{value:_}`" if type(value) is int and value >= 100_000 else f"`{value}`"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
