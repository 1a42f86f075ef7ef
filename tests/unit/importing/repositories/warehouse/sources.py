"""Sources of every kind, and things that only Feast has."""

from feast import BigQuerySource, FeatureStore, Permission, RedshiftSource, SnowflakeSource
from feast.data_source import DataSource
from feast.infra.data_sources.contrib.iceberg_catalog.iceberg_source import IcebergSource
from feast.infra.offline_stores.contrib.mssql_offline_store.mssqlserver_source import MsSqlServerSource
from feast.infra.offline_stores.contrib.postgres_offline_store.postgres_source import PostgreSQLSource
from feast.infra.offline_stores.contrib.spark_offline_store.spark_source import SparkSource
from feast.permissions.action import AuthzedAction
from feast.permissions.policy import RoleBasedPolicy


class OwnSource(DataSource):
    """A source of the company's own."""


in_snowflake = SnowflakeSource(
    name="in_snowflake", database="DB", schema="PUBLIC", table="STATS", timestamp_field="at", warehouse="WH"
)
in_bigquery = BigQuerySource(
    name="in_bigquery", table="project.dataset.stats", timestamp_field="at", date_partition_column="day"
)
in_redshift = RedshiftSource(name="in_redshift", query="SELECT * FROM stats", timestamp_field="at")
in_postgres = PostgreSQLSource("in_postgres", "SELECT a, at, created FROM stats", None, "at", "created")
in_mssql = MsSqlServerSource(
    name="in_mssql",
    table_ref="dbo.stats",
    event_timestamp_column="at",
    connection_str="mssql://sa:secret@server/db",
)
in_iceberg = IcebergSource(
    name="in_iceberg", warehouse="wh", namespace="shop", table="stats", catalog_name="lake", timestamp_field="at"
)
in_spark_files = SparkSource(name="in_spark_files", path="/lake/stats", file_format="delta", timestamp_field="at")
in_spark = SparkSource(name="in_spark", table="stats", timestamp_field="at")
of_our_own = OwnSource(name="of_our_own", timestamp_field="at")

store = FeatureStore(repo_path=".")
readers = Permission(
    name="readers", types=[DataSource], actions=[AuthzedAction.DESCRIBE], policy=RoleBasedPolicy(roles=["reader"])
)
