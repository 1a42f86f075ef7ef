"""Values, keys, times and rows at their edges: the same answers from our stores as from Feast's own."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
import pyarrow as pa
import pytest
from feast import Entity, FeatureView, Field, ValueType
from feast.types import Float64, Int64, String
from scenarios.worlds import DRIVER, Both, World, hours, require_same, rows_of

_UTC = pa.timestamp("us", tz="UTC")
_TEXTS = ["", " ", "a,b", "a:b", "s1:a", "\x00", "né", "\U0001f600", "'; DROP TABLE", "x" * 5000, "1", "None", "NaN"]
_NUMBERS = [0, 1, -1, 2**31, -(2**31) - 1, 2**53 + 1, 2**63 - 1, -(2**63)]
_FLOATS = [0.0, -0.0, 5e-324, 1.7976931348623157e308, float("inf"), float("-inf"), 0.1]


def _view(world: World, entity: Entity, rows: pa.Table, **fields: Any) -> FeatureView:
    schema = [Field(name=name, dtype=dtype) for name, dtype in fields.items()]
    view = FeatureView(
        name="view", entities=[entity], schema=schema, source=world.source("rows", rows), ttl=timedelta(0)
    )  # fmt: skip
    world.store.apply([entity, view])
    return view


def _user(kind: ValueType) -> Entity:
    return Entity(name="user", join_keys=["user_id"], value_type=kind)


@pytest.mark.parametrize(
    ("keys", "kind"), [(_TEXTS, ValueType.STRING), (_NUMBERS, ValueType.INT64)], ids=["texts", "numbers"]
)
def test_keys(keys: list[Any], kind: ValueType, both: Both) -> None:
    """Materialized, served and looked up: each entity has its own value and no other's."""

    def ask(world: World) -> Any:
        count = len(keys)
        rows = pa.table({
            "user_id": pa.array(keys), "value": pa.array(range(count)),
            "event_timestamp": pa.array([hours(-2)] * count, _UTC),
        })  # fmt: skip
        _view(world, _user(kind), rows, value=Int64)
        world.store.materialize(hours(-10), hours(0))
        asked = pd.DataFrame({"user_id": keys, "event_timestamp": [hours(0)] * count})
        served = world.online(["view:value"], *({"user_id": key} for key in keys))["value"]
        return [served, sorted(row["value"] for row in rows_of(world.historical(asked, ["view:value"])))]

    served, history = require_same(both(ask))
    assert served == history == list(range(len(keys)))


@pytest.mark.parametrize(
    ("values", "dtype", "kind"),
    [(_TEXTS, String, pa.string()), (_NUMBERS, Int64, pa.int64()), (_FLOATS, Float64, pa.float64())],
    ids=["texts", "numbers", "floats"],
)
def test_values(values: list[Any], dtype: Any, kind: pa.DataType, both: Both) -> None:
    """Through both stores without a change, beside a null."""

    def ask(world: World) -> Any:
        count = len(values) + 1
        rows = pa.table({
            "driver_id": pa.array(range(count)), "value": pa.array([*values, None], kind),
            "event_timestamp": pa.array([hours(-2)] * count, _UTC),
        })  # fmt: skip
        _view(world, DRIVER, rows, value=dtype)
        asked = pd.DataFrame({"driver_id": range(count), "event_timestamp": [hours(0)] * count})
        found = world.store.get_historical_features(entity_df=asked, features=["view:value"]).to_arrow()
        world.store.write_to_online_store("view", rows.slice(0, len(values)).to_pandas())
        served = world.online(["view:value"], *({"driver_id": n} for n in range(count)))["value"]
        history = dict(zip(found["driver_id"].to_pylist(), found["value"].to_pylist(), strict=True))
        return [served, [history[n] for n in range(count)]]

    assert [[repr(value) for value in part] for part in require_same(both(ask))] == [
        [repr(value) for value in [*values, None]]
    ] * 2  # fmt: skip


def test_times_far_away_and_close_together(both: Both) -> None:
    """Before the epoch, a microsecond apart, and in other zones."""
    moments = [
        datetime(1900, 1, 1, tzinfo=UTC), datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
        datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 1, 1, 0, 0, 0, 1, tzinfo=UTC),
    ]  # fmt: skip
    asked_at = [
        moments[0], moments[1], moments[1] - timedelta(microseconds=1), moments[2], moments[3],
        moments[3].astimezone(ZoneInfo("America/New_York")), moments[2].astimezone(timezone(timedelta(minutes=90))),
        moments[0] - timedelta(microseconds=1),
    ]  # fmt: skip

    def ask(world: World) -> Any:
        rows = pa.table({
            "driver_id": pa.array([1] * 4), "value": pa.array(range(4)), "event_timestamp": pa.array(moments, _UTC),
        })  # fmt: skip
        _view(world, DRIVER, rows, value=Int64)
        asked = pd.DataFrame(
            {"driver_id": [1] * 8, "n": range(8), "event_timestamp": pd.to_datetime(asked_at, utc=True)}
        )
        found = world.store.get_historical_features(entity_df=asked, features=["view:value"]).to_arrow()
        return dict(sorted(zip(found["n"].to_pylist(), found["value"].to_pylist(), strict=True)))

    assert list(require_same(both(ask)).values()) == [0, 1, 0, 2, 3, 3, 2, None]


