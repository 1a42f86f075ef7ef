"""A second head where the first one ends, and a wait that a stop ends; the heads are small programs that really run."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gnomon.errors import Unavailable
from gnomon.runtime.processes import free_ports, start, stop
from gnomon.runtime.ray_head import RayHead, with_head

_ENDS = "import sys; sys.exit(1)"
_STAYS = "import time; time.sleep(600)"
_ANSWERS = """
import http.server, sys
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Answer).serve_forever()
"""

Start = Callable[[str], RayHead]


@pytest.fixture
def start_program(tmp_path: Path) -> Iterator[Start]:
    started: list[RayHead] = []
    token = tmp_path / "token"
    token.write_text("t")

    def begin(program: str) -> RayHead:
        (port,) = free_ports(1)
        process = start([sys.executable, "-c", program, str(port)], log=tmp_path / "log")
        head = RayHead(process, "", f"http://127.0.0.1:{port}", token, "")
        started.append(head)
        return head

    yield begin
    for head in started:
        stop(head.process)


def test_a_head_that_ends_is_started_once_more(start_program: Start) -> None:
    programs = [_ENDS, _ANSWERS]
    ended: list[RayHead] = []
    head = with_head(lambda: start_program(programs.pop(0)), RayHead.wait_ready, ended.append)
    assert head.process.poll() is None
    assert [other.process.returncode for other in ended] == [1]


def test_the_second_end_is_the_last(start_program: Start) -> None:
    programs, ended = [_ENDS, _ENDS, _ANSWERS], list[RayHead]()
    with pytest.raises(Unavailable, match="ended with status 1"):
        with_head(lambda: start_program(programs.pop(0)), RayHead.wait_ready, ended.append)
    assert programs == [_ANSWERS]
    assert len(ended) == 1


def test_no_second_head_while_the_first_one_runs(start_program: Start) -> None:
    programs, ended = [_ANSWERS, _ANSWERS], list[RayHead]()

    def use(head: RayHead) -> None:
        head.wait_ready()
        raise Unavailable("the bootstrap failed")

    with pytest.raises(Unavailable, match="the bootstrap failed"):
        with_head(lambda: start_program(programs.pop(0)), use, ended.append)
    assert programs == [_ANSWERS]
    assert ended == []


def test_a_stop_ends_the_wait_for_a_head_that_does_not_answer(start_program: Start) -> None:
    asked = threading.Event()
    head = start_program(_STAYS)
    waiting = threading.Thread(target=head.wait_ready, args=(asked.is_set,))
    waiting.start()
    time.sleep(0.3)
    assert waiting.is_alive()
    asked.set()
    waiting.join(30)  # the head would be waited for three times as long
    assert not waiting.is_alive()
    assert head.process.poll() is None
