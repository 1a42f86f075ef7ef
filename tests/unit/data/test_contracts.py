"""Data contracts: each rule at each severity, all or nothing, and equal to a count by hand on drawn rows."""

from __future__ import annotations

import json
import math
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gnomon as gn
from gnomon.contracts.apps import App, plan
from gnomon.contracts.clocks import HandClock
from gnomon.contracts.sources import DataSource
from gnomon.data.ingestion import ingest
from gnomon.data.push_batches import Push, commit_pushes
from gnomon.data.source_files import Limits
from gnomon.data.source_schema import read_schema
from gnomon.errors import ContractViolated, InvalidDefinition, from_json
from gnomon.storage.delta_tables import DeltaTables

NOW = datetime(2026, 1, 1, tzinfo=UTC)  # of the fixture `clock`


def rows(**columns: list[Any]) -> pa.Table:
    count = len(next(iter(columns.values())))
    ids = columns.pop("id", [f"e{n}" for n in range(count)])
    times = columns.pop("at", [NOW - timedelta(hours=1)] * count)
    return pa.table({"id": ids, "at": pa.array(times, pa.timestamp("us", tz="UTC")), **columns})


def source(*contract: Any, **options: Any) -> DataSource:
    return DataSource("events", path="*.parquet", **{"id": "id", "event_time": "at", "contract": contract, **options})


def result(report: Any, rule: str) -> dict[str, Any]:
    found: dict[str, Any] = next(r for r in report.contract if r["rule"] == rule)
    return found


ROW_RULES = [
    (gn.Between("n", 0, 10), {"n": [0, 10, 11, -1, None]}, ["e2", "e3"]),
    (gn.Between("x", max=1), {"x": [1.0, math.nan, 1.5, None, -9.0]}, ["e1", "e2"]),
    (gn.InSet("s", ["a", "b"]), {"s": ["a", "c", None, "b", "A"]}, ["e1", "e4"]),
    (gn.Matches("s", "[a-z]+"), {"s": ["abc", "a1", "", None, "z"]}, ["e1", "e2"]),
    (gn.Check("fits", gn.col("x") <= gn.col("n")), {"x": [1.0, 2.0, None, 4.0, 9.0], "n": [1, 1, 1, 9, None]}, ["e1"]),
]


@pytest.mark.parametrize(("rule", "columns", "broken"), ROW_RULES, ids=lambda v: getattr(v, "rule", ""))
@pytest.mark.parametrize("severity", ["warn", "quarantine", "fail"])
def test_a_row_rule_at_each_severity(rule, columns, broken, severity, root, take_in, offline, rejects):
    pq.write_table(rows(**columns), root / "a.parquet")
    ruled = source(rule.model_copy(update={"severity": severity}))
    if severity == "fail":
        with pytest.raises(ContractViolated, match="nothing was ingested") as caught:
            take_in(ruled)
        (found,) = caught.value.details["contract"]
        assert offline.tables() == []
    else:
        report = take_in(ruled)
        found = result(report, rule.label())
        kept = sorted(offline.read("events")["_event_id"].to_pylist())
        gone = broken if severity == "quarantine" else []
        assert kept == [f"e{n}" for n in range(5) if f"e{n}" not in gone]
        assert report.quarantined == ({rule.label(): len(broken)} if gone else {})
        if gone:
            assert [row["rule"] for row in rejects("events")] == [rule.label()] * len(broken)
    assert (found["violations"], found["examples"], found["passed"]) == (len(broken), broken, False)
    assert (found["checked"], found["severity"]) == (5, severity)


def test_rules_that_refuse_come_first_and_what_they_refuse_is_not_counted_again(root, take_in):
    pq.write_table(rows(n=[1, 50, 500]), root / "a.parquet")
    report = take_in(
        source(
            gn.Between("n", max=10, severity="warn", name="usual"),
            gn.Between("n", max=100),
            fields={"n": gn.Field("int64", min=2)},
        )
    )
    assert report.quarantined == {"min:n": 1, "between:n": 1}
    usual = result(report, "usual")
    assert (usual["checked"], usual["violations"], usual["examples"]) == (1, 1, ["e1"])
    assert [r["rule"] for r in report.contract] == ["usual", "between:n"]


@pytest.mark.parametrize(("nulls", "passed"), [(2, True), (3, False)])
def test_null_ratio(nulls, passed, root, take_in):
    pq.write_table(rows(n=[None] * nulls + [1] * (10 - nulls)), root / "a.parquet")
    found = result(take_in(source(gn.NullRatio("n", 0.2, severity="warn"))), "null_ratio:n")
    assert (found["passed"], found["checked"], found["violations"]) == (passed, 10, nulls)


def test_unique_among_new_and_stored_events_but_not_versions_of_one(root, take_in):
    ruled = source(gn.Unique("mail", severity="warn"))
    pq.write_table(rows(id=["a", "b", "c", "d"], mail=["x", "y", None, None]), root / "1.parquet")
    assert result(take_in(ruled), "unique:mail")["passed"]
    (root / "1.parquet").unlink()
    pq.write_table(rows(id=["a", "e", "f", "g"], mail=["x", "y", "z", "z"], n=[1, 2, 3, 4]), root / "2.parquet")
    found = result(take_in(ruled), "unique:mail")
    assert (found["checked"], found["violations"], found["examples"]) == (4, 3, ["y", "z"])


