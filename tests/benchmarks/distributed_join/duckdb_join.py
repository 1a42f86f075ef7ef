"""DuckDB's joins over a Parquet file, in one process with all cores; a contestant of `distributed_join`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
from contestant import run, time_runs
from distributed_join.rows import FEATURES, file, labels, write_files
from point_in_time.duckdb_join import DuckdbJoin
from point_in_time.rows import WINDOW_DAYS, check


class OneView(DuckdbJoin):
    """The contestant; see `contestant.Contestant`."""

    def prepare(self, world: Mapping[str, Any]) -> None:
        """Write the files."""
        write_files(world)

    def measure(self, scenario: Mapping[str, Any], budget_s: float) -> dict[str, Any]:
        """Time queries, from label rows in memory to features in memory, in the label rows' order."""
        assert self.connection is not None
        connection, asked = self.connection, labels(scenario)
        connection.register("asked", asked.append_column("i", pa.array(range(asked.num_rows), pa.int64())))
        rows, chosen = file(self.folder, scenario), ", ".join(f"e.{name}" for name in FEATURES)
        query = (
            f"SELECT avg(e.a) AS mean FROM asked l LEFT JOIN '{rows}' AS e ON l.entity = e.entity AND e.at <= l.at "
            f"AND e.at > l.at - INTERVAL {WINDOW_DAYS} DAY GROUP BY l.i ORDER BY l.i"
            if scenario["what"] == "mean"
            else f"SELECT {chosen} FROM asked l ASOF LEFT JOIN '{rows}' AS e "
            "ON l.entity = e.entity AND l.at >= e.at ORDER BY l.i"
        )
        taken, answer = time_runs(lambda: connection.sql(query).to_arrow_table(), budget_s)
        return {
            "seconds": taken["seconds"], "first_s": taken["first_s"], "process_mib": taken["peak_mib"],
            "driver_mib": taken["peak_mib"], "check": check(answer),
        }  # fmt: skip


if __name__ == "__main__":
    run(OneView())
