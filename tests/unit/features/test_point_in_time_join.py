"""The join over real Delta tables: in this process and on a real Ray cluster it gives the oracle's table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from tests.unit.features.payments import (
    LOOKUPS,
    S,
    label_requests,
    oracle,
    payment_rows,
    payments_app,
    requests_table,
    to_table,
)

from gnomon.errors import NotFound
from gnomon.features.point_in_time import point_in_time_join
from gnomon.features.table_parts import partition_of
from gnomon.features.view_rows import REQUEST_TIME
from gnomon.storage.delta_tables import DeltaTables


@pytest.fixture
def offline(tmp_path: Path) -> tuple[DeltaTables, list[dict[str, Any]]]:
    """A table of three commits, the first from before the column `amount` was added."""
    rows = payment_rows(400)
    for row in rows[:50]:
        row["amount"] = None
    tables = DeltaTables(tmp_path / "tables")
    tables.append("pay", to_table(rows[:50], amounts=False), "b0")
    tables.append("pay", to_table(rows[50:200]), "b1")
    tables.append("pay", to_table(rows[200:]), "b2")
    return tables, rows


def test_local_join_equals_the_oracle(offline: tuple[DeltaTables, list[dict[str, Any]]]) -> None:
    tables, rows = offline
    app, asked = payments_app(), label_requests(200)
    found = point_in_time_join(app, tables, requests_table(asked), LOOKUPS, local_rows=1_000_000)
    assert found.column_names == list(LOOKUPS)
    assert found.to_pydict() == oracle(app, rows, asked)


def test_events_that_only_a_lagged_window_reaches_are_read(offline: tuple[DeltaTables, list[dict[str, Any]]]) -> None:
    """No request is early, so that a reader that forgot the lag would leave out what `spend.before` is about."""
    tables, rows = offline
    app, asked = payments_app(), [r | {REQUEST_TIME: (340 + i % 5) * S} for i, r in enumerate(label_requests(40))]
    found = point_in_time_join(app, tables, requests_table(asked), ["spend.before"], local_rows=10**6)
    wanted = oracle(app, rows, asked)
    assert found["spend.before"].to_pylist() == wanted["spend.before"]
    assert any(wanted["spend.before"])


@pytest.mark.cluster
def test_join_on_ray_equals_the_local_join(offline: tuple[DeltaTables, list[dict[str, Any]]], ray_cluster: Any) -> None:
    tables, rows = offline
    app, asked = payments_app(), label_requests(200)
    requests = requests_table(asked)
    here = point_in_time_join(app, tables, requests, LOOKUPS, local_rows=1_000_000)
    there = point_in_time_join(app, tables, requests, LOOKUPS, local_rows=10, partition_rows=100)
    assert there.to_pydict() == here.to_pydict() == oracle(app, rows, asked)
    assert there.schema == here.schema


@pytest.mark.cluster
def test_one_entity_with_most_rows_joins_on_ray_as_locally(tmp_path: Path, ray_cluster: Any) -> None:
    """Nearly all events and requests are of one customer, so that its partition is joined in slices of time."""
    rows = [row | {"c": 1 if i % 10 else row["c"]} for i, row in enumerate(payment_rows(1200))]
    tables = DeltaTables(tmp_path / "tables")
    tables.append("pay", to_table(rows), "b0")
    app, requests = payments_app(), requests_table([r | {"c": 1} for r in label_requests(300)])
    here = point_in_time_join(app, tables, requests, LOOKUPS, local_rows=1_000_000)
    there = point_in_time_join(app, tables, requests, LOOKUPS, local_rows=10, partition_rows=150)
    assert there.equals(here)


def test_older_versions_of_the_table_can_be_joined(offline: tuple[DeltaTables, list[dict[str, Any]]]) -> None:
    tables, rows = offline
    app, asked = payments_app(), label_requests(60)
    found = point_in_time_join(app, tables, requests_table(asked), LOOKUPS, local_rows=10**6, versions={"pay": 1})
    assert found.to_pydict() == oracle(app, rows[:200], asked)


def test_no_requests_give_no_rows(offline: tuple[DeltaTables, list[dict[str, Any]]]) -> None:
    tables, _ = offline
    found = point_in_time_join(payments_app(), tables, requests_table([]), LOOKUPS, local_rows=10**6)
    assert (found.num_rows, found.column_names) == (0, list(LOOKUPS))


def test_a_source_that_was_never_ingested_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="'pay' holds no rows yet"):
        point_in_time_join(payments_app(), DeltaTables(tmp_path), requests_table([]), LOOKUPS, local_rows=1)


def test_partitions_go_by_value_not_by_type() -> None:
    wide = pa.table(
        {"a": pa.array([1, 2, None, 7], pa.int64()), "b": pa.array(["x", None, "y", ""], pa.large_string())}
    )
    narrow = pa.table(
        {"a": pa.array([1, 2, None, 7], pa.int32()), "b": pa.array(["x", None, "y", ""]).dictionary_encode()}
    )
    assert partition_of(wide, ["a", "b"], 13).tolist() == partition_of(narrow, ["a", "b"], 13).tolist()
    assert len(set(partition_of(pa.table({"a": list(range(100))}), ["a"], 13).tolist())) == 13