def test_unique_over_several_columns_does_not_mix_them(root, take_in):
    pq.write_table(rows(a=["x|", "x", "q"], b=["y", "|y", None]), root / "1.parquet")
    assert result(take_in(source(gn.Unique(["a", "b"]))), "unique:a:b")["violations"] == 0


def test_fresh_looks_at_the_table_too(root, take_in, clock):
    ruled = source(gn.Fresh("2h"))
    pq.write_table(rows(n=[1]), root / "1.parquet")
    assert result(take_in(ruled), "fresh")["passed"]
    pq.write_table(rows(id=["old"], at=[NOW - timedelta(days=9)], n=[1]), root / "2.parquet")
    assert result(take_in(ruled), "fresh")["passed"]
    clock.set(NOW + timedelta(hours=2))
    with pytest.raises(ContractViolated, match=r"newest event is of 2025-12-31T23:00:00\+00:00.*at most 2h old"):
        take_in(ruled)


def test_row_count_against_the_ingestion_before(root, take_in):
    ruled = source(gn.RowCount(max_drop=0.5, max_growth=1))
    pq.write_table(rows(n=list(range(10))), root / "a.parquet")
    first = take_in(ruled)
    assert (result(first, "row_count")["checked"], first.memory["rows"]) == (0, 10)
    pq.write_table(rows(n=list(range(20))), root / "a.parquet")
    second = take_in(ruled, previous=first.memory)
    assert result(second, "row_count")["checked"] == 1
    again = take_in(ruled, previous=second.memory)
    assert (again.repeated_batches, again.memory["rows"], result(again, "row_count")["passed"]) == (1, 20, True)
    pq.write_table(rows(n=list(range(9))), root / "a.parquet")
    with pytest.raises(ContractViolated, match="9 rows after 20 at the ingestion before; 10 to 40 are allowed"):
        take_in(ruled, previous=again.memory)


def test_nothing_of_many_batches_is_visible_when_the_last_row_fails(root, take_in, offline):
    for n in range(6):
        table = rows(id=[f"{n}-{i}" for i in range(5)], n=[n * i for i in range(5)])
        pq.write_table(table, root / f"{n}.parquet")
    limits = Limits(batch_files=1)
    with pytest.raises(ContractViolated) as caught:
        take_in(source(gn.Between("n", max=19, severity="fail"), gn.Between("n", min=1, name="least")), limits=limits)
    assert offline.tables() == []
    assert [r["rule"] for r in caught.value.details["contract"]] == ["between:n", "least"]
    assert from_json(json.loads(json.dumps(caught.value.as_json()))).details == caught.value.details
    report = take_in(source(gn.Between("n", max=20, severity="fail")), limits=limits)
    assert (report.batches, report.rows_added) == (6, 30)


def test_killed_between_batches_it_is_not_judged_again(root, offline, clock, tmp_path):
    """What was committed was kept; the rest follows, though the newest event is too old by then."""

    class DiesAfterOne(DeltaTables):
        def append(self, table, *arguments, **options):
            super().append(table, *arguments, **options)
            raise KeyboardInterrupt

    for n in range(3):
        pq.write_table(rows(id=[f"e{n}"], n=[n]), root / f"{n}.parquet")
    common = {"local_rows": 10**9, "report": str, "limits": Limits(batch_files=1), "ingestion_id": "one"}
    ruled = source(gn.Fresh("2h"))
    with pytest.raises(KeyboardInterrupt):
        ingest(ruled, str(root), DiesAfterOne(tmp_path / "tables"), clock, **common)
    clock.set(NOW + timedelta(days=3))
    report = ingest(ruled, str(root), offline, clock, **common)
    assert (report.rows_added, report.contract[0]["passed"]) == (3, True)
    with pytest.raises(ContractViolated):
        ingest(ruled, str(root), offline, clock, **{**common, "ingestion_id": "two"})


@pytest.mark.parametrize(
    ("contract", "message"),
    [
        ([gn.Matches("n", "a")], "'a' of field 'n' cannot be used"),
        ([gn.Between("s", 1)], "needs a number, the column is string"),
        ([gn.InSet("n", ["x"])], "do not fit type int64"),
        ([gn.Check("odd", gn.col("n") % 2)], "check:odd gives int64, not true or false"),
        ([gn.Check("odd", gn.col("s") > 2)], "check:odd: "),
    ],
)  # fmt: skip
def test_a_rule_that_does_not_fit_its_column_says_so(contract, message, root, take_in, offline):
    pq.write_table(rows(n=[1], s=["x"]), root / "a.parquet")
    with pytest.raises(InvalidDefinition, match=message):
        take_in(source(*contract))
    assert offline.tables() == []


