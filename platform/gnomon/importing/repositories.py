"""A Feast repository as a folder: its project, its settings, and the files that hold its definitions.

Called by `importer`. Which files count is told as `feast apply` tells it, `.feastignore` included.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from gnomon.errors import InvalidInput, NotFound

SETTINGS_FILE = "feature_store.yaml"
_IGNORE_FILE = ".feastignore"
_NEVER = (".git", ".feastignore", ".venv", "**/.ipynb_checkpoints", "**/.pytest_cache", "**/__pycache__")


@dataclass(frozen=True)
class Repository:
    """A folder with a `feature_store.yaml`.

    Attributes:
        root: Absolute path of the folder.
        project: The project's name.
        settings: All other settings of the file.
        files: Python files with definitions, as paths from the root, in the order in which Feast runs them.
    """

    root: Path
    project: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    files: tuple[str, ...] = ()


def open_repository(folder: Path) -> Repository:
    """Look at a folder without running anything of it.

    Args:
        folder: Of a Feast repository, that is, where `feast apply` would be called.

    Returns:
        The repository.

    Raises:
        NotFound: There is no such folder, or it has no `feature_store.yaml`.
        InvalidInput: The settings cannot be read, a pattern or a file leads out of the folder, or no file is left.
    """
    root = folder.expanduser().resolve()
    if not root.is_dir():
        raise NotFound(f"there is no folder '{folder}'", "give the folder of a Feast repository")
    if not (root / SETTINGS_FILE).is_file():
        below = sorted(path.parent.relative_to(root).as_posix() for path in root.glob(f"*/{SETTINGS_FILE}"))
        hint = f"did you mean '{folder / below[0]}'?" if below else f"give the folder that holds {SETTINGS_FILE}"
        raise NotFound(f"'{folder}' is no Feast repository: it has no {SETTINGS_FILE}", hint)
    settings = _settings(root / SETTINGS_FILE)
    project = settings.pop("project", None)
    if not isinstance(project, str) or not project:
        raise InvalidInput(f"'{root / SETTINGS_FILE}' names no project", "give it a line such as `project: shop`")
    files = _files(root)
    if not files:
        raise InvalidInput(f"'{folder}' has no Python file with definitions", f"look at its {_IGNORE_FILE}")
    return Repository(root, project, settings, files)


def _settings(file: Path) -> dict[str, Any]:
    try:
        settings = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InvalidInput(f"'{file}' is no YAML: {_reason(error)}", "correct the file") from None
    if not isinstance(settings, dict):
        raise InvalidInput(f"'{file}' is no mapping of settings", "it needs at least `project`")
    return {str(name): value for name, value in settings.items()}


def _reason(error: Exception) -> str:
    """Return what is wrong and where, without the lines of the file: there may be a password in them."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        return f"line {error.problem_mark.line + 1}: {error.problem}"
    return " ".join(str(error).split())


def _files(root: Path) -> tuple[str, ...]:
    ignored: set[Path] = set()
    for pattern in (*_patterns(root), *_NEVER):
        ignored |= _matched(root, pattern)
    found = {path for path in root.glob("**/*.py") if path.is_file() and path.name != "__init__.py"}
    kept = sorted(path for path in found if path.resolve() not in ignored)
    for path in kept:
        if not path.resolve().is_relative_to(root):
            raise InvalidInput(
                f"'{path}' leads to '{path.resolve()}', outside of the repository",
                f"copy the file into it, or name the link in {_IGNORE_FILE}",
            )
        if not all(part.isidentifier() for part in path.relative_to(root).with_suffix("").parts):
            raise InvalidInput(
                f"'{path.relative_to(root)}' cannot be imported: its path is no name of a Python module",
                f"rename it, or name it in {_IGNORE_FILE}",
            )
    return tuple(path.relative_to(root).as_posix() for path in kept)


def _patterns(root: Path) -> list[str]:
    file = root / _IGNORE_FILE
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    return [pattern for line in lines if (pattern := line.partition("#")[0].strip())]


def _matched(root: Path, pattern: str) -> set[Path]:
    try:
        matched = list(root.glob(pattern))
    except (NotImplementedError, ValueError) as error:
        raise InvalidInput(
            f"'{root / _IGNORE_FILE}': pattern '{pattern}' cannot be used: {error}",
            "patterns are relative to the repository",
        ) from error
    files = {path.resolve() for path in matched if path.is_file()}
    return files | {file.resolve() for path in matched if path.is_dir() for file in path.glob("**/*.py")}
