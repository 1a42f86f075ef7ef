"""The online store on a real server equals a small model, whatever the order of what happens to it.

2,000 examples a run; `GNOMON_MODEL_EXAMPLES=20000` asks for more.
"""

from __future__ import annotations

import contextlib
import os
import uuid
from collections import Counter
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
import redis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from gnomon.contracts.layouts import ViewLayout
from gnomon.contracts.online_store import ReadPlan, Status
from gnomon.errors import Conflict
from gnomon.features.redis_online_store import RedisOnlineStore
from gnomon.runtime.embedded_valkey import EmbeddedValkey
from gnomon.testing.online_rows import layout_of, plan_of, table_of, values_of

EXAMPLES = int(os.environ.get("GNOMON_MODEL_EXAMPLES", "2000"))
START_US = 1000
LAYOUTS = [
    layout_of({"i": "int64", "s": "string"}, view="one", max_age_us=6),
    layout_of({"i": "int64", "s": "string"}, view="one", max_age_us=6, version="ffffffff"),
    layout_of({"i": "int64", "f": "float64"}, view="two", defaults={"i": 5}, max_age_us=4, on_expired="default"),
    layout_of({"f": "float64", "b": "bool"}, view="three", max_age_us=3, on_expired="serve"),
]
PLANS = [plan_of(LAYOUTS[0]), plan_of(*LAYOUTS[1:])]
IDS = range(4)
Row = dict[str, Any]

layouts = st.sampled_from(LAYOUTS)
ids = st.sampled_from(IDS)
few = st.integers(0, 4)
values = st.fixed_dictionaries({
    "i": st.none() | st.integers(-(2**63), 2**63 - 1), "s": st.none() | st.text(max_size=5),
    "f": st.none() | st.floats(allow_nan=False), "b": st.none() | st.booleans(),
})  # fmt: skip


