"""How every contestant of `served_prediction` is loaded and waited for; imported by their programs."""

from __future__ import annotations

import http.client
import json
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
        """Return when a request is answered 200 with one finite prediction.

        Raises:
            RuntimeError: The server ended, or does not answer in time; with its last answer.
        """
        deadline_s, last = time.monotonic() + timeout_s, "nothing"
        while time.monotonic() < deadline_s and alive():
            try:
                status, answer = self._ask()
            except OSError as error:
                status, answer = 0, str(error).encode()
            if status == 200:
                value = json.loads(answer)["predictions"][0]["value"]
                assert 0.0 <= value <= 1.0, value
                return
            last = f"{status} {answer[:200]!r}"
            time.sleep(0.2)
        raise RuntimeError(f"no prediction from {self.host}:{self.port}{self.path}; last: {last}")

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
        program = Path(__file__).with_name("load.py")
        done = subprocess.run(
            [sys.executable, str(program)], input=json.dumps(orders), capture_output=True, text=True, check=False
        )  # fmt: skip
        if done.returncode:
            raise InvalidRoundError(f"the load ended with {done.stderr.strip().splitlines()[-1]}")
        found = json.loads(done.stdout)
        if found["errors"]:
            raise InvalidRoundError(f"of {found['requests']} requests and more some failed: {found['errors']}")
        return {name: found[name] for name in ("rps", "p50_ms", "p99_ms", "requests")}

    def _ask(self) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(self.host, self.port, timeout=10.0)
        try:
            headers = {**self.headers, "Content-Type": "application/json"}
            connection.request("POST", self.path, bodies()[0], headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def _request(self, body: bytes) -> bytes:
        headers = {
            "Host": f"{self.host}:{self.port}", **self.headers, "Content-Type": "application/json",
            "Content-Length": str(len(body)),
        }  # fmt: skip
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return f"POST {self.path} HTTP/1.1\r\n{lines}\r\n".encode() + body
