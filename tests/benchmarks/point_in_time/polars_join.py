"""polars' join_asof, and a join with a filter, over Parquet files; a contestant of `point_in_time`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from importlib.metadata import version
from typing import Any

import polars as pl
from contestant import run, time_runs
from point_in_time.rows import FEATURES, VIEWS, WINDOW_DAYS, check, columns, file, labels, write_files


class PolarsJoin:
    """The contestant; see `contestant.Contestant`."""

    def __init__(self) -> None:
        self._folder = ""

    def prepare(self, world: Mapping[str, Any]) -> None:
        """Write the files."""
        write_files(world)

    def open(self, world: Mapping[str, Any]) -> dict[str, str]:
        """Remember where the files are."""
        self._folder = world["folder"]
        return {name: version(name) for name in ("polars", "pyarrow")}

    def measure(self, scenario: Mapping[str, Any], budget_s: float) -> dict[str, Any]:
        """Time queries, from label rows in memory to features in memory, in the label rows' order."""
        names = columns(scenario["what"])
        asked = pl.DataFrame(labels(scenario["labels"], scenario["events"])).with_row_index("i").lazy()
        query = (
            self._windows(asked, scenario["events"]) if names == ["mean"] else self._newest(asked, scenario["events"])
        )
        taken, answer = time_runs(query.select(names).collect, budget_s)
        return {**taken, "check": check(answer.to_arrow())}

    def close(self) -> None:
        """Nothing is left open."""

    def _newest(self, asked: pl.LazyFrame, number: int) -> pl.LazyFrame:
        joined = asked.sort("at")
        for view in VIEWS:
            rows = pl.scan_parquet(file(self._folder, number, view)).sort("at")
            rows = rows.rename({name: f"{view}_{name}" for name in FEATURES})
            joined = joined.join_asof(rows, on="at", by="entity", strategy="backward", check_sortedness=False)
        return joined.sort("i")

    def _windows(self, asked: pl.LazyFrame, number: int) -> pl.LazyFrame:
        rows = pl.scan_parquet(file(self._folder, number, VIEWS[0])).select("entity", "a", event="at")
        age = pl.col("at") - pl.col("event")
        inside = asked.join(rows, on="entity").filter(age >= timedelta(0), age < timedelta(days=WINDOW_DAYS))
        means = inside.group_by("i").agg(mean=pl.col("a").mean())
        return asked.join(means, on="i", how="left", maintain_order="left")


if __name__ == "__main__":
    run(PolarsJoin())
