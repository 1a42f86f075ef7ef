"""How every contestant of `served_prediction` is loaded and waited for; imported by their programs."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contestant import InvalidRoundError
from served_prediction.payments import bodies

_WARM_UP_SHARE = 0.2
_SETTLED_S = 2.0


class _NotAnsweredError(Exception):
    """A request was not answered with a prediction."""


@dataclass(frozen=True)
class MeasuredServer:
    """A server that answers predict requests.

    Attributes:
        host: Where it listens.
        port: Where it listens.
        path: Of the route.
        headers: Beyond those that every request has.
    """

    host: str
    port: int
    path: str
    headers: Mapping[str, str]

    def wait(self, timeout_s: float, alive: Callable[[], bool] = lambda: True) -> None:
        """Return when one connection was answered well for a while: a proxy that has just started reloads once more.

        Raises:
            RuntimeError: The server ended, or does not answer in time; with its last answer.
        """
        deadline_s, last = time.monotonic() + timeout_s, "nothing"
        while time.monotonic() < deadline_s and alive():
            connection = http.client.HTTPConnection(self.host, self.port, timeout=10.0)
            try:
                settled_s = time.monotonic() + _SETTLED_S
                while time.monotonic() < settled_s:
                    self._ask(connection)
                    time.sleep(0.05)
            except (OSError, http.client.HTTPException, _NotAnsweredError) as error:
                last = f"{type(error).__name__}: {error}"
                time.sleep(0.2)
            else:
                return
            finally:
                connection.close()
        raise RuntimeError(f"no predictions from {self.host}:{self.port}{self.path}; last: {last}")

    def measure(self, scenario: Mapping[str, Any], budget_s: float) -> dict[str, float]:
        """Load the server from a process of its own.

        Raises:
            InvalidRoundError: Some request was not answered with 200.
        """
        orders = {
            "host": self.host, "port": self.port, "concurrency": scenario["concurrency"],
            "requests": [self._request(body).decode() for body in bodies()],
            "warm_up_s": budget_s * _WARM_UP_SHARE, "duration_s": budget_s,
        }  # fmt: skip
        folder = Path(__file__).parent
        done = subprocess.run(
            [sys.executable, str(folder / "load.py")], input=json.dumps(orders), capture_output=True, text=True,
            check=False, env={**os.environ, "PYTHONPATH": str(folder.parent)},
        )  # fmt: skip
        if done.returncode:
            raise InvalidRoundError(f"the load ended with {done.stderr.strip().splitlines()[-1]}")
        found = json.loads(done.stdout)
        if found["errors"] or not found["requests"]:
            raise InvalidRoundError(f"of {found['requests']} requests and more some failed: {found['errors']}")
        return {name: found[name] for name in ("rps", "p50_ms", "p99_ms", "requests")}

    def _ask(self, connection: http.client.HTTPConnection) -> None:
        connection.request("POST", self.path, bodies()[0], {**self.headers, "Content-Type": "application/json"})
        answer = connection.getresponse()
        content = answer.read()
        if answer.status != 200:
            raise _NotAnsweredError(f"{answer.status} {content[:200]!r}")
        value = json.loads(content)["predictions"][0]["value"]
        if not 0.0 <= value <= 1.0:
            raise _NotAnsweredError(f"the prediction {value} is no probability")

    def _request(self, body: bytes) -> bytes:
        headers = {
            "Host": f"{self.host}:{self.port}", **self.headers, "Content-Type": "application/json",
            "Content-Length": str(len(body)),
        }  # fmt: skip
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return f"POST {self.path} HTTP/1.1\r\n{lines}\r\n".encode() + body
