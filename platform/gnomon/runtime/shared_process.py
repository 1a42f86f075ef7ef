"""SharedProcess: the actor in which light operations run, each in a thread of its own. Asked by `shared_workers`.

Importing what an operation needs takes seconds of a processor; here it is done once, before the first operation.
"""

from __future__ import annotations

import importlib
import threading
import traceback
from collections.abc import Sequence

from gnomon.runtime.entry_points import entry_point
from gnomon.runtime.stop_requests import stoppable

Work = tuple[str, int]
"""Operation id and lease."""


class SharedProcess:
    """Runs an entry function for each (operation, lease) that it is told to begin.

    Every method returns at once and they run one after another, so that a stop never overtakes its begin.

    Args:
        entry: The function as `module:function`; called with operation id and lease.
        preload: Modules that the function will need.
    """

    def __init__(self, entry: str, preload: Sequence[str]) -> None:
        for module in preload:
            importlib.import_module(module)
        self._entry = entry_point(entry)
        self._changing = threading.Lock()
        self._running: dict[Work, threading.Event] = {}

    def begin(self, operation_id: str, lease: int) -> None:
        """Begin this work in a thread unless it runs already."""
        work, stop = (operation_id, lease), threading.Event()
        with self._changing:
            if work in self._running:
                return
            self._running[work] = stop
        name = f"operation-{operation_id}-{lease}"
        threading.Thread(target=self._run, args=(work, stop), name=name, daemon=True).start()

    def runs(self, operation_id: str, lease: int) -> bool:
        """Tell whether this work runs; False for work that an earlier process of this actor had begun."""
        with self._changing:
            return (operation_id, lease) in self._running

    def stop(self, operation_id: str, lease: int) -> None:
        """Let `stop_requested` be true for this work, if it runs."""
        with self._changing:
            request = self._running.get((operation_id, lease))
        if request is not None:
            request.set()

    def _run(self, work: Work, stop: threading.Event) -> None:
        try:
            with stoppable(stop):
                self._entry(*work)
        except Exception:  # noqa: BLE001 - the edge of the thread; other work goes on, and the log says what this one had
            traceback.print_exc()
        finally:
            with self._changing:
                del self._running[work]
