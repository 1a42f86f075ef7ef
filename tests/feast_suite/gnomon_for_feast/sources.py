"""What a Feast repository names when its rows are in our Delta tables: sources, saved data sets, places of logs.

Called by Feast, which keeps them in its registry as JSON.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

from feast.data_source import DataSource
from feast.feature_logging import LoggingDestination
from feast.protos.feast.core.DataSource_pb2 import DataSource as DataSourceProto
from feast.protos.feast.core.FeatureService_pb2 import LoggingConfig as LoggingConfigProto
from feast.protos.feast.core.SavedDataset_pb2 import SavedDatasetStorage as StorageProto
from feast.repo_config import RepoConfig
from feast.saved_dataset import SavedDatasetStorage
from feast.type_map import pa_to_feast_value_type
from feast.value_type import ValueType

from gnomon_for_feast.offline_tables import OfflineTables


class GnomonSource(DataSource):
    """Rows in one of our tables.

    Args:
        name: Name of the source, and of its table.
        root: Folder of the tables.
        **options: As every data source of Feast has them.
    """

    def __init__(self, name: str, root: str, **options: Any) -> None:
        super().__init__(name=name, **options)
        self.root = root

    def __hash__(self) -> int:
        return hash((self.name, self.root))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, GnomonSource) and self.root == other.root and bool(super().__eq__(other))

    @property
    def tables(self) -> OfflineTables:
        """Return the tables of its folder."""
        return OfflineTables(self.root)

    def raw(self, name: str) -> str:
        """Return the column that Feast calls by a name after its field mapping."""
        return next((column for column, called in self.field_mapping.items() if called == name), name)

    def source_type(self) -> Any:
        """Return that it is a source of a plugin."""
        return DataSourceProto.CUSTOM_SOURCE

    @staticmethod
    def from_proto(data_source: Any) -> GnomonSource:
        """Read what `to_proto` wrote."""
        return GnomonSource(
            name=data_source.name, root=json.loads(data_source.custom_options.configuration)["root"],
            timestamp_field=data_source.timestamp_field,
            created_timestamp_column=data_source.created_timestamp_column,
            field_mapping=dict(data_source.field_mapping), description=data_source.description,
            tags=dict(data_source.tags), owner=data_source.owner,
        )  # fmt: skip

    def _to_proto_impl(self) -> Any:
        return DataSourceProto(
            name=self.name, type=DataSourceProto.CUSTOM_SOURCE,
            data_source_class_type=f"{__name__}.{type(self).__name__}",
            custom_options=_options(self.name, self.root), timestamp_field=self.timestamp_field,
            created_timestamp_column=self.created_timestamp_column, field_mapping=self.field_mapping,
            description=self.description, tags=self.tags, owner=self.owner,
        )  # fmt: skip

    def validate(self, config: RepoConfig) -> None:
        """Raise where the table is absent."""
        self.tables.schema(self.name)

    @staticmethod
    def source_datatype_to_feast_value_type() -> Callable[[str], ValueType]:
        """Return what tells Feast's type of an Arrow type."""
        return pa_to_feast_value_type

    def get_table_column_names_and_types(self, config: RepoConfig) -> Iterable[tuple[str, str]]:
        """Return the columns in the order in which they were given, with their Arrow types."""
        schema = self.tables.schema(self.name)
        return zip(schema.names, map(str, schema.types), strict=True)


class GnomonStorage(SavedDatasetStorage):
    """Where a saved data set is: one of our tables.

    Args:
        table: Its name.
        root: Folder of the tables.
    """

    _proto_attr_name = "custom_storage"

    def __init__(self, table: str, root: str) -> None:
        self.table = table
        self.root = root

    @staticmethod
    def from_proto(storage_proto: Any) -> GnomonStorage:
        """Read what `to_proto` wrote."""
        options = json.loads(storage_proto.custom_storage.configuration)
        return GnomonStorage(options["table"], options["root"])

    def to_proto(self) -> Any:
        """Return what Feast keeps in its registry."""
        wrap: Callable[[Any], StorageProto] = self._custom_storage_proto
        return wrap(_options(self.table, self.root))

    def to_data_source(self) -> DataSource:
        """Return the table as a source."""
        return GnomonSource(self.table, self.root)


class GnomonLogs(LoggingDestination):
    """Where served features are logged: one of our tables.

    Args:
        table: Its name.
        root: Folder of the tables.
    """

    _proto_kind = "gnomon"

    def __init__(self, table: str, root: str) -> None:
        self.table = table
        self.root = root

    @classmethod
    def from_proto(cls, config_proto: Any) -> GnomonLogs:
        """Read what `to_proto` wrote."""
        options = config_proto.custom_destination.config
        return cls(options["table"], options["root"])

    def to_proto(self) -> Any:
        """Return what Feast keeps in its registry."""
        place = LoggingConfigProto.CustomDestination(
            kind=self._proto_kind, config={"table": self.table, "root": self.root}
        )
        return LoggingConfigProto(custom_destination=place)

    def to_data_source(self) -> DataSource:
        """Return the table as a source."""
        return GnomonSource(self.table, self.root)


def _options(table: str, root: str) -> Any:
    configuration = json.dumps({"table": table, "root": root}).encode()
    return DataSourceProto.CustomSourceOptions(configuration=configuration)
