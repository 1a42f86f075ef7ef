"""A contestant's program from the harness's side: start it, ask it, end it with all that it started.

Used by the harness. One process is one turn; it ends when its input ends, and is killed only if it does not.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

_FOLDER = Path(__file__).parent
_END_TIMEOUT_S = 90.0


class ContestantFailedError(Exception):
    """A contestant's program raised, ended or did not answer in time."""


class Program:
    """A running program. Use it in a `with` block.

    Args:
        python: Interpreter of its environment.
        file: The program.
        log: File that gets everything it prints, appended.
    """

    def __init__(self, python: Path, file: Path, log: Path) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "GNOMON_"))}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        environment |= {"PYTHONPATH": str(_FOLDER), "PYTHONSAFEPATH": "1"}
        self._log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [str(python), str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=output,
                env=environment, start_new_session=True, text=True,
            )  # fmt: skip
        self._answers: queue.Queue[str | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:  # fmt: skip
        self._end()

    def ask(self, do: str, *arguments: Any, timeout_s: float) -> Mapping[str, Any]:
        """Send a command and return its answer: `ok` with what it gave, or `invalid` with the reason.

        Raises:
            ContestantFailedError: The program raised or ended, or did not answer in time.
        """
        try:
            print(json.dumps({"do": do, "with": arguments}), file=self._process.stdin, flush=True)
            line = self._answers.get(timeout=timeout_s)
        except queue.Empty:
            raise ContestantFailedError(f"no answer to '{do}' within {timeout_s:.0f} s") from None
        except BrokenPipeError:
            line = None
        if line is None:
            raise ContestantFailedError(f"ended with status {self._process.wait()} during '{do}': {self._last_words()}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise ContestantFailedError(f"{do}: {answer['error']}")
        return answer

    def _read(self) -> None:
        for line in self._process.stdout or ():
            self._answers.put(line)
        self._answers.put(None)

    def _end(self) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it ended before it read everything
            self._process.stdin.close()
        try:
            self._process.wait(_END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._reader.join(5.0)
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _last_words(self) -> str:
        lines = [line for line in self._log.read_text(errors="replace").splitlines() if line.strip()]
        return lines[-1][:300] if lines else "it printed nothing"
