"""Faults: ports whose calls fail or crash the caller at a chosen moment, before or after they took effect.

Used by the control plane's simulator.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gnomon.errors import Unavailable


class Crash(BaseException):
    """The end of the process that called; nothing in it may catch this."""


class Faults:
    """Decides which call to any of the ports fails next.

    Attributes:
        calls: Calls since the last `plan`.
    """

    def __init__(self) -> None:
        self.calls = 0
        self._plan: dict[tuple[int, bool], type[BaseException]] = {}

    def plan(self, faults: dict[tuple[int, bool], type[BaseException]]) -> None:
        """Set what fails from now on.

        Args:
            faults: Exception (`Crash` or `Unavailable`) by number of the call from 0, and whether before its effect.
        """
        self.calls = 0
        self._plan = faults

    def port(self, real: Any) -> Any:
        """Return a port that does what the real one does, except for the planned faults."""
        return _FaultyPort(real, self)

    def call(self, method: Callable[..., Any], *values: Any, **named: Any) -> Any:
        """Make one call, with its fault if it has one."""
        number, self.calls = self.calls, self.calls + 1
        if not self._plan:
            return method(*values, **named)
        self._strike(number, before=True)
        answer = method(*values, **named)
        self._strike(number, before=False)
        return answer

    def _strike(self, number: int, *, before: bool) -> None:
        fault = self._plan.get((number, before))
        if fault is Unavailable:
            raise Unavailable("the simulator let this call fail")
        if fault is not None:
            raise fault


class _FaultyPort:
    def __init__(self, real: Any, faults: Faults) -> None:
        self._real = real
        self._faults = faults

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._real, name)

        def called(*values: Any, **named: Any) -> Any:
            return self._faults.call(method, *values, **named)

        self.__dict__[name] = called
        return called
