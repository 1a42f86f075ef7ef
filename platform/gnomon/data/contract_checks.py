"""Checks a source's data contract over everything that an ingestion is about to commit, before it commits any of it.

Called by `ingestion`. Parts are read and judged once more than without a contract; in exchange a failed check leaves no
trace in any table, however many batches there are. Small inputs are checked here, larger ones by `ray_contract`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gnomon.contracts.clocks import from_us
from gnomon.contracts.columns import EVENT_ID, EVENT_TIME, Dtype
from gnomon.contracts.data_contracts import Fresh, NullRatio, RowCount, RowRule, Unique
from gnomon.contracts.durations import duration_us
from gnomon.contracts.offline_store import Commit, OfflineStore
from gnomon.contracts.sources import DataSource
from gnomon.data.contract_reports import Findings, RuleResult, Tally, broken_rows
from gnomon.data.source_files import Batch, FilePart
from gnomon.data.validation import Judged, event_ids, read_and_judge

Check = Callable[[Sequence[FilePart], DataSource, Mapping[str, Dtype], OfflineStore, int], Findings]


@dataclass(frozen=True)
class Ingestion:
    """What is checked.

    Attributes:
        source: Whose contract applies.
        schema: Types of its columns.
        batches: All batches of the ingestion.
        offline: Where its table is.
        now_us: The moment that freshness is measured at.
        rows_before: Rows at the ingestion before; None where there was none.
    """

    source: DataSource
    schema: Mapping[str, Dtype]
    batches: Sequence[Batch]
    offline: OfflineStore
    now_us: int
    rows_before: int | None


def check_contract(work: Ingestion, check: Check) -> list[dict[str, Any]]:
    """Check every rule.

    Batches that an earlier ingestion committed are not read again; their rows count as found.

    Args:
        work: What is checked.
        check: `findings_here`, or the same on Ray.

    Returns:
        One result a rule, in the order of declaration, as JSON.
    """
    commits = {batch.id: work.offline.committed(work.source.name, batch.id) for batch in work.batches}
    parts = [part for batch in work.batches if commits[batch.id] is None for part in batch.parts]
    found = check(parts, work.source, work.schema, work.offline, work.now_us) if parts else Findings()
    rows = found.rows_read + sum(rows_of(commit) for commit in commits.values() if commit is not None)
    return [_result(rule, work, found, rows).as_json() for rule in work.source.contract]


def rows_of(commit: Commit) -> int:
    """Return how many rows a batch held, rejects and duplicates included, as far as its commit tells."""
    return int(commit.note.get("counts", {}).get("rows_read", commit.rows))


def findings_here(
    parts: Sequence[FilePart], source: DataSource, schema: Mapping[str, Dtype], offline: OfflineStore, now_us: int
) -> Findings:  # fmt: skip
    """Read and judge parts in this process.

    Args:
        parts: At least one.
        source: Whose contract applies.
        schema: Types of its columns.
        offline: Where the values that must be unique are compared.
        now_us: Ingestion time, for rules of rows.

    Returns:
        The tallies of all rules but those of the whole, `fresh` and `row_count`.
    """
    total = Findings()
    keys: dict[str, list[pl.DataFrame]] = {}
    for part in parts:
        judged = read_and_judge(part, source, schema, now_us)
        total += findings_of(judged, source)
        for rule in unique_rules(source):
            keys.setdefault(rule.label(), []).append(unique_keys(judged.rows, rule))
    for rule in unique_rules(source):
        new = pl.concat(keys[rule.label()])
        known = [new.with_columns(new=pl.lit(True))]
        for path in stored_files(offline, source, rule):
            stored = unique_keys(pq.read_table(path, columns=[EVENT_ID, *rule.column], partitioning=None), rule)
            known.append(stored.join(new.select("key"), on="key", how="semi").with_columns(new=pl.lit(False)))
        total += Findings(tallies={rule.label(): repeats(pl.concat(known))})
    return total


def findings_of(judged: Judged, source: DataSource) -> Findings:
    """Return what one part gives to the rules that add up over parts."""
    rows, tallies = judged.rows, dict(judged.tallies)
    for rule in source.contract:
        if isinstance(rule, NullRatio):
            nulls = pc.is_null(rows[rule.column])
            examples = rows[EVENT_ID].filter(nulls).slice(0, 5).to_pylist()
            tallies[rule.label()] = Tally.of(rows.num_rows, rows[rule.column].null_count, examples)
    newest_us = pc.max(rows[EVENT_TIME].cast(pa.int64())).as_py() if rows.num_rows else None
    return Findings(rows.num_rows + judged.rejects.num_rows, newest_us, tallies)


def unique_rules(source: DataSource) -> list[Unique]:
    """Return the rules about values that no two events may have."""
    return [rule for rule in source.contract if isinstance(rule, Unique)]


def unique_keys(rows: pa.Table, rule: Unique) -> pl.DataFrame:
    """Return `key`, the rule's values as one text, and `event` of the rows that have all of the values."""
    columns = [rows[name].combine_chunks() for name in rule.column]
    flat = [pa.concat_arrays(c.chunks) if isinstance(c, pa.ChunkedArray) else c for c in columns]
    frame = pl.DataFrame(
        {"key": pl.Series(values=event_ids(flat), dtype=pl.String),
         "event": pl.Series(values=rows[EVENT_ID], dtype=pl.String)}
    )  # fmt: skip
    return frame.drop_nulls("key")


