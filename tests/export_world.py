"""A gateway on a socket with a worker of exports beside it, for the client and the command line."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.gateway_world import TOKEN, listening

from gnomon.client import Client
from gnomon.control_plane.operation_work import run_operation
from gnomon.control_plane.parts import Parts


@contextmanager
def exporting(parts: Parts, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    """Yield a client whose exports are done by a thread of this process; the command line finds the gateway too."""
    stop = threading.Event()

    def work() -> None:
        while not stop.wait(0.02):
            for asked in parts.operations.list(states=("pending",)):
                leased = parts.operations.lease(asked.id, asked.lease) if asked.kind.startswith("export") else None
                if leased is not None:
                    run_operation(asked.id, leased.lease, parts)

    thread = threading.Thread(target=work)
    with listening(parts, folder) as port:
        url = f"http://127.0.0.1:{port}"
        monkeypatch.setenv("GNOMON_URL", url)
        monkeypatch.setenv("GNOMON_TOKEN", TOKEN)
        thread.start()
        try:
            with Client(url, TOKEN) as client:
                yield client
        finally:
            stop.set()
            thread.join()
