"""Ours: a platform started by `gnomon up`, events through its gateway, values read from its online store; in `stream`.

Four senders share the rate, each with a batch every tenth of a second. One event of twenty is followed: from before its
push is called until the online value of its user has it. Whoever looks does so about every 5 ms.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from contestant import InvalidRoundError, percentile, run

from gnomon.client import Client
from gnomon.features.read_plan import read_plan
from gnomon.features.redis_online_store import RedisOnlineStore
from gnomon.runtime.app_code import load_app

_APP = Path(__file__).with_name("events_app.py")
_SENDERS, _USERS, _FOLLOWED = 4, 2_000, 20
_PAUSE_S, _PATIENCE_S, _READY_S = 0.1, 20.0, 120.0
_FIELDS = {"id": "string", "at": "timestamp", "user": "int64", "number": "int64", "x": "float64"}


class GnomonStream:
    """The contestant; see `contestant.Contestant`."""

    def __init__(self) -> None:
        self._is_up = False
        self._next = 1
        self._numbering = threading.Lock()

    def prepare(self, world: Mapping[str, Any]) -> None:
        """Write the app and its source's first file."""
        folder = Path(world["folder"])
        shutil.copy(_APP, folder / "events_app.py")
        (folder / "events.jsonl").write_text(
            '{"id": "0", "at": "2026-01-01T00:00:00Z", "user": 0, "number": 0, "x": 0.5}\n'
        )

    def open(self, world: Mapping[str, Any]) -> dict[str, str]:
        """Start the platform, apply the app, and wait until a first event is online."""
        folder = Path(world["folder"])
        (folder / "user").mkdir(exist_ok=True)
        for name in ("PYTHONPATH", "PYTHONSAFEPATH"):  # of the harness, not for the platform
            os.environ.pop(name, None)
        os.environ |= {
            "GNOMON_HOME": str(folder / "home"), "GNOMON_PORT": "0", "GNOMON_DASHBOARD_PORT": "0",
            "GNOMON_ONLINE_URL": world["url"], "HOME": str(folder / "user"),
        }  # fmt: skip
        _gnomon("up")
        self._is_up = True
        app, _ = load_app(folder / "events_app.py")
        self._plan = read_plan(app.with_schemas({"events": _FIELDS}), ["activity.number_max_30d"])
        self._store = RedisOnlineStore(world["url"], "default", 5.0)
        with Client.connect() as client:
            client.apply(folder / "events_app.py")
            self._push(client, 1, [])
        deadline_s = time.monotonic() + _READY_S
        while self._newest([0])[0] < 1:
            if time.monotonic() > deadline_s:
                raise TimeoutError(f"no event was online within {_READY_S:.0f} s")
            time.sleep(0.1)
        return {name: version(name) for name in ("gnomon", "ray", "pyarrow", "polars", "numpy")}

    def measure(self, scenario: Mapping[str, Any], budget_s: float) -> dict[str, float]:
        """Send at the rate for the budget, and wait until all that is followed is online."""
        waiting: list[tuple[int, int, float]] = []
        answers_s: list[float] = []
        failures: list[str] = []
        ends_s = time.monotonic() + budget_s
        began_s, first = time.monotonic(), self._next
        batch = max(1, round(scenario["rate"] * _PAUSE_S / _SENDERS))

        def send() -> None:
            try:
                with Client.connect() as client:
                    due_s = time.monotonic() + random.uniform(0, _PAUSE_S)
                    while due_s < ends_s:
                        time.sleep(max(0.0, due_s - time.monotonic()))
                        called_s = time.monotonic()
                        self._push(client, batch, waiting)
                        answers_s.append(time.monotonic() - called_s)
                        due_s += _PAUSE_S
            except Exception as error:  # noqa: BLE001 - the edge of the thread: the round does not count then
                failures.append(f"{type(error).__name__}: {error}")

        senders = [threading.Thread(target=send) for _ in range(_SENDERS)]
        for sender in senders:
            sender.start()
        taken_s = self._follow(waiting, senders)
        for sender in senders:
            sender.join()
        elapsed_s = max(time.monotonic(), ends_s) - began_s if waiting else ends_s - began_s
        if failures or waiting:
            raise InvalidRoundError(failures[0] if failures else f"{len(waiting)} events were not online in time")
        taken_s.sort()
        answers_s.sort()
        return {
            "rate": (self._next - first) / min(elapsed_s, budget_s),
            **{f"p{share}_ms": percentile(taken_s, share / 100) * 1e3 for share in (50, 95, 99)},
            **{f"answer_p{share}_ms": percentile(answers_s, share / 100) * 1e3 for share in (50, 95)},
        }

    def close(self) -> None:
        """Stop the platform."""
        if self._is_up:
            _gnomon("down")
            self._is_up = False

    def _push(self, client: Client, rows: int, followed: list[tuple[int, int, float]]) -> None:
        with self._numbering:
            numbers = range(self._next, self._next + rows)
            self._next += rows
        now_s, at = time.monotonic(), datetime.now(UTC).isoformat()
        events = [
            {"id": str(n), "at": at, "user": n % _USERS if n > 1 else 0, "number": n, "x": random.gauss(0, 1)}
            for n in numbers
        ]
        followed.extend((e["user"], e["number"], now_s) for e in events if e["number"] % _FOLLOWED == 0)
        report = client.push("events", events)
        if report["accepted"] != rows:
            raise InvalidRoundError(f"{report['accepted']} of {rows} rows were accepted: {report}")

    def _follow(self, waiting: list[tuple[int, int, float]], senders: list[threading.Thread]) -> list[float]:
        """Look again and again at the users whose events are followed; return how long each event took."""
        taken_s: list[float] = []
        patience_s = time.monotonic() + _PATIENCE_S
        while waiting or any(sender.is_alive() for sender in senders):
            if any(sender.is_alive() for sender in senders):
                patience_s = time.monotonic() + _PATIENCE_S
            elif time.monotonic() > patience_s:
                break
            looked = list(waiting)
            newest = dict(zip([user for user, _, _ in looked], self._newest([u for u, _, _ in looked]), strict=True))
            now_s = time.monotonic()
            for event in looked:
                user, number, sent_s = event
                if newest[user] >= number:
                    taken_s.append(now_s - sent_s)
                    waiting.remove(event)
            time.sleep(0.005)
        return taken_s

    def _newest(self, users: list[int]) -> list[int]:
        if not users:
            return []
        rows = self._store.read(self._plan, [{"user": user} for user in users], time.time_ns() // 1000)
        return [-1 if value is None else int(value) for value in rows.values[self._plan.names[0]]]


def _gnomon(command: str) -> None:
    subprocess.run([str(Path(sys.executable).with_name("gnomon")), command], check=True, stdin=subprocess.DEVNULL)


if __name__ == "__main__":
    run(GnomonStream())