def test_mistakes_in_definitions() -> None:
    with pytest.raises(InvalidDefinition, match="two rules of the contract are named 'between:n': give one"):
        source(gn.Between("n", 0), gn.Between("n", 1))
    with pytest.raises(InvalidDefinition, match=r"severity.*'quarantine'"):
        gn.Unique("n", severity="quarantine")
    with pytest.raises(InvalidDefinition, match="give min, max or both"):
        gn.Between("n")


def test_a_rule_of_a_column_that_is_not_there(root):
    pq.write_table(rows(n=[1]), root / "a.parquet")
    with pytest.raises(InvalidDefinition, match=r"no file at .* has a column 'm'"):
        read_schema(source(gn.NullRatio("m", 0)), str(root))


def test_a_definition_without_the_new_fields_has_the_hash_of_before_they_were() -> None:
    """Else every batch of every source would be read again, and every app be changed."""
    old = DataSource(
        "payments", path="p/*.parquet", id=["tx_id", "k"], event_time="paid_at", known_delay="7d", owner="x",
        tags=["a", "b"], timezone="UTC", time_format="%Y",
        fields={
            "amount": gn.Field("float64", min=0, max=10), "n": "int64",
            "m": gn.Field("string", pattern="a+", one_of=["a"], nullable=False),
        },
    )  # fmt: skip
    assert old.content_hash() == "6a2c6469e9661d9b39021da628c36bf4712d2312ca88a92cea028e7d47225535"


def test_a_contract_travels_as_json_and_a_plan_shows_that_it_is_new() -> None:
    ruled = source(
        gn.Between("n", 0), gn.InSet("s", ["a", 1]), gn.Matches("s", "a"), gn.Check("c", gn.col("n") > 1),
        gn.NullRatio("n", 0.1), gn.Unique("n"), gn.Fresh("2h"), gn.RowCount(max_growth=3),
    )  # fmt: skip
    assert DataSource.model_validate(json.loads(json.dumps(ruled.as_json()))) == ruled
    (change,) = plan(App.of("app", [source()]), App.of("app", [ruled]))
    assert list(change.fields) == ["contract"]
    assert change.fields["contract"][0] is None


cells = st.one_of(st.none(), st.integers(-3, 3))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 6), cells, cells), min_size=1, max_size=12),
    st.lists(st.tuples(st.integers(0, 6), cells, cells), max_size=12),
    st.sampled_from(["warn", "quarantine"]), st.integers(1, 3),
)  # fmt: skip
def test_counts_are_those_by_hand(first, second, severity, files) -> None:
    """Whatever the rows, how they are cut into files, and what the table holds already."""
    ruled = source(
        gn.Check("order", gn.col("a") <= gn.col("b"), severity=severity), gn.Unique("a", severity="warn"),
        gn.NullRatio("b", 0.5, severity="warn"), fields={"a": "int64", "b": "int64"},
    )  # fmt: skip

    def breaks(row: Any) -> bool:
        return None not in row[1:] and row[1] > row[2]

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        offline, clock = DeltaTables(root / "tables"), HandClock(root / "clock", NOW)
        stored: list[Any] = []
        for number, drawn in enumerate([first, second]):
            for old in root.glob("*.parquet"):
                old.unlink()
            for file in range(files):
                part = drawn[file::files]
                table = rows(id=[f"e{r[0]}" for r in part], a=pa.array([r[1] for r in part], pa.int64()),
                             b=pa.array([r[2] for r in part], pa.int64()))  # fmt: skip
                pq.write_table(table, root / f"{number}-{file}.parquet")
            report = ingest(ruled, folder, offline, clock, local_rows=10**9, report=str)
            if report.repeated_batches:
                return
            kept = [r for r in drawn if severity == "warn" or not breaks(r)]
            everything = {(r[0], r[1]) for r in [*stored, *kept]}
            shared = [r for r in kept if r[1] is not None and any(a == r[1] and e != r[0] for e, a in everything)]
            got = {r["rule"]: (r["checked"], r["violations"]) for r in report.contract}
            assert got["check:order"] == (len(drawn), sum(breaks(r) for r in drawn))
            assert got["unique:a"] == (len([r for r in kept if r[1] is not None]), len(shared))
            assert got["null_ratio:b"] == (len(kept), sum(r[2] is None for r in kept))
            stored += kept


def test_a_push_that_breaks_a_rule_of_its_rows_is_refused_whole(offline):
    """Rules of a whole ingestion do not apply: a push is no whole."""
    ruled = source(gn.Between("n", 0, severity="fail"), gn.Between("n", max=9, name="most"), gn.NullRatio("n", 0))
    schema = {"id": "string", "at": "timestamp", "n": "int64"}

    def pushed(*values: int | None) -> Any:
        lines = [json.dumps({"id": f"e{v}", "at": "2025-06-01T00:00:00Z", "n": v}) for v in values]
        (answer,) = commit_pushes(
            [Push("\n".join(lines).encode())], ruled, schema, offline, 1_767_225_600_000_000, lambda s: None
        )
        return answer

    assert isinstance(pushed(1, -1), ContractViolated)
    assert offline.tables() == []
    kept = pushed(1, None, 10)
    assert (kept.accepted, kept.quarantined) == (2, 1)