class Model:
    """What the port's docstring says, in plain Python: the newest row per (view, version, entity), and deletions."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str, int], Row] = {}
        self.deleted: dict[tuple[str, int], Row] = {}

    def write(self, layout: ViewLayout, rows: list[Row]) -> int:
        written = 0
        for row in rows:
            place = (layout.view, layout.version, row["id"])
            older = (self.rows.get(place), self.deleted.get((layout.view, row["id"])))
            if all(_order(row) > _order(old) for old in older if old is not None):
                self.rows[place] = row
                written += 1
        return written

    def delete(self, view: str, rows: list[Row]) -> int:
        written = 0
        for row in rows:
            before = self.deleted.get((view, row["id"]))
            if before is not None and _order(row) <= _order(before):
                continue
            self.deleted[view, row["id"]] = row
            mine = [place for place in self.rows if (place[0], place[2]) == (view, row["id"])]
            gone = [place for place in mine if _order(self.rows[place]) <= _order(row)]
            for place in gone:
                del self.rows[place]
            written += gone == mine
        return written

    def clear(self, view: str) -> int:
        for place in [place for place in self.deleted if place[0] == view]:
            del self.deleted[place]
        return self.drop({place for place in self.rows if place[0] == view})

    def drop_version(self, layout: ViewLayout) -> int:
        return self.drop({place for place in self.rows if place[:2] == (layout.view, layout.version)})

    def drop(self, places: set[tuple[str, str, int]]) -> int:
        for place in places:
            del self.rows[place]
        return len({entity for _, _, entity in places})

    def read(self, layout: ViewLayout, name: str, default: Any, entity: int, now_us: int) -> tuple[Any, int, int]:
        row = self.rows.get((layout.view, layout.version, entity))
        if row is None:
            known = any(place[2] == entity for place in self.rows)
            value, status, age = None, Status.MISSING_FEATURE if known else Status.MISSING_ENTITY, -1
        else:
            value, age = row.get(name), now_us - row["at"]
            status = Status.NULL if value is None else Status.PRESENT
            if layout.max_age_us is not None and age >= layout.max_age_us:
                status = Status.EXPIRED
                value = value if layout.on_expired == "serve" else None
        absent = status in (Status.MISSING_ENTITY, Status.MISSING_FEATURE, Status.EXPIRED)
        if absent and layout.on_expired == "default" and default is not None:
            value, status = default, Status.DEFAULT
        return value, status, age


def _order(row: Row) -> tuple[int, int]:
    return row["at"], row["known"]


class OnlineStoreMachine(RuleBasedStateMachine):
    server: ClassVar[EmbeddedValkey]
    happened: ClassVar[Counter[str]] = Counter()

    def __init__(self) -> None:
        super().__init__()
        self.store = RedisOnlineStore(self.server.url, uuid.uuid4().hex, 10.0)
        self.model = Model()
        self.now_us = START_US
        self.restarted = False

    def teardown(self) -> None:
        """Nothing is left when all views are cleared, so that an example finds the server as the one before it did."""
        self.happened["examples"] += 1
        for layout in LAYOUTS[1:]:
            self.store.clear(layout)
        self.store.close()
        with redis.Redis.from_url(self.server.url) as client:
            assert client.dbsize() == 0

    def write(self, what: str, layout: ViewLayout, rows: list[Row]) -> None:
        self.happened[what] += 1
        result = self.store.write(layout, table_of(layout, rows))
        written = self.model.write(layout, rows)
        assert (result.written_rows, result.ignored_rows) == (written, len(rows) - written)

    def stored(self, layout: ViewLayout, entity: int) -> Row:
        """Return what the model holds, or what could have been there a moment ago."""
        now = {"at": self.now_us, "known": self.now_us}
        return self.model.rows.get((layout.view, layout.version, entity), now)

    @rule(layout=layouts, entity=ids, row=values)
    def push(self, layout: ViewLayout, entity: int, row: Row) -> None:
        self.write("push", layout, [{**row, "id": entity, "at": self.now_us, "known": self.now_us}])

    @rule(layout=layouts, rows=st.lists(st.tuples(values, ids, st.integers(0, 9), few), min_size=2, max_size=5))
    def batch(self, layout: ViewLayout, rows: list[tuple[Row, int, int, int]]) -> None:
        times = [(row, entity, self.now_us - age, lag) for row, entity, age, lag in rows]
        self.write("batch", layout, [{**r, "id": e, "at": at, "known": at + lag} for r, e, at, lag in times])

    @rule(layout=layouts, entity=ids, row=values, behind=st.integers(1, 9), lag=few)
    def late(self, layout: ViewLayout, entity: int, row: Row, behind: int, lag: int) -> None:
        stored = self.stored(layout, entity)
        late = {"id": entity, "at": stored["at"] - behind, "known": stored["known"] + lag}
        self.write("late", layout, [{**row, **late}])

    @rule(layout=layouts, entity=ids, row=values, later=few)
    def correct(self, layout: ViewLayout, entity: int, row: Row, later: int) -> None:
        stored = self.stored(layout, entity)
        self.write("correct", layout, [{**row, "id": entity, "at": stored["at"], "known": stored["known"] + later}])

    @rule(layout=layouts, entity=ids)
    def null(self, layout: ViewLayout, entity: int) -> None:
        self.write("null", layout, [{"id": entity, "at": self.now_us, "known": self.now_us + 1}])

    @rule(layout=layouts, entities=st.lists(ids, min_size=1, max_size=3), age=few, lag=few)
    def delete(self, layout: ViewLayout, entities: list[int], age: int, lag: int) -> None:
        self.happened["delete"] += 1
        at = self.now_us - age
        rows = [{"id": entity, "at": at, "known": at + lag} for entity in entities]
        result = self.store.delete(layout, table_of(layout, rows))
        written = self.model.delete(layout.view, rows)
        assert (result.written_rows, result.ignored_rows) == (written, len(rows) - written)

    @rule(by_us=st.integers(1, 4))
    def expire(self, by_us: int) -> None:
        self.happened["expire"] += 1
        self.now_us += by_us

    @rule(layout=layouts, row=values, first_age=st.integers(5, 40))
    def backfill(self, layout: ViewLayout, row: Row, first_age: int) -> None:
        ages = range(first_age, first_age - 5, -2)
        old = [{**row, "id": e, "at": self.now_us - age, "known": self.now_us} for age in ages for e in IDS]
        self.write("backfill", layout, old)

    @precondition(lambda self: len(self.model.rows) > 3)
    @rule(layout=layouts)
    def clear(self, layout: ViewLayout) -> None:
        self.happened["clear"] += 1
        assert self.store.clear(layout) == self.model.clear(layout.view)

    @precondition(lambda self: len(self.model.rows) > 3)
    @rule(layout=layouts)
    def drop_version(self, layout: ViewLayout) -> None:
        self.happened["drop version"] += 1
        assert self.store.drop_version(layout) == self.model.drop_version(layout)

    @precondition(lambda self: self.model.rows and not self.restarted)
    @rule(now=st.sampled_from([False] * 35 + [True]))
    def restart_server(self, now: bool) -> None:
        """Now and then, because a start takes as long as a hundred reads; the store finds the new server itself."""
        if not now:
            return
        self.happened["restart server"] += 1
        self.restarted = True
        self.server.stop()
        self.server.start()

    @rule(
        chosen=st.lists(layouts, min_size=1, unique_by=lambda layout: layout.view),
        entities=st.lists(st.integers(0, 5), max_size=6),
        order=st.randoms(use_true_random=False),
    )
    def read(self, chosen: list[ViewLayout], entities: list[int], order: Any) -> None:
        self.happened["read"] += 1
        whole = plan_of(*chosen)
        wanted = list(zip(whole.features, whole.names, strict=True))
        order.shuffle(wanted)
        wanted = wanted[: order.randint(1, len(wanted))]
        self.compare(ReadPlan(whole.layouts, tuple(f for f, _ in wanted), tuple(n for _, n in wanted)), entities)

    @invariant()
    def every_value_is_the_models(self) -> None:
        for plan in PLANS:
            self.compare(plan, IDS)

    def compare(self, plan: ReadPlan, entities: Any) -> None:
        found = self.store.read(plan, [{"id": i} for i in entities], self.now_us)
        assert list(found.values) == list(plan.names)
        for position, (view, column) in enumerate(plan.features):
            layout = plan.layouts[view]
            feature = layout.columns[column]
            expected = [self.model.read(layout, feature.name, feature.default, i, self.now_us) for i in entities]
            assert values_of(found, plan.names[position]) == [value for value, _, _ in expected]
            assert found.status[:, position].tolist() == [status for _, status, _ in expected]
            assert found.age_us[:, position].tolist() == [age for _, _, age in expected]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedValkey]:
    """A server that comes back at the same address; its port is none that the system gives to connections."""
    for port in range(20_000 + os.getpid() % 10_000, 32_000):
        server = EmbeddedValkey(tmp_path_factory.mktemp("valkey"), port)
        with contextlib.suppress(Conflict):
            server.start()
            break
    yield server
    server.stop()


@pytest.mark.timeout(300 + EXAMPLES)
def test_equals_the_model(server: EmbeddedValkey, record_property: Any) -> None:
    OnlineStoreMachine.server = server
    run_state_machine_as_test(
        OnlineStoreMachine,
        settings=settings(
            max_examples=EXAMPLES, stateful_step_count=15, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
    happened = OnlineStoreMachine.happened
    print("what happened:", dict(happened))
    record_property("examples", happened["examples"])
    assert happened["examples"] >= EXAMPLES
    more = ("expire", "backfill", "clear", "drop version", "restart server")
    rules = ("push", "batch", "late", "correct", "null", "delete", *more)
    assert min(happened[name] for name in rules) > EXAMPLES // 200
