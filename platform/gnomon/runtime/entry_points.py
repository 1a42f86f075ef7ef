"""Entry points: functions of the platform itself that a process is given as text, `module:function`.

Used by the actors, which are started with text and not with pickled code: a restarted actor imports what is installed.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from gnomon.errors import NotFound, did_you_mean


def entry_point(reference: str) -> Callable[..., Any]:
    """Import the function that `module:function` names.

    Args:
        reference: Module and function of the platform or of an installed package.

    Returns:
        The function.

    Raises:
        NotFound: There is no such module or function.

    Example:
        >>> entry_point("os.path:basename")("/a/b")
        'b'
    """
    module_name, _, name = reference.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise NotFound(f"module '{error.name}' of '{reference}' is not installed", "write module:function") from error
    found = getattr(module, name, None)
    if not callable(found):
        known = [key for key, value in vars(module).items() if callable(value)]
        raise NotFound(f"'{reference}' names no function", did_you_mean(name, known))
    return found  # type: ignore[no-any-return]
