"""Takes a Python function out of its file with all that it needs, so that it can stand in another one.

Called by `recorder` for the functions of on-demand views. A Gnomon app file imports installed packages only: what a
function uses of the repository's own files has to come with it. Standard library only.
"""

from __future__ import annotations

import ast
import builtins
import inspect
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

_LONGEST_LITERAL = 2_000
_STAND_IN = "gnomon.importing.stand_in"
_NO_BUILTIN = object()


class NotMovable(Exception):
    """A function cannot stand in another file; the message says why."""


def take_function(function: Callable[..., Any], root: Path) -> dict[str, Any]:
    """Return a function as text, with everything of its file that it uses.

    Args:
        function: Defined with `def`, at the top of a file.
        root: Folder of the repository; what is imported from there has to be taken as well.

    Returns:
        `name`, `imports` (import statements by the name that they bind), `texts` (other statements by their name,
        each after those that it uses), `reads` (names of columns that are read from the first argument, as far as
        they are written as constants) and `reads_only_constants` (whether those are all). Or `reason`, where it
        cannot be taken.
    """
    parts: dict[str, Any] = {"name": getattr(function, "__name__", ""), "imports": {}, "texts": {}}
    try:
        tree = _take(function, root, parts, ())
    except NotMovable as error:
        return {"name": parts["name"], "reason": str(error)}
    reads, complete = _reads(tree)
    return {**parts, "reads": sorted(reads), "reads_only_constants": complete}


def _take(function: Any, root: Path, parts: dict[str, Any], within: tuple[str, ...]) -> ast.FunctionDef:
    name = getattr(function, "__name__", "")
    if not isinstance(function, FunctionType) or not name.isidentifier():
        raise NotMovable(f"'{name or type(function).__name__}' is no function that is defined with def")
    if function.__closure__:
        raise NotMovable(f"function '{name}' uses variables of the function that it is defined in")
    text, tree = _source_of(function)
    if any(isinstance(node, ast.Global) for node in ast.walk(tree)):
        raise NotMovable(f"function '{name}' has global variables, which other code may set")
    for used in _names_in(tree):
        if used in function.__globals__ and used not in (name, *within):
            value = function.__globals__[used]
            if value is not getattr(builtins, used, _NO_BUILTIN):
                _take_value(used, value, root, parts, (*within, name))
    _keep(parts["texts"], name, text)
    return tree


def _source_of(function: FunctionType) -> tuple[str, ast.FunctionDef]:
    try:
        text = textwrap.dedent(inspect.getsource(function))
        tree = ast.parse(text).body[0]
    except (OSError, TypeError, SyntaxError, IndexError) as error:
        raise NotMovable(f"the text of function '{function.__name__}' cannot be read: {error}") from error
    if not isinstance(tree, ast.FunctionDef):
        raise NotMovable(f"'{function.__name__}' is not defined with def")
    lines = text.splitlines()[tree.lineno - 1 : tree.end_lineno]  # without decorators
    tree.decorator_list = []
    return "\n".join(line.rstrip() for line in lines), tree


def _take_value(name: str, value: Any, root: Path, parts: dict[str, Any], within: tuple[str, ...]) -> None:
    if _STAND_IN in (type(value).__module__, getattr(value, "__module__", "")):
        raise NotMovable(f"it uses '{name}' of Feast")
    if isinstance(value, ModuleType):
        _refuse_own_module(name, value.__name__, getattr(value, "__file__", None), root)
        same = value.__name__ == name
        _keep(parts["imports"], name, f"import {value.__name__}" + ("" if same else f" as {name}"))
    elif _is_literal(value):
        if value is None or value in ([], {}):
            raise NotMovable(f"it uses '{name}', which is {value!r} so far: something else fills it")
        _keep(parts["texts"], name, f"{name} = {value!r}")
    elif isinstance(value, FunctionType) and _is_below(value.__code__.co_filename, root):
        if value.__name__ != name:
            raise NotMovable(f"it uses function '{value.__name__}' under another name, '{name}'")
        _take(value, root, parts, within)
    else:
        module, known_as = getattr(value, "__module__", None), getattr(value, "__name__", None)
        holder = sys.modules.get(module) if isinstance(module, str) else None
        if not isinstance(known_as, str) or holder is None or getattr(holder, known_as, None) is not value:
            raise NotMovable(f"it uses '{name}', a {type(value).__name__} of its file")
        assert isinstance(module, str)
        _refuse_own_module(name, module, getattr(inspect.getmodule(value), "__file__", None), root)
        same = known_as == name
        _keep(parts["imports"], name, f"from {module} import {known_as}" + ("" if same else f" as {name}"))


def _is_literal(value: Any) -> bool:
    text = repr(value)
    try:
        return len(text) <= _LONGEST_LITERAL and bool(ast.literal_eval(text) == value)
    except (ValueError, SyntaxError, TypeError):
        return False


def _refuse_own_module(name: str, module: str, file: str | None, root: Path) -> None:
    if file is not None and _is_below(file, root):
        raise NotMovable(f"it uses '{name}' of the repository's module '{module}'")


def _is_below(file: str, root: Path) -> bool:
    path = Path(file).resolve()
    return path.is_relative_to(root) and "site-packages" not in path.parts


def _keep(found: dict[str, str], name: str, text: str) -> None:
    if found.setdefault(name, text) != text:
        raise NotMovable(f"it uses two different things that are named '{name}'")


def _names_in(tree: ast.AST) -> list[str]:
    read = (node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load))
    return list(dict.fromkeys(read))


def _reads(tree: ast.FunctionDef) -> tuple[set[str], bool]:
    """Return the constants by which the first argument is subscripted, less those that were assigned to it.

    And whether nothing else is done with it: then the function needs no other columns.
    """
    arguments = [*tree.args.posonlyargs, *tree.args.args]
    read: set[str] = set()
    written: set[str] = set()
    plain, uses = 0, 0
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            uses += bool(arguments) and node.id == arguments[0].arg
        if not (isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and arguments):
            continue
        if node.value.id == arguments[0].arg:
            keys = node.slice.elts if isinstance(node.slice, ast.List | ast.Tuple) else [node.slice]
            names = {key.value for key in keys if isinstance(key, ast.Constant) and isinstance(key.value, str)}
            plain += len(names) == len(keys) and isinstance(node.ctx, ast.Load)
            (read if isinstance(node.ctx, ast.Load) else written).update(names)
    return read - written, plain == uses
