"""Work asked for over HTTP whose answers are lost: the client asks again by the same id, and it is done once."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from tests.gateway_world import TOKEN, bare_parts, listening

import gnomon as gn
from gnomon import operations_client
from gnomon.client import Client
from gnomon.contracts.apps import App
from gnomon.control_plane.parts import Parts
from gnomon.errors import Conflict, Unavailable


@pytest.fixture
def parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Parts:
    """The platform's own parts, with the source `events` and the deployment `risk`."""
    made = bare_parts(tmp_path / "home", monkeypatch)
    events = gn.DataSource("events", path="*.csv", id="id", event_time="at")
    doubled = gn.RequestFeature("doubled", request={"amount": "float64"}, expression=gn.col("amount") * 2)
    model = gn.Model("risk", label=gn.Label("bad", source=events, delay="0d"), features=[doubled])
    app = App.of("app", [events, doubled, model, gn.Deployment("risk", model=model)], root=str(tmp_path))
    schema = {"id": "string", "at": "timestamp", "amount": "float64", "bad": "bool"}
    made.definitions.apply(app.with_schemas({"events": schema}), actor="me")
    return made


@pytest.fixture
def gateway(parts: Parts, tmp_path: Path) -> Iterator[int]:
    """The gateway in a thread of this process; its port."""
    with listening(parts, tmp_path) as port:
        yield port


@contextmanager
def losing_answers(gateway: int, count: int) -> Iterator[str]:
    """Forward connections to the gateway, cutting off the first `count` once it has answered; yield the address."""

    def forward(listener: socket.socket) -> None:
        left = count
        while True:
            try:
                caller, _ = listener.accept()
            except OSError:  # closed: the test is over
                return
            with caller, closing(socket.create_connection(("127.0.0.1", gateway))) as behind:
                head, _, body = _message(caller)
                behind.sendall(head.replace(b"keep-alive", b"close") + b"\r\n\r\n" + body)
                answer = b"".join(iter(lambda: behind.recv(65536), b""))
                if left:
                    left -= 1
                else:
                    caller.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=forward, args=(listener,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def _message(caller: socket.socket) -> tuple[bytes, bytes, bytes]:
    received = b""
    while b"\r\n\r\n" not in received:
        received += caller.recv(65536)
    head, split, body = received.partition(b"\r\n\r\n")
    length = next(
        int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")
    )
    while len(body) < length:
        body += caller.recv(65536)
    return head, split, body


@pytest.mark.parametrize("lost", [1, 2])
def test_an_operation_whose_answer_was_lost_is_asked_for_once(parts: Parts, gateway: int, lost: int) -> None:
    with losing_answers(gateway, lost) as url, closing(Client(url, TOKEN)) as client:
        asked = client.operations.submit("ingest", "events")
    assert [operation.id for operation in parts.operations.list()] == [asked["id"]]


def test_the_error_of_lost_answers_names_the_operation(parts: Parts, gateway: int) -> None:
    with losing_answers(gateway, 3) as url, closing(Client(url, TOKEN)) as client:
        with pytest.raises(Unavailable, match="gnomon operations") as caught:
            client.operations.submit("ingest", "events")
        again = client.operations.submit("ingest", "events", operation_id=caught.value.details["id"])
    assert [operation.id for operation in parts.operations.list()] == [again["id"]]


def test_an_id_of_another_request_is_a_conflict(parts: Parts, gateway: int) -> None:
    with closing(Client(f"http://127.0.0.1:{gateway}", TOKEN)) as client:
        first = client.operations.submit("deploy", "risk", {"version": 1}, operation_id="mine")
        assert client.operations.submit("deploy", "risk", {"version": 1}, operation_id="mine") == first
        with pytest.raises(Conflict, match="'mine' exists with other arguments") as caught:
            client.operations.submit("deploy", "risk", {"version": 2}, operation_id="mine")
    assert (caught.value.hint, caught.value.http_status) == ("give a new request a new id", 409)
    assert [operation.id for operation in parts.operations.list()] == ["mine"]


def test_who_waits_is_told_when_the_platform_goes_away(
    parts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operations_client, "_AWAY_S", 1.0)
    seen: list[str] = []
    with listening(parts, tmp_path) as port:
        client = Client(f"http://127.0.0.1:{port}", TOKEN)
        asked = client.operations.submit("ingest", "events", operation_id="wait-1")
    with client, pytest.raises(Unavailable) as caught:
        client.operations.wait(asked, on_progress=lambda operation: seen.append(operation["progress"]))
    assert caught.value.details["id"] == "wait-1"
    assert "`gnomon operations wait-1`" in caught.value.hint
    assert seen == ["no answer from the platform: waiting up to 1 s"]
