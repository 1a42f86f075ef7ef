"""Imports that a module tries and can do without, left out for one importer only.

Ray's own processes try pandas, and with it Arrow and NumPy, for a single `isinstance` check, and `ray start` tries the
whole of Ray Serve for a subcommand; each process pays 30 to 80 MB for it. Both importers catch the failure. Used by
`lean_ray` and `lean_worker`; everyone else in the same process still imports what it likes.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from types import ModuleType


class LeftOut(MetaPathFinder):
    """Finder that fails an import for one importer, and leaves all others to the finders after it."""

    def __init__(self, name: str, importer: str) -> None:
        self.name, self.importer = name, importer

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> None:
        if fullname == self.name and _importer() == self.importer:
            raise ModuleNotFoundError(f"{self.name} is left out of {self.importer}", name=self.name)


def leave_out(name: str, *, importer: str) -> None:
    """Let the import of a module fail where a certain module tries it.

    Args:
        name: Module that is not imported.
        importer: Module whose import of it fails with ModuleNotFoundError, which it has to catch.
    """
    sys.meta_path.insert(0, LeftOut(name, importer))


def _importer() -> str | None:
    """Return the name of the module whose import statement runs, which is the nearest outside the import system."""
    frame = sys._getframe(1)
    while frame.f_back is not None:
        frame = frame.f_back
        module = frame.f_globals.get("__name__")
        if module != __name__ and not str(module).startswith("importlib."):
            return module
    return None
