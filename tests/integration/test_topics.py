"""The guide to topics on a real platform: messages are online soon, and in training sets, also after a kill."""

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

import pyarrow.parquet as pq
import pytest
from tests.kafka_broker import KafkaBroker, running
from tests.local_platform import LocalPlatform
from tests.waiting import until

from gnomon.client import Client

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]
_PAGE = Path(__file__).resolve().parents[2] / "platform" / "docs" / "topics.md"
_APP, _SEND, _SECURE = re.findall(
    r"^```python\n(.*?)^```$", _PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
)  # fmt: skip


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaBroker]:
    with running(KafkaBroker(tmp_path_factory.mktemp("kafka"))) as made:
        yield made


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory, broker: KafkaBroker) -> Iterator[LocalPlatform]:
    made = LocalPlatform(tmp_path_factory.mktemp("home") / "h", {"TAPS_KAFKA": broker.servers})
    (made.home / "taps_app.py").write_text(_APP)
    made.up()
    yield made
    made.down()


@pytest.fixture
def client(platform: LocalPlatform) -> Iterator[Client]:
    with platform.client() as made:
        yield made


def online(client: Client, card: int) -> list[Any]:
    return [feature["value"] for feature in client.features("activity", card_id=card)["features"].values()]


def soon(condition: Callable[[], Any]) -> Any:
    return until(condition, 120.0, 0.05)


def topic_of(client: Client) -> dict[str, Any]:
    (source,) = client.status()["sources"]
    found: dict[str, Any] = source["topic"]
    return found


def test_the_guide(
    platform: LocalPlatform, broker: KafkaBroker, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    refused = platform.run("plan", "taps_app.py")
    assert refused.returncode == 2
    assert "there is no topic 'taps'" in refused.stderr + refused.stdout
    broker.create_topic("taps", 3)
    platform.done("apply", "taps_app.py")
    monkeypatch.setenv("TAPS_KAFKA", broker.servers)
    exec(compile(_SEND, str(_PAGE), "exec"), {})
    soon(lambda: online(client, 7) == [2, 6.5])
    platform.done("export", "training-set", "fraud", "--out", "fraud.parquet")
    rows = pq.read_table(platform.home / "fraud.parquet").sort_by("_event_id").to_pylist()
    assert [(row["_event_id"], row["label"]) for row in rows] == [("t0", 0.0), ("t1", 1.0)]
    (rejected,) = client.history.quarantine("taps", 10)["rows"]
    assert rejected["rule"] == "min:amount"
    assert re.fullmatch(r"topic taps, partition [012]", rejected["file"])
    soon(lambda: sum(each["next"] for each in topic_of(client).get("partitions", {}).values()) == 3)
    assert "topic taps of source taps: ok, 0 messages behind in 3 partitions" in platform.done("status")
    assert [done["rows_read"] for done in platform.json("ingest", "taps")] == [0]
    exec(compile(f"import gnomon as gn\n{_SECURE}", str(_PAGE), "exec"), {})


def test_a_killed_consumer_is_restarted_and_goes_on(
    platform: LocalPlatform, broker: KafkaBroker, client: Client
) -> None:  # fmt: skip
    before = consumer_pid(platform)
    os.kill(before, signal.SIGKILL)
    now = datetime.now(UTC).isoformat()
    tap = {"card_id": 9, "tapped_at": now, "amount": 4.0, "is_fraud": False}
    broker.send("taps", *(json.dumps({"tap_id": f"k{n}", **tap}) for n in range(2)), partition=1)
    soon(lambda: online(client, 9) == [2, 8.0])
    assert consumer_pid(platform) != before


def consumer_pid(platform: LocalPlatform) -> int:
    """Return the process of the topic consumer's actor in this platform's home."""

    def titled() -> list[int]:
        found = []
        for pid in platform.processes():
            with suppress(FileNotFoundError, ProcessLookupError):
                if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"ray::TopicActor"):
                    found.append(pid)
        return found

    return until(titled, 60.0)[0]
