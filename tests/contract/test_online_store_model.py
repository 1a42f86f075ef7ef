"""The online store on a real server equals a small model, whatever the order of writes, reads, clears and versions."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from gnomon.contracts.online_store import ReadPlan, Status
from gnomon.features.redis_online_store import RedisOnlineStore
from gnomon.runtime.embedded_valkey import EmbeddedValkey
from gnomon.testing.online_rows import layout_of, plan_of, table_of, values_of

NOW_US = 1000
LAYOUTS = [
    layout_of({"i": "int64", "s": "string"}, view="one", max_age_us=6),
    layout_of({"i": "int64", "s": "string"}, view="one", max_age_us=6, version="ffffffff"),
    layout_of({"i": "int64", "f": "float64"}, view="two", defaults={"i": 5}, max_age_us=4, on_expired="default"),
    layout_of({"f": "float64", "b": "bool"}, view="three", max_age_us=3, on_expired="serve"),
]
IDS = range(4)
Row = dict[str, Any]


class Model:
    """What the port's docstring says, in plain Python: one row per (view, entity)."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, int], tuple[str, Row]] = {}

    def write(self, layout: Any, rows: list[Row]) -> int:
        written = 0
        for row in rows:
            version, old = self.rows.get((layout.view, row["id"]), (None, {}))
            if version != layout.version or (row["at"], row["known"]) > (old["at"], old["known"]):
                self.rows[layout.view, row["id"]] = (layout.version, row)
                written += 1
        return written

    def clear(self, view: str) -> int:
        mine = [key for key in self.rows if key[0] == view]
        for key in mine:
            del self.rows[key]
        return len(mine)

    def read(self, layout: Any, name: str, default: Any, entity: int) -> tuple[Any, int, int]:
        version, row = self.rows.get((layout.view, entity), (None, {}))
        if version != layout.version:
            known = any(key[1] == entity for key in self.rows)
            value, status, age = None, Status.MISSING_FEATURE if known else Status.MISSING_ENTITY, -1
        else:
            value, age = row.get(name), NOW_US - row["at"]
            status = Status.NULL if value is None else Status.PRESENT
            if age >= layout.max_age_us:
                status = Status.EXPIRED
                value = value if layout.on_expired == "serve" else None
        absent = status in (Status.MISSING_ENTITY, Status.MISSING_FEATURE, Status.EXPIRED)
        if absent and layout.on_expired == "default" and default is not None:
            value, status = default, Status.DEFAULT
        return value, status, age


class OnlineStoreMachine(RuleBasedStateMachine):
    url: ClassVar[str]

    def __init__(self) -> None:
        super().__init__()
        self.store = RedisOnlineStore(self.url, uuid.uuid4().hex, 10.0)
        self.model = Model()

    @rule(
        layout=st.sampled_from(LAYOUTS),
        rows=st.lists(
            st.fixed_dictionaries(
                {
                    "id": st.sampled_from(IDS), "at": st.integers(NOW_US - 9, NOW_US), "known": st.integers(0, 3),
                    "i": st.none() | st.integers(-(2**63), 2**63 - 1), "s": st.none() | st.text(max_size=5),
                    "f": st.none() | st.floats(allow_nan=False), "b": st.none() | st.booleans(),
                }
            ),
            min_size=1, max_size=5,
        ),
    )  # fmt: skip
    def write(self, layout: Any, rows: list[Row]) -> None:
        result = self.store.write(layout, table_of(layout, rows))
        written = self.model.write(layout, rows)
        assert (result.written_rows, result.ignored_rows) == (written, len(rows) - written)

    @rule(layout=st.sampled_from(LAYOUTS))
    def clear(self, layout: Any) -> None:
        assert self.store.clear(layout) == self.model.clear(layout.view)

    @rule(
        layouts=st.lists(st.sampled_from(LAYOUTS), min_size=1, unique_by=lambda layout: layout.view),
        ids=st.lists(st.integers(0, 5), max_size=6),
        order=st.randoms(use_true_random=False),
    )
    def read(self, layouts: list[Any], ids: list[int], order: Any) -> None:
        whole = plan_of(*layouts)
        wanted = list(zip(whole.features, whole.names, strict=True))
        order.shuffle(wanted)
        wanted = wanted[: order.randint(1, len(wanted))]
        plan = ReadPlan(whole.layouts, tuple(f for f, _ in wanted), tuple(n for _, n in wanted))
        found = self.store.read(plan, [{"id": i} for i in ids], NOW_US)
        assert list(found.values) == list(plan.names)
        for position, (view, column) in enumerate(plan.features):
            layout = plan.layouts[view]
            feature = layout.columns[column]
            expected = [self.model.read(layout, feature.name, feature.default, i) for i in ids]
            assert values_of(found, plan.names[position]) == [value for value, _, _ in expected]
            assert found.status[:, position].tolist() == [status for _, status, _ in expected]
            assert found.age_us[:, position].tolist() == [age for _, _, age in expected]

    @invariant()
    def every_value_is_the_models(self) -> None:
        for layout in LAYOUTS[1:3]:
            found = self.store.read(plan_of(layout), [{"id": i} for i in IDS], NOW_US)
            expected = [self.model.read(layout, "i", layout.columns[0].default, i) for i in IDS]
            assert values_of(found, f"{layout.view}.i") == [value for value, _, _ in expected]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder: Path = tmp_path_factory.mktemp("valkey")
    server = EmbeddedValkey(folder)
    server.start()
    yield server.url
    server.stop()


def test_equals_the_model(url: str) -> None:
    OnlineStoreMachine.url = url
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        OnlineStoreMachine,
        settings=settings(
            max_examples=100, stateful_step_count=15, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
