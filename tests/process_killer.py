"""Kills the process of a named actor of a running platform again and again, at moments drawn from a seed."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.local_platform import LocalPlatform

PAUSES_S = (0.0, 0.2, 1.0, 3.0, 6.0, 10.0, 15.0)
"""How long the next process may live, at random: some die while they start, some do their work for a while."""

_APPEARS_S = 240.0


class ProcessKiller:
    """Kills by SIGKILL when told of a moment, and by itself within `with`.

    Args:
        platform: Whose processes.
        titles: What the titles of the processes begin with; the first that is found is struck.
        seed: Of the moments.
        at_each: How often a phase is struck for sure, when it is told of so often.
        most: No more kills than this.
        chance: Probability that a later moment of a phase is struck.

    Attributes:
        kills: Kills by phase.
    """

    def __init__(
        self, platform: LocalPlatform, titles: tuple[str, ...], seed: int, at_each: int, most: int, chance: float = 0.0
    ) -> None:  # fmt: skip
        self.kills: Counter[str] = Counter()
        self._marker = f"GNOMON_HOME={platform.home}".encode()
        self._titles = tuple(title.encode() for title in titles)
        self._random = random.Random(seed)
        self._at_each, self._most, self._chance = at_each, most, chance
        self._phase = "start"
        self._struck: set[int] = set()
        self._killing = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._strike_now_and_then, name="killer", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:  # fmt: skip
        self._ended.set()
        self._thread.join()

    def at(self, phase: str) -> None:
        """Hear of a moment, and perhaps strike; a phase is waited for until a process is there to be killed."""
        self._phase = phase
        if self.kills[phase] < self._at_each:
            deadline = time.monotonic() + _APPEARS_S
            while not self._strike():
                assert time.monotonic() < deadline, f"no process to kill appeared within {_APPEARS_S:.0f} s"
                time.sleep(0.05)
        elif self._random.random() < self._chance:
            self._strike()

    def total(self) -> int:
        """Return the number of processes killed."""
        return len(self._struck)

    def _strike_now_and_then(self) -> None:
        while not self._ended.wait(0.2):
            if self._find() is not None and not self._ended.wait(self._random.choice(PAUSES_S)):
                self._strike()

    def _strike(self) -> bool:
        with self._killing:
            pid = self._find()
            if pid is None or len(self._struck) >= self._most:
                return len(self._struck) >= self._most
            os.kill(pid, signal.SIGKILL)
            self._struck.add(pid)
            self.kills[self._phase] += 1
            return True

    def _find(self) -> int | None:
        """Return a process of this home with the first of the titles that any has, and that is not struck yet."""
        found = {title: pid for pid, title in self._processes()}
        return next((found[title] for title in self._titles if title in found), None)

    def _processes(self) -> Iterator[tuple[int, bytes]]:
        for folder in Path("/proc").iterdir():
            if not folder.name.isdigit() or int(folder.name) in self._struck:
                continue
            try:
                command = (folder / "cmdline").read_bytes()
                title = next((title for title in self._titles if command.startswith(title)), None)
                if title is not None and self._marker in (folder / "environ").read_bytes().split(b"\0"):
                    yield int(folder.name), title
            except (PermissionError, FileNotFoundError, ProcessLookupError):
                continue  # not ours, or gone meanwhile