def test_entity_rows_without_a_zone_and_with_many_columns(both: Both) -> None:
    """What the caller sends along comes back; a time without a zone is UTC."""

    def ask(world: World) -> Any:
        rows = pa.table({
            "driver_id": pa.array([1, 2]), "value": pa.array([10, 20]),
            "event_timestamp": pa.array([hours(-2)] * 2, _UTC),
        })  # fmt: skip
        _view(world, DRIVER, rows, value=Int64)
        naive = [hours(n).replace(tzinfo=None) for n in (-2, 0, -3)]
        asked = pd.DataFrame({
            "driver_id": [1, 2, 1], "event_timestamp": naive, "label": [True, False, True], "text": ["a", None, "c"],
        }, index=[7, 7, 9])  # fmt: skip
        return world.historical(asked, ["view:value"])

    assert [row["value"] for row in require_same(both(ask))] == [None, 10, 20]


def test_a_source_without_rows(both: Both) -> None:
    def ask(world: World) -> Any:
        kinds = [("driver_id", pa.int64()), ("value", pa.int64()), ("event_timestamp", _UTC)]
        _view(world, DRIVER, pa.schema(kinds).empty_table(), value=Int64)
        asked = pd.DataFrame({"driver_id": [1], "event_timestamp": [hours(0)]})
        world.store.materialize(hours(-10), hours(0))
        return [rows_of(world.historical(asked, ["view:value"])), world.online(["view:value"], {"driver_id": 1})]

    history, served = require_same(both(ask))
    assert (history[0]["value"], served["value"]) == (None, [None])


def test_the_newest_row_between_two_times(both: Both) -> None:
    """What a materialization reads: both ends count, of one time the later created row."""

    def ask(world: World) -> Any:
        at = [-8, -6, -6, -4, -2, -6]
        rows = pa.table({
            "driver_id": pa.array([1, 1, 1, 1, 1, 2]), "value": pa.array([1, 2, 3, 4, 5, 6]),
            "event_timestamp": pa.array([hours(n) for n in at], _UTC),
            "created": pa.array([hours(n) for n in (-8, -5, -6, -4, -2, -1)], _UTC),
        })  # fmt: skip
        source = world.source("rows", rows, "created")
        store = world.store._get_provider().offline_store
        answers = []
        for start, end in ((-8, -6), (-7, -4), (-1, 0), (-6, -6), (-8, -2)):
            job = store.pull_latest_from_table_or_query(
                config=world.store.config, data_source=source, join_key_columns=["driver_id"],
                feature_name_columns=["value"], timestamp_field="event_timestamp", created_timestamp_column="created",
                start_date=hours(start), end_date=hours(end),
            )  # fmt: skip
            answers.append(sorted(job.to_arrow()["value"].to_pylist()))
        return answers

    assert require_same(both(ask)) == [[2, 6], [4, 6], [], [2, 6], [5, 6]]


def test_many_rows(both: Both) -> None:
    """20,000 rows of 500 entities, 5,000 label rows, many of them at the times of rows; and then all of it served."""

    def ask(world: World) -> Any:
        count, asked_rows = 20_000, 5_000
        rows = pa.table({
            "driver_id": pa.array([n * 7919 % 500 for n in range(count)]),
            "value": pa.array([None if n % 11 == 0 else n for n in range(count)], pa.int64()),
            "event_timestamp": pa.array([hours(-(n * 104_729 % 5_000) - n / 1e7) for n in range(count)], _UTC),
        })  # fmt: skip
        _view(world, DRIVER, rows, value=Int64)
        times = rows["event_timestamp"].take(pa.array([n * 3 % count for n in range(asked_rows)])).to_pylist()
        asked = pd.DataFrame({
            "driver_id": [n * 31 % 510 for n in range(asked_rows)], "n": range(asked_rows), "event_timestamp": times,
        })  # fmt: skip
        found = world.store.get_historical_features(entity_df=asked, features=["view:value"]).to_arrow()
        world.store.materialize(hours(-6_000), hours(0))
        served = world.online(["view:value"], *({"driver_id": n} for n in range(510)))["value"]
        return [served, dict(sorted(zip(found["n"].to_pylist(), found["value"].to_pylist(), strict=True)))]

    served, history = require_same(both(ask))
    assert len(history) == 5_000
    assert sum(value is not None for value in history.values()) > 2_000
    assert served[500:] == [None] * 10
