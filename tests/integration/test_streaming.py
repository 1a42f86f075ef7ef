"""The guide to streaming on a real platform: pushed events are online soon, also after the consumer was killed."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.local_platform import LocalPlatform
from tests.waiting import until

from gnomon.client import Client

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]
_PAGE = Path(__file__).resolve().parents[2] / "platform" / "docs" / "streaming.md"
_APP, _PUSH = re.findall(r"^```python\n(.*?)^```$", _PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalPlatform]:
    made = LocalPlatform(tmp_path_factory.mktemp("home") / "h")
    made.up()
    yield made
    made.down()


@pytest.fixture
def client(platform: LocalPlatform) -> Iterator[Client]:
    with platform.client() as made:
        yield made


def tap(number: int, card: int, amount: float) -> dict[str, Any]:
    return {"tap_id": f"t{number}", "card_id": card, "tapped_at": datetime.now(UTC).isoformat(), "amount": amount}


def online(client: Client, card: int) -> list[Any]:
    return [feature["value"] for feature in client.features("activity", card_id=card)["features"].values()]


def soon(condition: Callable[[], bool]) -> None:
    until(condition, 120.0, 0.05)


def test_the_guide(platform: LocalPlatform, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    (platform.home / "taps.jsonl").write_text(json.dumps(tap(0, 1, 1.0)) + "\n")
    (platform.home / "more_taps.jsonl").write_text("".join(json.dumps(tap(n, 1, float(n))) + "\n" for n in (1, 2)))
    (platform.home / "taps_app.py").write_text(_APP)
    platform.done("apply", "taps_app.py")
    first = platform.json("push", "taps", "--file", "more_taps.jsonl")
    assert (first["accepted"], first["quarantined"]) == (2, 0)
    soon(lambda: online(client, 1) == [2, 3.0, 2.0])
    names: dict[str, Any] = {}
    monkeypatch.setenv("GNOMON_HOME", str(platform.home))
    exec(compile(_PUSH, str(_PAGE), "exec"), names)
    report = names["report"]
    assert (report["accepted"], report["duplicates"], report["quarantined"]) == (1, 1, 1)
    assert report["rejects"][0]["rule"] == "min:amount"
    soon(lambda: online(client, 7) == [1, 2.5, 2.5])
    (view,) = client.status()["views"]
    assert view["stream"]["state"] == "ok"
    assert "fresh view activity: ok" in platform.done("status")


def test_a_killed_consumer_is_restarted_and_goes_on(platform: LocalPlatform, client: Client) -> None:
    before = consumer_pid(platform)
    os.kill(before, signal.SIGKILL)
    client.push("taps", [tap(500, 9, 4.0), tap(501, 9, 5.0)])
    soon(lambda: online(client, 9) == [2, 9.0, 5.0])
    assert consumer_pid(platform) != before


def consumer_pid(platform: LocalPlatform) -> int:
    """Return the process of the stream consumer's actor in this platform's home."""

    def titled() -> list[int]:
        found = []
        for pid in platform.processes():
            with suppress(FileNotFoundError, ProcessLookupError):
                if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"ray::StreamActor"):
                    found.append(pid)
        return found

    return until(titled, 60.0)[0]
