"""What the offline store gives Feast: work that is done when it is asked for. Called by `offline_store`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pandas as pd
import pyarrow as pa
from feast import OnDemandFeatureView
from feast.errors import SavedDatasetLocationAlreadyExists
from feast.infra.offline_stores.offline_store import RetrievalJob, RetrievalMetadata
from feast.saved_dataset import SavedDatasetStorage

from gnomon_for_feast.sources import GnomonStorage


class GnomonJob(RetrievalJob):
    """A question to the offline store.

    Args:
        work: Answers it.
        time_column: The column of times in the answer.
        full_names: Whether features are called by the names of their views, too.
        on_demand: On-demand views that Feast computes from the answer.
        metadata: What Feast says of the answer.
    """

    def __init__(
        self, work: Callable[[], pa.Table], time_column: str, *, full_names: bool = False,
        on_demand: Sequence[OnDemandFeatureView] = (), metadata: RetrievalMetadata | None = None,
    ) -> None:  # fmt: skip
        self._work, self._time_column, self._full_names = work, time_column, full_names
        self._on_demand, self._metadata = list(on_demand), metadata

    @property
    def full_feature_names(self) -> bool:
        """Return whether features are called by the names of their views, too."""
        return self._full_names

    @property
    def on_demand_feature_views(self) -> list[OnDemandFeatureView]:
        """Return the on-demand views that Feast computes from the answer."""
        return self._on_demand

    @property
    def metadata(self) -> RetrievalMetadata | None:
        """Return what Feast says of the answer."""
        return self._metadata

    def _to_arrow_internal(self, timeout: int | None = None) -> pa.Table:
        return self._work()

    def _to_df_internal(self, timeout: int | None = None) -> pd.DataFrame:
        return self._work().to_pandas()

    def persist(
        self, storage: SavedDatasetStorage, allow_overwrite: bool = False, timeout: int | None = None
    ) -> None:  # fmt: skip
        """Keep the answer in a table."""
        if not isinstance(storage, GnomonStorage):
            raise TypeError(f"the answer is kept in a GnomonStorage, not in a {type(storage).__name__}")
        source = storage.to_data_source()
        if source.tables.exists(storage.table):
            if not allow_overwrite:
                raise SavedDatasetLocationAlreadyExists(location=f"{storage.root}/{storage.table}")
            source.tables.drop(storage.table)
        source.tables.append(storage.table, self.to_arrow(timeout=timeout), self._time_column, "")
