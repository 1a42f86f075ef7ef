"""Feast's `get_historical_features` with its file (dask) offline store; a contestant of `point_in_time`."""

from __future__ import annotations

from typing import ClassVar

from contestant import run
from point_in_time.feast_duckdb import FeastDuckdb


class FeastFile(FeastDuckdb):
    """The contestant; see `contestant.Contestant`."""

    store_type: ClassVar[str] = "file"


if __name__ == "__main__":
    run(FeastFile())
