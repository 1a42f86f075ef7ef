"""FastAPI on uvicorn in one process, with uvloop and httptools: a contestant of `served_prediction`."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from contestant import run
from fastapi import FastAPI, Request
from served_prediction.measured_server import MeasuredServer
from served_prediction.plain_prediction import PlainPrediction, write_features


def application() -> FastAPI:
    """Return the application; called by uvicorn in the server's process."""
    app, prediction = FastAPI(), PlainPrediction(os.environ["FEATURES_URL"])

    @app.post("/predict")
    async def predict(request: Request) -> dict[str, Any]:
        return prediction.answer(await request.body())

    return app


class UvicornFastApi:
    """The contestant; see `contestant.Contestant`."""

    def __init__(self) -> None:
        self._server: subprocess.Popen[bytes] | None = None
        self._measured: MeasuredServer | None = None

    def prepare(self, world: Mapping[str, Any]) -> None:
        """Write the features."""
        write_features(world["url"])

    def open(self, world: Mapping[str, Any]) -> dict[str, str]:
        """Start the server and wait for its first prediction."""
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self._server = server = subprocess.Popen(
            [sys.executable, "-m", "uvicorn", "--factory", "served_prediction.uvicorn_fastapi:application", "--port",
             str(port), "--no-access-log", "--log-level", "warning", "--loop", "uvloop", "--http", "httptools"],
            stdin=subprocess.DEVNULL, env={**os.environ, "FEATURES_URL": world["url"], "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        self._measured = MeasuredServer("127.0.0.1", port, "/predict", {})
        self._measured.wait(60.0, lambda: server.poll() is None)
        return {name: version(name) for name in ("fastapi", "uvicorn", "uvloop", "httptools", "redis", "numpy")}

    def measure(self, scenario: Mapping[str, Any], budget_s: float) -> dict[str, float]:
        """Load it."""
        assert self._measured is not None
        return self._measured.measure(scenario, budget_s)

    def close(self) -> None:
        """Stop the server."""
        if self._server is not None:
            self._server.terminate()
            self._server.wait()


if __name__ == "__main__":
    run(UvicornFastApi())
