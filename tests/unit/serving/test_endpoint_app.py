"""The HTTP side of an endpoint, called as an ASGI server calls it."""

from __future__ import annotations

import asyncio
import json
import math
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from gnomon.contracts.predictions import PredictionRecord
from gnomon.errors import GnomonError, Unavailable
from gnomon.features.redis_online_store import RedisOnlineStore
from gnomon.serving.endpoint_app import BODY_LIMIT_BYTES, EndpointApp
from gnomon.serving.parts import ServingParts
from gnomon.serving.request_path import Answer, RequestPath
from gnomon.serving.request_path_loading import load_request_path

PREFIX = "/endpoints/fraud"


@dataclass
class Counts:
    """What was noted."""

    rows: int = 0
    failures: list[str] = field(default_factory=list)

    def answered(self, latency_s: float, rows: int, status: object) -> None:
        self.rows += rows

    def failed(self, code: str) -> None:
        self.failures.append(code)


@pytest.fixture
def path(world: ModuleType, folder: Path, parts: ServingParts) -> RequestPath:
    return load_request_path(world.target_of(folder), parts, None)


@pytest.fixture
def counts() -> Counts:
    return Counts()


@pytest.fixture
def app(path: RequestPath, world: ModuleType, parts: ServingParts, counts: Counts) -> EndpointApp:
    return EndpointApp(path, world.TOKEN, 0.5, parts.online.ping, counts)


async def _call(
    app: EndpointApp, method: str, path: str, chunks: list[bytes], headers: Mapping[str, str]
) -> tuple[int, dict[bytes, bytes], Any]:
    messages = [
        {"type": "http.request", "body": chunk, "more_body": i + 1 < len(chunks)} for i, chunk in enumerate(chunks)
    ]
    sent: list[Any] = []

    async def receive() -> Any:
        return messages.pop(0) if messages else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http", "method": method, "path": PREFIX + path, "root_path": PREFIX,
        "headers": [(k.encode(), v.encode()) for k, v in headers.items()],
    }  # fmt: skip
    await app(scope, receive, send)
    start, body = sent
    return start["status"], dict(start["headers"]), json.loads(body["body"])


def call(app: EndpointApp, method: str, path: str, *chunks: bytes, token: str | None = "a-token-of-the-tests") -> Any:
    headers = {} if token is None else {"authorization": f"Bearer {token}"}
    return asyncio.run(_call(app, method, path, list(chunks) or [b""], headers))


def rows(*found: Any) -> bytes:
    return json.dumps({"rows": found}).encode()


def test_a_prediction_is_answered_and_counted(app: EndpointApp, world: ModuleType, counts: Counts) -> None:
    status, headers, body = call(app, "POST", "/predict", rows(world.ROW, world.ROW))
    assert (status, headers[b"content-type"], len(body["predictions"])) == (200, b"application/json", 2)
    assert (counts.rows, counts.failures) == (2, [])


def test_a_body_may_come_in_pieces(app: EndpointApp, world: ModuleType) -> None:
    body = rows(world.ROW)
    assert call(app, "POST", "/predict", body[:10], body[10:11], body[11:])[0] == 200


@pytest.mark.parametrize("token", [None, "", "wrong", "a-token-of-the-tests2"])
@pytest.mark.parametrize(("method", "path"), [("POST", "/predict"), ("GET", "/signature"), ("GET", "/nothing")])
def test_without_the_token_nothing_is_told(app: EndpointApp, token: str | None, method: str, path: str) -> None:
    status, headers, body = call(app, method, path, token=token)
    assert (status, headers[b"www-authenticate"], body["error"]["code"]) == (401, b"Bearer", "unauthenticated")


def test_live_and_ready_need_no_token(app: EndpointApp) -> None:
    assert call(app, "GET", "/live", token=None)[0] == 200
    status, _, body = call(app, "GET", "/ready", token=None)
    assert (status, body["status"], body["version"]) == (200, "ready", 1)


