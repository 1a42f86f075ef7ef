"""A platform's parts with a view that is defined anew again and again, and model versions that were trained with it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import redis

import gnomon as gn
from gnomon import composition
from gnomon.contracts.apps import App
from gnomon.contracts.deployments import CHAMPION
from gnomon.contracts.layouts import view_layout
from gnomon.contracts.online_store import OnlineRows, ReadPlan
from gnomon.contracts.registry import Lineage
from gnomon.contracts.signatures import model_signature
from gnomon.control_plane.feature_work import ingest_source
from gnomon.control_plane.operation_work import run_operation
from gnomon.control_plane.parts import Parts
from gnomon.features.online_versions import shown_app
from gnomon.features.read_plan import read_plan, served_plan
from gnomon.runtime.embedded_valkey import EmbeddedValkey

_SCHEMA: dict[str, Any] = {"id": "string", "at": "timestamp", "user": "int64", "n": "int64", "bad": "bool"}


def app_of(root: Path, plus: int, **view: Any) -> App:
    """Return an app whose view `spend` gives each user's sum of `n`, and that sum `plus` a number; `risk` reads it."""
    user = gn.Entity("user", key="user")
    source = gn.DataSource("events", path="*.jsonl", id="id", event_time="at")
    features = [gn.Aggregation("n", "sum", window="3650d", name="total"),
                gn.Derived("shifted", gn.col("total") + plus, dtype="int64")]  # fmt: skip
    spend = gn.FeatureView("spend", **{"entity": user, "source": source, "features": features, **view})
    label = gn.Label("bad", source=source, delay="0d")
    risk = gn.Model("risk", label=label, features=[spend])
    sources = {each.name: each for each in (source, view.get("source", source))}
    definitions = [user, *sources.values(), spend, label, risk, gn.Deployment("risk", model=risk)]
    return App.of("app", definitions, root=str(root)).with_schemas(dict.fromkeys(sources, _SCHEMA))


class VersionWorld:
    """The parts of a home whose settings are in the environment already.

    Args:
        home: The home; files of events are in its folder `files`.
        users: Each has one event, with n as its number.
    """

    def __init__(self, home: Path, users: int) -> None:
        self.parts: Parts = composition.parts.__wrapped__()
        self.files, self.users, self._operations = home / "files", users, 0
        self.files.mkdir(exist_ok=True)
        self.apply(0)
        if self.parts.offline.version("events") < 0:
            self.add(range(users))

    def add(self, users: range) -> None:
        """Ingest one more event of each user, with n as its number."""
        number = len(list(self.files.iterdir()))
        at = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
        rows = ({"id": f"{number}-{u}", "at": at, "user": u, "n": u, "bad": u % 2 == 0} for u in users)
        (self.files / f"{number:03}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        ingest_source(self.submit("ingest", "events"), self.parts, str)

    def apply(self, plus: int, **view: Any) -> str:
        """Apply another definition of the view; return its version."""
        app = app_of(self.files, plus, **view)
        self.parts.definitions.apply(app, actor="test")
        return view_layout(app, "spend").version

    def submit(self, kind: Any, target: str) -> Any:
        """Ask for an operation."""
        return self.parts.operations.submit(kind, target, {}, actor="test")

    def run(self, operation: Any) -> Mapping[str, Any]:
        """Do an operation as a worker does, and return its result."""
        leased = self.parts.operations.lease(operation.id, self.parts.operations.get(operation.id).lease)
        assert leased is not None
        run_operation(operation.id, leased.lease, self.parts)
        done = self.parts.operations.get(operation.id)
        assert done.state == "succeeded", done.error
        return dict(done.result or {})

    def materialize(self) -> Mapping[str, Any]:
        """Bring the view online by an operation."""
        return self.run(self.submit("materialize", "spend"))

    def train(self) -> int:
        """Register a model version that was trained with the applied definitions, and may serve; return its number."""
        (applied,) = self.parts.definitions.apps()
        folder = self.files.parent / "model"
        folder.mkdir(exist_ok=True)
        (folder / "weights").write_text("nothing computes with it")
        self._operations += 1
        versions = {"spend": view_layout(applied.app, "spend").version}
        lineage = Lineage(
            f"run{self._operations}", applied.app_hash, "", "t", {}, versions, datetime(2026, 1, 1, tzinfo=UTC)
        )
        digest, signature = self.parts.artifacts.put_folder(folder), model_signature(applied.app, "risk")
        number = self.parts.registry.register("risk", digest, signature, (), lineage).number
        self.parts.states.put("gates", f"risk/{number}", {"passed": True, "lines": ["passed"]})
        return number

    def promote(self, number: int, state: str = "healthy") -> None:
        """Make a version the champion, as the control loop then finds its endpoint."""
        self.parts.registry.move_alias("risk", CHAMPION, number, reason="test", actor="test")
        self.serve(number, state)

    def serve(self, number: int, state: str = "healthy") -> None:
        """Store what the control loop observes."""
        self.parts.states.put("endpoint", "risk", {"version": number, "state": state})

    def shown(self) -> list[Any]:
        """Return the `shifted` of each user as a read by the view's name gives it; None where there is none."""
        applied = self.parts.app_with(gn.FeatureView, "spend").app
        app = shown_app(self.parts.states, self.parts.definitions, applied, "spend")
        return self.values(self.read(read_plan(app, ["spend.shifted"])))

    def served(self, number: int) -> list[Any]:
        """Return the `shifted` of each user as a replica of a model version reads it."""
        lineage = self.parts.registry.version("risk", number).lineage
        trained = self.parts.definitions.revision(lineage.app_hash).app
        (applied,) = self.parts.definitions.apps()
        return self.values(self.read(served_plan(trained, applied.app, ["spend.shifted"])))

    def read(self, plan: ReadPlan) -> OnlineRows:
        """Read all users."""
        return self.parts.online.read(plan, [{"user": u} for u in range(self.users)], self.parts.clock.now_us(), 10.0)

    @staticmethod
    def values(rows: OnlineRows) -> list[Any]:
        """Return the values of the one feature."""
        values: list[Any] = rows.values["spend.shifted"].tolist()
        return values

    def expected(self, plus: int, events: int = 1) -> list[int]:
        """Return what a definition gives when every user has so many events."""
        return [events * u + plus for u in range(self.users)]

    def fields(self) -> set[str]:
        """Return the fields of all hashes of the online store."""
        with redis.Redis.from_url(composition.online_url_of(composition.load_settings())) as client:
            asked = client.pipeline(transaction=False)
            for key in client.scan_iter(count=1000):
                asked.hkeys(key)
            return {field.decode() for fields in asked.execute() for field in fields}


@contextmanager
def version_world(home: Path, users: int) -> Iterator[VersionWorld]:
    """Run an online store, and give a world over it; child processes find the same home in their environment."""
    server = EmbeddedValkey(home / "valkey")
    server.start()
    try:
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("GNOMON_HOME", str(home))
            environment.setenv("GNOMON_ONLINE_URL", server.url)
            environment.setenv("GNOMON_ONLINE_TIMEOUT_S", "10")
            yield VersionWorld(home, users)
    finally:
        server.stop()
