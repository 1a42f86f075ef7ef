"""App files as code: load one into an `App`, and import its functions by name wherever work is done.

`load_app` is called by the client; `FunctionLoader` by workers and replicas, which get the file's text from the
artifact store by digest. The text is the whole of the code: an app file imports installed packages only, not files
beside it.
"""

from __future__ import annotations

import hashlib
import importlib
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from gnomon.contracts.apps import App
from gnomon.contracts.artifact_store import ArtifactStore
from gnomon.contracts.features import RequestFeature
from gnomon.contracts.specs import Spec
from gnomon.errors import GnomonError, InvalidDefinition, NotFound, did_you_mean

_PREFIX = "gnomon_app_"


def load_app(path: Path) -> tuple[App, str]:
    """Run an app file and collect the definitions at its top level.

    Args:
        path: A Python file; its stem names the app.

    Returns:
        The app, references checked and schemas not yet resolved, and the file's text.

    Raises:
        NotFound: There is no such file.
        InvalidDefinition: The file's name does not end in `.py`, it raises, it defines nothing, or its definitions
            contradict each other.
    """
    if not path.is_file():
        raise NotFound(f"there is no app file {path}", "give the path of a Python file with definitions")
    if path.suffix != ".py":
        raise InvalidDefinition(f"app file {path} does not end in .py", "give a Python file with definitions")
    text = path.read_text(encoding="utf-8")
    digest = hashlib.sha256(text.encode()).hexdigest()
    module = _run(text, digest, str(path))
    specs = [value for value in vars(module).values() if isinstance(value, Spec)]
    name = path.stem.lower().replace("-", "_")
    app = App.of(name, specs, code=digest, root=str(path.resolve().parent))
    _check_functions(app, module)
    return app, text


class FunctionLoader:
    """Imports the functions that request features name.

    Args:
        artifacts: Where app files are kept.
        code: Digest of the app file whose functions have the module `app`.
    """

    def __init__(self, artifacts: ArtifactStore, code: str) -> None:
        self._artifacts = artifacts
        self._code = code

    def __call__(self, reference: str) -> Callable[..., Any]:
        """Return the function that `module:name` names.

        Args:
            reference: `module:name`; the module `app` stands for the app file.

        Returns:
            The function, to be called in this process; the app file is run once a process.

        Raises:
            NotFound: The app file or module has no such function.
            InvalidDefinition: The app file raises when it is run.
        """
        module_name, _, name = reference.partition(":")
        if module_name == "app":
            module = sys.modules.get(_PREFIX + self._code[:16])
            if module is None:
                module = _run(self._artifacts.get_bytes(self._code).decode(), self._code, "app file")
        else:
            try:
                module = importlib.import_module(module_name)
            except ImportError as error:
                raise NotFound(f"module '{module_name}' of '{reference}' cannot be imported: {error}") from error
            except Exception as error:  # whatever a user's module raises must become a message about that module
                raise InvalidDefinition(f"module '{module_name}' raises on import: {error}") from error
        return _function(module, name, reference)


def _function(module: ModuleType, name: str, reference: str) -> Callable[..., Any]:
    found = getattr(module, name, None)
    if not callable(found):
        known = [key for key, value in vars(module).items() if callable(value)]
        raise NotFound(f"'{reference}' names no function", did_you_mean(name, known))
    return found  # type: ignore[no-any-return]


def _check_functions(app: App, module: ModuleType) -> None:
    for feature in app.all(RequestFeature):
        if feature.function is not None and feature.function.startswith("app:"):
            _function(module, feature.function.partition(":")[2], feature.function)


def _run(text: str, digest: str, shown_as: str) -> ModuleType:
    """Execute an app file as a module of its own; registered so that its functions know where they are from."""
    module = ModuleType(_PREFIX + digest[:16])
    module.__file__ = shown_as
    sys.modules[module.__name__] = module
    try:
        exec(compile(text, shown_as, "exec"), module.__dict__)  # noqa: S102 - the user's own app file
    except GnomonError as error:
        del sys.modules[module.__name__]
        line = _line_of(error, shown_as)
        raise type(error)(f"{shown_as}, line {line}: {error.message}", error.hint, error.details) from error
    except BaseException as error:
        # Whatever a user's file raises (SystemExit too) must become a message about that file.
        del sys.modules[module.__name__]
        if isinstance(error, KeyboardInterrupt):
            raise
        line = error.lineno or 0 if isinstance(error, SyntaxError) else _line_of(error, shown_as)
        raise InvalidDefinition(f"{shown_as}, line {line}: {type(error).__name__}: {error}", _remedy(error)) from error
    return module


def _remedy(error: BaseException) -> str:
    if isinstance(error, AttributeError) and isinstance(error.obj, ModuleType) and error.name:
        return did_you_mean(error.name, getattr(error.obj, "__all__", dir(error.obj)))
    return "the app file must run without errors"


def _line_of(error: BaseException, shown_as: str) -> int:
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == shown_as]
    return (frames[-1].lineno or 0) if frames else 0