def test_the_signature_is_told(app: EndpointApp) -> None:
    _, _, body = call(app, "GET", "/signature")
    assert body["keys"] == {"customer_id": "int64"}
    assert {"amount", "channel", "at"} == {*body["request"]}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/predict", 405), ("POST", "/live", 405), ("GET", "/x", 404), ("GET", "", 404)],
)
def test_other_routes_are_refused_with_the_known_ones(app: EndpointApp, method: str, path: str, status: int) -> None:
    found, _, body = call(app, method, path)
    assert found == status
    assert "POST /predict" in body["error"]["hint"]


def test_bad_input_is_the_callers_fault(app: EndpointApp, counts: Counts) -> None:
    status, _, body = call(app, "POST", "/predict", b'{"rows": [{"custmer_id": 1}]}')
    assert (status, body["error"]["code"], body["error"]["retryable"]) == (400, "invalid_input", False)
    assert "did you mean 'customer_id'?" in body["error"]["hint"]
    assert counts.failures == ["invalid_input"]


def test_a_large_body_is_refused_before_it_is_whole(app: EndpointApp) -> None:
    piece = b"x" * (BODY_LIMIT_BYTES // 2 + 1)
    status, _, body = call(app, "POST", "/predict", piece, piece, piece)
    assert status == 413
    assert str(BODY_LIMIT_BYTES) in body["error"]["message"]


class SlowPath(RequestPath):
    """Answers after a while, as with a frozen online store or a slow function of the app."""

    def __init__(self, path: RequestPath, pause_s: float) -> None:
        self.__dict__ = path.__dict__
        self.pause_s = pause_s

    def answer_many(self, bodies: Sequence[bytes], deadline_s: float = math.inf) -> list[Answer | GnomonError]:
        time.sleep(self.pause_s)
        return super().answer_many(bodies, deadline_s)


def test_slow_requests_leave_the_loop_free_and_meet_the_deadline(
    path: RequestPath, world: ModuleType, counts: Counts
) -> None:
    slow = SlowPath(path, 0.1)
    app = EndpointApp(slow, world.TOKEN, 0.5, lambda: None, counts)
    assert call(app, "POST", "/predict", rows(world.ROW))[0] == 200
    slow.pause_s = 1.0
    headers = {"authorization": f"Bearer {world.TOKEN}"}

    async def several() -> tuple[list[Any], float]:
        asked = [asyncio.create_task(_call(app, "POST", "/predict", [rows(world.ROW)], headers)) for _ in range(4)]
        await asyncio.sleep(0.1)
        began_s = time.monotonic()
        await _call(app, "GET", "/live", [b""], {})
        pause_s = time.monotonic() - began_s
        return await asyncio.gather(*asked), pause_s

    answers, pause_s = asyncio.run(several())
    assert [(status, body["error"]["code"]) for status, _, body in answers] == [(504, "timeout")] * 4
    assert pause_s < 0.4, "the health check waited for the slow requests"
    slow.pause_s = 0.0
    assert call(app, "POST", "/predict", rows(world.ROW))[0] == 200


class Late:
    """A stage of the request path that takes longer than the deadline, and then answers as the real one."""

    def __init__(self, real: Any, pause_s: float) -> None:
        self._real = real
        self._pause_s = pause_s

    def _paused(self, method: str, *values: Any) -> Any:
        time.sleep(self._pause_s)
        return getattr(self._real, method)(*values)

    def predict(self, columns: Any) -> Any:
        return self._paused("predict", columns)

    def compute(self, columns: Any, rows: int | None = None) -> Any:
        return self._paused("compute", columns, rows)

    def read(self, plan: Any, keys: Any, now_us: int, timeout_s: float | None = None) -> Any:
        return self._paused("read", plan, keys, now_us)


class Logged(list[PredictionRecord]):
    """A sink that keeps what it is given."""

    def put(self, record: PredictionRecord) -> None:
        self.append(record)

    def flush(self) -> None:
        """Everything is here already."""


@pytest.mark.parametrize("stage", ["_online", "_features", "_predictor"])
@pytest.mark.parametrize("inline", [True, False])
def test_the_deadline_holds_after_every_stage(
    world: ModuleType, folder: Path, parts: ServingParts, counts: Counts, stage: str, inline: bool
) -> None:
    logged = Logged()
    path = load_request_path(world.target_of(folder), parts, logged)
    setattr(path, stage, Late(getattr(path, stage), 0.3))
    app = EndpointApp(path, world.TOKEN, 0.2, lambda: None, counts)
    app._is_quick = inline
    status, _, body = call(app, "POST", "/predict", rows(world.ROW))
    assert (status, body["error"]["code"], body["error"]["retryable"]) == (504, "timeout", True)
    assert counts.failures == ["timeout"]
    app._threads.shutdown(wait=True)
    assert logged == [], "nobody got that prediction"


@pytest.fixture
def silent_server() -> Iterator[int]:
    """The port of a server that takes connections and requests, and never answers."""
    server = socket.create_server(("127.0.0.1", 0))
    taken: list[socket.socket] = []

    def take() -> None:
        while True:
            try:
                taken.append(server.accept()[0])
            except OSError:
                return

    thread = threading.Thread(target=take)
    thread.start()
    yield server.getsockname()[1]
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    thread.join()
    for connection in taken:
        connection.close()


@pytest.mark.parametrize("password", ["", ":secret@"])
def test_a_store_that_never_answers_is_waited_for_until_the_deadline_only(
    path: RequestPath, world: ModuleType, counts: Counts, silent_server: int, password: str
) -> None:
    never_s = 3600.0  # the store's own deadline; without the request's this test would take that long
    path._online = RedisOnlineStore(f"redis://{password}127.0.0.1:{silent_server}/0", "test", never_s)
    app = EndpointApp(path, world.TOKEN, 0.2, lambda: None, counts)
    status, _, body = call(app, "POST", "/predict", rows(world.ROW))
    assert (status, body["error"]["code"]) == (504, "timeout")
    assert "the online store" in body["error"]["message"]


def test_a_store_that_is_slower_than_its_own_deadline_is_unavailable(
    path: RequestPath, world: ModuleType, counts: Counts, silent_server: int
) -> None:
    path._online = RedisOnlineStore(f"redis://127.0.0.1:{silent_server}/0", "test", 0.1)
    app = EndpointApp(path, world.TOKEN, 60.0, lambda: None, counts)
    status, _, body = call(app, "POST", "/predict", rows(world.ROW))
    assert (status, body["error"]["code"]) == (503, "unavailable")


def test_requests_that_come_together_are_answered_together(app: EndpointApp, world: ModuleType, counts: Counts) -> None:
    headers = {"authorization": f"Bearer {world.TOKEN}"}
    bodies = [rows({**world.ROW, "customer_id": key, "prediction_id": f"p{key}"}) for key in range(5)]
    bodies.insert(2, b"{")

    async def all_at_once() -> list[Any]:
        return await asyncio.gather(*(_call(app, "POST", "/predict", [body], headers) for body in bodies))

    answers = asyncio.run(all_at_once())
    assert [status for status, _, _ in answers] == [200, 200, 400, 200, 200, 200]
    ids = [body["predictions"][0]["id"] for status, _, body in answers if status == 200]
    assert ids == [f"p{key}" for key in range(5)]


def test_a_dead_store_makes_it_unready_and_requests_retryable(
    path: RequestPath, world: ModuleType, counts: Counts
) -> None:
    def dead() -> None:
        raise Unavailable("the online store at nowhere cannot be reached")

    app = EndpointApp(path, world.TOKEN, 0.5, dead, counts)
    status, headers, body = call(app, "GET", "/ready", token=None)
    assert (status, headers[b"retry-after"], body["error"]["retryable"]) == (503, b"1", True)


def test_an_unexpected_error_is_ours_and_tells_no_secrets(path: RequestPath, world: ModuleType, counts: Counts) -> None:
    class Failing(SlowPath):
        def answer_many(self, bodies: Sequence[bytes], deadline_s: float = math.inf) -> list[Answer | GnomonError]:
            raise ZeroDivisionError("secret")

    app = EndpointApp(Failing(path, 0), world.TOKEN, 0.5, lambda: None, counts)
    status, _, body = call(app, "POST", "/predict", rows(world.ROW))
    assert status == 500
    assert "secret" not in json.dumps(body)
    assert counts.failures == ["operation_failed"]
