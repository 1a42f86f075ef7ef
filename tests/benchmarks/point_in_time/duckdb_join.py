"""DuckDB's ASOF JOIN, and its join by a range of times, over Parquet files; a contestant of `point_in_time`."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import duckdb
import pyarrow as pa
from contestant import run, time_runs
from point_in_time.rows import FEATURES, VIEWS, WINDOW_DAYS, check, columns, file, labels, write_files


class DuckdbJoin:
    """The contestant; see `contestant.Contestant`."""

    def __init__(self) -> None:
        self.folder = ""
        self.connection: duckdb.DuckDBPyConnection | None = None

    def prepare(self, world: Mapping[str, Any]) -> None:
        """Write the files."""
        write_files(world)

    def open(self, world: Mapping[str, Any]) -> dict[str, str]:
        """Connect to a database in memory."""
        self.folder = world["folder"]
        self.connection = duckdb.connect()
        self.connection.execute("SET TimeZone = 'UTC'")
        return {name: version(name) for name in ("duckdb", "pyarrow")}

    def measure(self, scenario: Mapping[str, Any], budget_s: float) -> dict[str, Any]:
        """Time queries, from label rows in memory to features in memory, in the label rows' order."""
        assert self.connection is not None
        connection, names = self.connection, columns(scenario["what"])
        asked = labels(scenario["labels"], scenario["events"])
        asked = asked.append_column("i", pa.array(range(asked.num_rows), pa.int64()))
        connection.register("asked", asked)
        query = self._windows(scenario["events"]) if names == ["mean"] else self._newest(scenario["events"])
        taken, answer = time_runs(lambda: connection.sql(query).to_arrow_table(), budget_s)
        return {**taken, "check": check(answer.select(names))}

    def close(self) -> None:
        """Close the database."""
        if self.connection is not None:
            self.connection.close()

    def _newest(self, number: int) -> str:
        chosen = ", ".join(f"{view}.{name} AS {view}_{name}" for view in VIEWS for name in FEATURES)
        joins = " ".join(
            f"ASOF LEFT JOIN '{file(self.folder, number, view)}' AS {view} "
            f"ON l.entity = {view}.entity AND l.at >= {view}.at"
            for view in VIEWS
        )
        return f"SELECT {chosen} FROM asked l {joins} ORDER BY l.i"

    def _windows(self, number: int) -> str:
        return (
            f"SELECT avg(e.a) AS mean FROM asked l LEFT JOIN '{file(self.folder, number, VIEWS[0])}' AS e "
            f"ON l.entity = e.entity AND e.at <= l.at AND e.at > l.at - INTERVAL {WINDOW_DAYS} DAY "
            "GROUP BY l.i ORDER BY l.i"
        )


if __name__ == "__main__":
    run(DuckdbJoin())
