"""The HTTP side of an endpoint: a bare ASGI application around a `RequestPath`.

POST /predict and GET /signature ask for the token; GET /live and GET /ready do not. It runs in the replica's event
loop, built by `serving.replica`; a framework here would cost as much as the whole prediction.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterable, MutableMapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, Protocol

import numpy as np

from gnomon.errors import GnomonError, InvalidInput, OperationFailed, TimedOut, Unauthenticated
from gnomon.runtime.bearer_tokens import authorized
from gnomon.serving.request_path import Answer, RequestPath
from gnomon.telemetry.logs import logger

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

BODY_LIMIT_BYTES: Final = 4 * 1024 * 1024
_METHODS: Final = {"/predict": "POST", "/signature": "GET", "/live": "GET", "/ready": "GET"}
_OPEN: Final = frozenset({"/live", "/ready"})
_INLINE_BYTES: Final = 32 * 1024
_INLINE_S: Final = 0.02
_THREADS: Final = 8
_JSON: Final = (b"content-type", b"application/json")


class Noted(Protocol):
    """What counts requests: `serving.endpoint_metrics.EndpointMetrics`."""

    def answered(self, latency_s: float, rows: int, status: np.ndarray[Any, Any]) -> None:
        """Note an answered request."""
        ...

    def failed(self, code: str) -> None:
        """Note a request that was answered with an error."""
        ...


class EndpointApp:
    """The ASGI application.

    Requests are answered in the event loop while they are quick, as nearly all are: a thread costs more than it saves.
    After a slow one they go to threads until one is quick again, so that a frozen online store or a slow function of
    the app does not stop the health checks. The deadline holds in both: the request path gives up when it has passed,
    and waits for the online store no longer than until then.

    Args:
        path: Answers requests.
        token: What they must carry.
        timeout_s: A request that takes longer, from its arrival on, is answered 504.
        check_ready: Raises Unavailable while the endpoint cannot answer; called in a thread.
        metrics: Counts requests.
    """

    def __init__(
        self, path: RequestPath, token: str, timeout_s: float, check_ready: Callable[[], None], metrics: Noted
    ) -> None:  # fmt: skip
        if not token:
            raise Unauthenticated("the endpoint has no token", "start the platform with `gnomon up`, which makes one")
        self._path = path
        self._token = token
        self._timeout_s = timeout_s
        self._check_ready = check_ready
        self._metrics = metrics
        self._threads = ThreadPoolExecutor(_THREADS, "predict")
        self._is_quick = True
        self._waiting: list[tuple[bytes, float, asyncio.Future[Answer]]] = []

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        started_s = time.monotonic()
        try:
            status, body = await self._respond(scope, receive, started_s)
        except GnomonError as error:
            status, body = error.http_status, _error_body(error)
            self._metrics.failed(error.code)
        except _TooLargeError as error:
            status, body = 413, _error_body(error.problem)
            self._metrics.failed("too_large")
        except TimeoutError:
            late = TimedOut(f"no answer within {self._timeout_s:g} s", "repeat it, with fewer rows if it has many")
            status, body = late.http_status, _error_body(late)
            self._metrics.failed(late.code)
        except _ClientGoneError:
            return
        except Exception as error:  # noqa: BLE001
            # The edge of a request: the cause goes to the log; the caller learns that it is our fault, not theirs.
            logger().error("prediction failed", deployment=self._path.served.deployment, exc_info=error)
            problem = OperationFailed(f"internal error: {type(error).__name__}", "`gnomon logs` shows the cause")
            status, body = 500, _error_body(problem)
            self._metrics.failed(problem.code)
        await _send(send, status, body)

    async def _respond(self, scope: Message, receive: Receive, started_s: float) -> tuple[int, bytes]:
        path = str(scope["path"]).removeprefix(scope.get("root_path") or "")
        if path not in _OPEN and not authorized(scope["headers"], self._token):
            raise Unauthenticated(
                "the access token is missing, or not this platform's",
                "send `Authorization: Bearer TOKEN`; `gnomon env` prints it, and GNOMON_TOKEN is sent where it is set",
            )
        if path == "/predict" and scope["method"] == "POST":
            deadline_s = started_s + self._timeout_s
            body = await self._body(scope["headers"], receive, deadline_s)
            answer = await self._answer(body, deadline_s)
            latency_s = time.monotonic() - started_s
            if latency_s >= self._timeout_s:
                raise TimeoutError
            self._metrics.answered(latency_s, answer.rows, answer.status)
            return 200, answer.body
        if _METHODS.get(path) != scope["method"]:
            return self._elsewhere(path, scope["method"])
        served = self._path.served
        about = {"deployment": served.deployment, "model": served.model, "version": served.version}
        if path == "/ready":
            loop = asyncio.get_running_loop()
            await asyncio.wait_for(loop.run_in_executor(self._threads, self._check_ready), self._timeout_s)
            return 200, json.dumps({"status": "ready", **about}).encode()
        if path == "/live":
            return 200, b'{"status": "live"}'
        return 200, json.dumps({**about, **self._path.signature.as_json()}).encode()

    def _elsewhere(self, path: str, method: str) -> tuple[int, bytes]:
        routes = ", ".join(f"{m} {p}" for p, m in _METHODS.items())
        problem = InvalidInput(f"there is no {method} {path or '/'} here", f"this endpoint has {routes}").as_json()
        if path in _METHODS:
            return 405, json.dumps({"error": problem}).encode()
        return 404, json.dumps({"error": {**problem, "code": "not_found"}}).encode()

    async def _body(self, headers: Iterable[tuple[bytes, bytes]], receive: Receive, deadline_s: float) -> bytes:
        for name, value in headers:
            if name == b"content-length" and value.isdigit() and int(value) > BODY_LIMIT_BYTES:
                raise _TooLargeError
        message = await receive()
        if message["type"] == "http.request" and not message.get("more_body"):
            whole: bytes = message.get("body", b"")
            _check_size(whole)
            return whole
        chunks = bytearray()
        async with asyncio.timeout(deadline_s - time.monotonic()):
            while message["type"] == "http.request":
                chunks += message.get("body", b"")
                _check_size(chunks)
                if not message.get("more_body"):
                    return bytes(chunks)
                message = await receive()
        raise _ClientGoneError

    async def _answer(self, body: bytes, deadline_s: float) -> Answer:
        if self._is_quick and len(body) <= _INLINE_BYTES:
            return await self._join(body, deadline_s)
        started_s = time.perf_counter()
        try:
            work = asyncio.get_running_loop().run_in_executor(self._threads, self._path.answer, body, deadline_s)
            return await asyncio.wait_for(work, deadline_s - time.monotonic())
        finally:
            self._is_quick = time.perf_counter() - started_s < _INLINE_S

    def _join(self, body: bytes, deadline_s: float) -> asyncio.Future[Answer]:
        """Let a request be answered with those that came in the same turn of the event loop; nobody waits for more."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Answer] = loop.create_future()
        self._waiting.append((body, deadline_s, answer))
        if len(self._waiting) == 1:
            loop.call_soon(self._answer_waiting)
        return answer

    def _answer_waiting(self) -> None:
        waiting, self._waiting = self._waiting, []
        started_s = time.perf_counter()
        answers: Sequence[Answer | Exception]
        try:
            # The last of their deadlines: none of them fails for another's sake.
            answers = self._path.answer_many([b for b, _, _ in waiting], max(d for _, d, _ in waiting))
        except Exception as error:  # noqa: BLE001
            # Nobody stands above this call of the event loop: the error goes to those who wait.
            answers = [error] * len(waiting)
        self._is_quick = time.perf_counter() - started_s < _INLINE_S
        for (_, _, future), answer in zip(waiting, answers, strict=True):
            if future.done():
                continue  # its client has gone
            if isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result(answer)


class _TooLargeError(Exception):
    def __init__(self) -> None:
        super().__init__()
        self.problem = InvalidInput(
            f"the body is larger than {BODY_LIMIT_BYTES} bytes", "send the rows in several requests"
        )


class _ClientGoneError(Exception):
    pass


def _check_size(body: bytes | bytearray) -> None:
    if len(body) > BODY_LIMIT_BYTES:
        raise _TooLargeError


def _error_body(error: GnomonError) -> bytes:
    return json.dumps({"error": error.as_json()}).encode()


async def _send(send: Send, status: int, body: bytes) -> None:
    headers = [_JSON, (b"content-length", b"%d" % len(body))]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    if status in (429, 503):
        headers.append((b"retry-after", b"1"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
