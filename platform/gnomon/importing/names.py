"""Names: what Feast allows made into what Gnomon allows, and variables for the app file."""

from __future__ import annotations

import builtins
import keyword
import re
from collections.abc import Iterable

_LONGEST = 63


def gnomon_name(text: str) -> str:
    """Return the name that comes nearest: lower-case letters, digits and `_`, beginning with a letter.

    Args:
        text: A name in Feast, or a path.

    Returns:
        The same text where it is a name already.

    Example:
        >>> gnomon_name("driverStats-v2"), gnomon_name("driver_stats"), gnomon_name("2nd")
        ('driver_stats_v2', 'driver_stats', 'n_2nd')
    """
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", text).lower()
    name = re.sub(r"[^a-z0-9_]+", "_", name).strip("_") or "unnamed"
    return (name if name[0].isalpha() else f"n_{name}")[:_LONGEST]


class Names:
    """Gives out names, each once.

    Args:
        taken: Names that are not free.
        coming: Names in Feast that will be asked for. One that is a name here as it is goes to nobody else.
    """

    def __init__(self, taken: Iterable[str] = (), coming: Iterable[str] = ()) -> None:
        self._taken = set(taken)
        self._claimed = {text for text in coming if gnomon_name(text) == text}

    def is_free(self, name: str) -> bool:
        """Tell whether a name has not been given out."""
        return name not in self._taken

    def take_for(self, text: str, prefix: str = "") -> str:
        """Return a name for what has a name in Feast: the same where it can be, else the nearest that is free.

        Args:
            text: The name in Feast.
            prefix: Stands before it where the plain name is taken.

        Returns:
            A name that nobody else has.
        """
        if gnomon_name(text) == text and text not in self._taken:
            self._taken.add(text)
            return text
        return self.take(gnomon_name(text), *([gnomon_name(f"{prefix}_{text}")] if prefix else []))

    def take(self, *wanted: str) -> str:
        """Return the first of the names that is free, or the last with the first number that makes it so."""
        taken, number = self._taken | self._claimed, 1
        found = next((name for name in wanted if name not in taken), None)
        while found is None:
            number += 1
            suffix = f"_{number}"
            candidate = wanted[-1][: _LONGEST - len(suffix)] + suffix
            found = candidate if candidate not in taken else None
        self._taken.add(found)
        return found


def variable_names() -> Names:
    """Return the names of an app file's variables, before any is given out."""
    return Names(
        {"gn", "call_pandas", "call_python", "call_single", *keyword.kwlist, *keyword.softkwlist, *dir(builtins)}
    )
