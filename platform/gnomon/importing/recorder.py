"""Runs the files of a Feast repository against the stand-in and writes what they define, as JSON.

Started by `recordings` as a program: `python -P -m gnomon.importing.recorder ROOT RESULT FILE…`. It is a process of its
own because the files are somebody's code, and because `feast` means something else in it.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
import traceback
from datetime import date, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

from gnomon.importing import stand_in
from gnomon.importing.function_sources import take_function

_BESIDE = "of_repository_"
"""Stands before the name of a file whose own name is taken: what has that name has to stay."""


def main(root: Path, result: Path, files: list[str]) -> None:
    """Run the files and write the result.

    Args:
        root: Folder of the repository; the working folder, as for `feast apply`.
        result: File that gets the JSON: `objects`, or `error` with the file and line where it happened.
        files: Paths from the root, in the order in which they run.
    """
    stand_in.install()
    sys.dont_write_bytecode = True  # a repository is left as it was found
    sys.path.append(str(root))
    sys.argv = ["feast"]
    bound: dict[int, list[str]] = {}
    for file in files:
        try:
            module = _imported(root, file)
        except BaseException as error:  # noqa: BLE001 - whatever a file raises, SystemExit too, must become a message about it
            result.write_text(json.dumps({"error": _described(error, root, file)}))
            return
        for name, value in vars(module).items():
            if isinstance(value, stand_in.Recorded):
                bound.setdefault(id(value), []).append(name)
    result.write_text(json.dumps({"objects": _objects(root, bound)}))


def _imported(root: Path, file: str) -> ModuleType:
    """Import a file by its name, or from its place where that name is a module of Python's or an installed one."""
    name, path = file.removesuffix(".py").replace("/", "."), root / file
    if _finds(name, path):
        return importlib.import_module(name)
    spec = importlib.util.spec_from_file_location(_BESIDE + name.replace(".", "_"), path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look for the module of their class
    spec.loader.exec_module(module)
    return module


def _finds(name: str, path: Path) -> bool:
    try:
        spec = importlib.util.find_spec(name)
    except ModuleNotFoundError as error:
        if error.name != name:  # a folder's own __init__.py misses something
            raise
        return False  # the folder has the name of a module
    except ValueError:  # a module that was made without a file
        return False
    return spec is not None and spec.origin is not None and Path(spec.origin).resolve() == path.resolve()


def _objects(root: Path, bound: dict[int, list[str]]) -> list[dict[str, Any]]:
    numbers = {id(value): number for number, value in enumerate(stand_in.RECORDED)}
    return [
        {
            "number": number,
            "kind": type(value).__name__,
            "known": stand_in.is_known(value),
            "fields": {str(name): _encoded(field, numbers, root) for name, field in value._fields.items()},
            "file": _shown(value._place[0], root),
            "line": value._place[1],
            "bound": bound.get(id(value), []),
        }
        for number, value in enumerate(stand_in.RECORDED)
    ]


def _encoded(value: Any, numbers: dict[int, int], root: Path) -> Any:
    """Return a value as JSON; what JSON has no form for is an object with one key that begins with `$`."""
    if isinstance(value, stand_in.Recorded):
        return {"$ref": numbers[id(value)]}
    if isinstance(value, stand_in.Projection):
        return {"$projection": numbers[id(value.of)], "changes": _encoded(value.changes, numbers, root)}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple | set | frozenset):
        return [_encoded(item, numbers, root) for item in value]
    if isinstance(value, dict):
        return {"$dict": [[str(key), _encoded(item, numbers, root)] for key, item in value.items()]}
    if isinstance(value, timedelta):
        return {"$seconds": value.total_seconds()}
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, type) and issubclass(value, stand_in.Recorded):
        return {"$name": value.__name__}
    if isinstance(value, stand_in.Named):
        return {"$name": value.name}
    if isinstance(value, date | datetime):
        return {"$name": value.isoformat()}
    if callable(value):
        return {"$function": take_function(value, root)}
    return {"$name": type(value).__name__}


def _described(error: BaseException, root: Path, file: str) -> dict[str, Any]:
    """Return what is wrong with the innermost place of the repository where it shows."""
    if isinstance(error, SyntaxError) and error.filename:
        place: tuple[str, int | None] = (error.filename, error.lineno)
    else:
        frames = [(f.filename, f.lineno) for f in traceback.extract_tb(error.__traceback__)]
        own = [frame for frame in frames if Path(frame[0]).is_relative_to(root)]
        place = own[-1] if own else (file, 0)
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    missing = error.name if isinstance(error, ModuleNotFoundError) else None
    return {
        "file": _shown(place[0], root), "line": place[1] or 0, "type": type(error).__name__, "text": text,
        "missing": missing,
    }  # fmt: skip


def _shown(file: str, root: Path) -> str:
    path = Path(file)
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