def stored_files(offline: OfflineStore, source: DataSource, rule: Unique) -> list[str]:
    """Return the data files of the source's table that have the rule's columns."""
    if offline.version(source.name) < 0:
        return []
    return [p for p in offline.files(source.name) if set(rule.column) <= set(pq.read_schema(p).names)]


def repeats(keys: pl.DataFrame) -> Tally:
    """Count the new rows whose value another event has too.

    Args:
        keys: `key`, `event` and `new` of all rows that share a key, and any others.

    Returns:
        The new rows, those at fault, and values of them.
    """
    shared = keys.group_by("key").agg(pl.col("event").n_unique()).filter(pl.col("event") > 1)
    new = keys.filter("new")
    bad = new.join(shared.select("key"), on="key", how="semi")
    return Tally.of(new.height, bad.height, sorted(bad["key"].unique().to_list())[:5])


def _result(rule: Any, work: Ingestion, found: Findings, rows: int) -> RuleResult:
    tally = found.tallies.get(rule.label(), Tally())
    if isinstance(rule, RowRule):
        return RuleResult.of(rule, tally, broken_rows(tally))
    if isinstance(rule, NullRatio):
        ratio = tally.violations / max(1, tally.checked)
        message = f"{ratio:.4g} of {tally.checked:,} values of {rule.column} are null, {rule.max_ratio:g} may be"
        return RuleResult.of(rule, tally, message, passed=tally.violations <= rule.max_ratio * tally.checked)
    if isinstance(rule, Unique):
        names = " and ".join(rule.column)
        message = f"{tally.violations:,} of {tally.checked:,} rows share {names} with another event"
        return RuleResult.of(rule, tally, message)
    if isinstance(rule, Fresh):
        return _freshness(rule, work, found)
    assert isinstance(rule, RowCount)
    return _row_count(rule, work.rows_before, rows)


def _freshness(rule: Fresh, work: Ingestion, found: Findings) -> RuleResult:
    least_us = work.now_us - duration_us(rule.max_age)
    table, stored_us = work.source.name, None
    if (found.newest_us is None or found.newest_us < least_us) and work.offline.version(table) >= 0:
        times = work.offline.read(table, columns=[EVENT_TIME], after_us=least_us - 1)[EVENT_TIME]
        times = times if len(times) else work.offline.read(table, columns=[EVENT_TIME])[EVENT_TIME]
        stored_us = pc.max(times.cast(pa.int64())).as_py()
    newest_us = max((t for t in (found.newest_us, stored_us) if t is not None), default=None)
    if newest_us is None:
        return RuleResult.of(rule, Tally.of(1, 1, []), f"there is no event, and {rule.requirement()}")
    newest, stale = from_us(newest_us).isoformat(), newest_us < least_us
    tally = Tally.of(1, int(stale), [newest] if stale else [])
    return RuleResult.of(rule, tally, f"the newest event is of {newest}, and {rule.requirement()}")


def _row_count(rule: RowCount, before: int | None, rows: int) -> RuleResult:
    if before is None:
        return RuleResult.of(rule, Tally(), f"{rows:,} rows, and no ingestion before to compare them with")
    least, most = rule.allowed_rows(before)
    bad = not least <= rows <= most
    allowed = f"at least {least:,}" if most == float("inf") else f"{least:,} to {most:,.0f}"
    message = f"{rows:,} rows after {before:,} at the ingestion before; {allowed} are allowed"
    return RuleResult.of(rule, Tally.of(1, int(bad), [str(rows)] if bad else []), message)
