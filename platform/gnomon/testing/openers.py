"""Picklable openers of parts that live in a database, for suites that open one part in several processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from gnomon.contracts.clocks import SystemClock


class Disposable(Protocol):
    """A pool of connections."""

    def dispose(self) -> None:
        """Close them all."""
        ...


@dataclass(frozen=True)
class DatabaseOpener:
    """Opens a part by connecting to its database, and closes the connections afterwards.

    Attributes:
        connect: Top-level function from a URL to an engine.
        url: Of the database.
        make: The part's class; called with the engine, `arguments` and a clock.
        arguments: What the part needs besides.
    """

    connect: Callable[[str], Disposable]
    url: str
    make: Callable[..., Any]
    arguments: tuple[Any, ...] = ()

    @contextmanager
    def __call__(self) -> Iterator[Any]:
        """Open the part in this process.

        Yields:
            Any: The part.
        """
        engine = self.connect(self.url)
        try:
            yield self.make(engine, *self.arguments, SystemClock())
        finally:
            engine.dispose()
