"""Feast's `materialize` from a Parquet file, with its defaults; a contestant of `online_write`.

The file is written unmeasured, before each call; reading it and looking for the newest row of each entity are part of
what is timed, for there is no materialization without them.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import pandas as pd
from contestant import run
from feast import FeatureStore
from online_write.feast_sdk import FeastSdk, frame
from online_write.rows import VIEW


class FeastMaterialize(FeastSdk):
    """The contestant; see `contestant.Contestant`."""

    def make(self, entities: int, generation: int, at: datetime) -> pd.DataFrame:
        """Write the file; of what is returned only the time is used."""
        rows = frame(entities, generation, at)
        rows.to_parquet(self.folder / "rows.parquet")
        return rows[:1]

    def put(self, store: FeatureStore, made: pd.DataFrame) -> None:
        """Materialize the file."""
        at = made["at"].iloc[0].to_pydatetime()
        store.materialize(at - timedelta(seconds=1), at + timedelta(seconds=1), [VIEW])


if __name__ == "__main__":
    run(FeastMaterialize())
