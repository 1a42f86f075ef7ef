"""DataSource: where rows come from, what each must look like, and what its times mean."""

from __future__ import annotations

from datetime import timedelta
from pathlib import PurePath
from typing import Annotated, Any, ClassVar, Literal, Self, cast

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from gnomon.contracts.columns import Dtype
from gnomon.contracts.data_contracts import AnyRule, RowRule
from gnomon.contracts.durations import Duration
from gnomon.contracts.kafka_topics import KafkaTopic
from gnomon.contracts.object_urls import is_object_url, parse_object_url
from gnomon.contracts.specs import UNUSED, Part, Spec, as_tuple
from gnomon.contracts.transform_rules import check_steps
from gnomon.contracts.transforms import AnyTransform, columns_read, computed_columns

FileFormat = Literal["parquet", "csv", "jsonl", "json"]
"""`jsonl` is one object a line; `json` is one array of objects."""

SourceFormat = FileFormat | Literal["delta", "iceberg", "sql", "kafka"]
"""Files, tables of files, a database, or a topic."""

_FORMATS: dict[str, FileFormat] = {
    ".parquet": "parquet", ".pq": "parquet", ".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "json",
}  # fmt: skip

EPOCH_UNITS_US = {"epoch_s": 1_000_000, "epoch_ms": 1_000, "epoch_us": 1}
"""Time formats of whole numbers since 1970-01-01T00:00:00Z, and the microseconds of their units."""


class FieldSpec(Part, init=False):
    """What a column of a source holds; a row that breaks a rule is quarantined with the rule as its reason.

    Attributes:
        dtype: The column's type; a value that cannot be read as it breaks the rule.
        nullable: Whether null is allowed.
        min: Least number allowed, inclusive.
        max: Greatest number allowed, inclusive.
        one_of: The only values allowed; empty allows all.
        pattern: Regular expression that the whole text must match.
    """

    kind: ClassVar[str] = "field"
    positional: ClassVar[tuple[str, ...]] = ("dtype",)
    dtype: Dtype
    nullable: bool = True
    min: float | None = None
    max: float | None = None
    one_of: tuple[str | int, ...] = ()
    pattern: str | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min} is above max {self.max}")
        if (self.min is not None or self.max is not None) and self.dtype not in ("int64", "float64"):
            raise ValueError(f"min and max need a number, the type is {self.dtype}")
        if self.pattern is not None and self.dtype != "string":
            raise ValueError(f"a pattern needs a string, the type is {self.dtype}")
        return self


def _as_field(value: Any) -> Any:
    return {"dtype": value} if isinstance(value, str) else value


_TAKES: dict[str, tuple[str, ...]] = {
    "delta": ("path",),
    "iceberg": ("table", "catalog"),
    "sql": ("sql", "table", "url_env", "partition_by", "partitions", "watermark", "late"),
    "kafka": ("kafka",),
}
_NO_PLACE = "say where its rows are: path=, or sql= or table= with url_env=, or table= with catalog=, or kafka="
_PLACES = ("path", "sql", "table", "catalog", "url_env", "partition_by", "partitions", "watermark", "late", "kafka")


class DataSource(Spec, init=False):
    """Rows in files, in a table of a lake, in a database or in a topic, each an event with an identity and two times.

    A row's known time is its `known_time` column; without one it is the event time plus `known_delay`.
    Rows with the same `id` are versions of one event: the later-known one replaces the earlier from then on.

    Attributes:
        path: File, folder or glob, or folder of a Delta table; relative paths start from the folder of the app file. Or
            objects, as `s3://bucket/prefix/*.parquet`, `gs://…` or `abfss://…`, without credentials.
        format: Inferred from the path's ending, or from the other fields, when left out.
        id: Column or columns whose values identify the event.
        event_time: Column with the time of the event.
        known_time: Column with the time at which the row became known.
        known_delay: How long after the event a row is known, where there is no such column.
        timezone: IANA zone of times that are written without one; without it such times are refused.
        time_format: strptime format of times that are not ISO 8601; `epoch_s`, `epoch_ms` or `epoch_us` for numbers.
        fields: Types and rules by column; when empty, the types are read from the files and every column is kept.
        transforms: Steps that cleanse and normalise each row, in this order, before any rule looks at it.
        contract: Rules beyond those of the fields, each with its severity; checked before anything is committed.
        sql: A SELECT whose rows are the source's.
        table: Table of the database, with `schema.` before it where needed; or `namespace.table` of the catalog.
        url_env: Environment variable of the platform's processes that holds the database's SQLAlchemy URL. A definition
            is stored and shown, and so never holds the URL with its password.
        catalog: Name of the Iceberg catalog in pyiceberg's own configuration (`PYICEBERG_CATALOG__<NAME>__URI`).
        partition_by: Numeric or time column by whose ranges a database is read in parts.
        partitions: How many parts; 4 when left out.
        watermark: Column that grows with every insert and update; only rows from its last value on are read again.
        late: How far behind the last watermark rows may still appear; that much is read again, and known rows dropped.
        kafka: Topic whose messages are the rows; read without pause while the source is applied.

    Example:
        >>> DataSource("payments", path="p/*.parquet", id="tx_id", event_time="paid_at").format
        'parquet'
        >>> DataSource("orders", table="orders", url_env="SHOP_URL", id="id", event_time="at", watermark="at").format
        'sql'
    """

    model_config = ConfigDict(hide_input_in_errors=True)
    kind: ClassVar[str] = "source"
    path: str = ""
    format: SourceFormat
    id: Annotated[tuple[str, ...], BeforeValidator(as_tuple), Field(min_length=1)]
    event_time: str
    known_time: str | None = None
    known_delay: Duration = timedelta(0)
    timezone: str | None = None
    time_format: str | None = None
    fields: dict[str, Annotated[FieldSpec, BeforeValidator(_as_field)]] = Field(default_factory=dict)
    transforms: Annotated[
        tuple[AnyTransform, ...], BeforeValidator(as_tuple), Field(default=(), exclude_if=lambda steps: not steps)
    ]
    contract: Annotated[
        tuple[AnyRule, ...], BeforeValidator(as_tuple), Field(default=(), exclude_if=lambda rules: not rules)
    ]
    sql: str | None = UNUSED
    table: str | None = UNUSED
    url_env: Annotated[str | None, Field(pattern=r"^[A-Z][A-Z0-9_]*$")] = UNUSED
    catalog: str | None = UNUSED
    partition_by: str | None = UNUSED
    partitions: Annotated[int | None, Field(ge=1, le=64)] = UNUSED
    watermark: str | None = UNUSED
    late: Duration | None = UNUSED
    kafka: KafkaTopic | None = UNUSED

    @model_validator(mode="before")
    @classmethod
    def _infer_format(cls, values: Any) -> Any:
        path = values.get("path") if isinstance(values, dict) else None
        if isinstance(path, str) and is_object_url(path):
            parse_object_url(path)  # first, because it may have a password in it, and no later error may show that
            if values.get("format") == "delta":
                raise ValueError(f"Delta tables in object stores are not read: mount '{path}', and give its folder")
        if not isinstance(values, dict) or "format" in values:
            return values
        if values.get("kafka"):
            return {**values, "format": "kafka"}
        if values.get("sql") or values.get("url_env"):
            return {**values, "format": "sql"}
        if values.get("table") or values.get("catalog"):
            return {**values, "format": "iceberg"}
        if not isinstance(values.get("path"), str):
            raise ValueError(_NO_PLACE)  # noqa: TRY004 - only ValueErrors become errors of the definition
        suffix = PurePath(values["path"]).suffix.lower()
        if suffix not in _FORMATS:
            raise ValueError(f"the format of path '{values['path']}' cannot be told from its ending: set format=")
        return {**values, "format": _FORMATS[suffix]}

    @model_validator(mode="after")
    def _times_declared_once(self) -> Self:
        if self.known_time is not None and self.known_delay:
            raise ValueError("known_time and known_delay exclude each other: the column already says when")
        return self

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        given = [name for name in _PLACES if getattr(self, name) not in (None, "")]
        for name in given:
            if name not in _TAKES.get(self.format, ("path",)):
                raise ValueError(f"a source of format '{self.format}' takes no {name}")
        needed = {"iceberg": ("table", "catalog"), "sql": ("url_env",), "kafka": ("kafka",)}.get(self.format, ("path",))
        for name in needed:
            if name not in given:
                raise ValueError(f"a source of format '{self.format}' needs {name}")
        if self.format == "sql" and (self.sql is None) == (self.table is None):
            raise ValueError("give exactly one of sql and table")
        for name, other in (("late", "watermark"), ("partitions", "partition_by")):
            if name in given and other not in given:
                raise ValueError(f"{name} has no meaning without {other}")
        return self

    @model_validator(mode="after")
    def _rules_have_names_of_their_own(self) -> Self:
        labels = [rule.label() for rule in self.contract]
        for label in labels:
            if labels.count(label) > 1:
                raise ValueError(f"two rules of the contract are named '{label}': give one of them another name=")
        return self

    @model_validator(mode="after")
    def _rules_fit_a_topic(self) -> Self:
        for rule in self.contract if self.kafka else ():
            if not isinstance(rule, RowRule):
                raise ValueError(  # noqa: TRY004 - only ValueErrors become errors of the definition
                    f"rule '{rule.label()}' is about all rows of an ingestion, and a topic has no end"
                )
            if rule.severity == "fail":
                raise ValueError(
                    f"rule '{rule.label()}' has the severity 'fail', and nobody can be refused a message that is in "
                    "the topic: give it severity='quarantine' or 'warn'"
                )
        return self

    @model_validator(mode="after")
    def _message_columns_fit(self) -> Self:
        computed = computed_columns(self.transforms)
        for name, dtype in (self.kafka.column_types() if self.kafka else {}).items():
            if name in computed:
                raise ValueError(f"column '{name}' is taken from the message, and a transform computes it too")
            declared = self.fields[name].dtype if name in self.fields else dtype
            declared = "timestamp" if name in self.times() else declared
            if dtype != "string" and declared != dtype:
                raise ValueError(f"column '{name}' is a message's {dtype}, and is declared as {declared}")
        return self

    @model_validator(mode="after")
    def _transforms_fit(self) -> Self:
        types: dict[str, Dtype] = {name: field.dtype for name, field in self.fields.items()}
        check_steps(self.transforms, self.event_columns(), types | dict.fromkeys(self.times(), "timestamp"))
        return self

    def times(self) -> tuple[str, ...]:
        """Return the columns of event time and known time."""
        return (self.event_time,) if self.known_time is None else (self.event_time, self.known_time)

    def event_columns(self) -> tuple[str, ...]:
        """Return the columns of the event's id and times."""
        return (*self.id, *self.times())

    def file_format(self) -> FileFormat:
        """Return the format of the files that rows are read from: Parquet where they are extracted to files first."""
        return "parquet" if self.is_extracted() else cast(FileFormat, self.format)

    def is_extracted(self) -> bool:
        """Tell whether an ingestion first brings what is new into files, as from a database."""
        return self.format in _TAKES

    def place(self) -> str:
        """Return where the rows come from, in words that hold no secret."""
        if self.kafka is not None:
            return self.kafka.place()
        if self.format == "sql":
            return f"table '{self.table}' of {self.url_env}" if self.table else f"the query on {self.url_env}"
        return f"table '{self.table}' of catalog '{self.catalog}'" if self.format == "iceberg" else f"'{self.path}'"

    def required_columns(self) -> tuple[str, ...]:
        """Return the columns that every file, or message, must have, in declaration order and without repeats."""
        ruled = (name for rule in self.contract for name in rule.columns())
        around = self.kafka.columns if self.kafka else ()
        names = [*self.event_columns(), *self.fields, *around, *ruled, *columns_read(self.transforms)]
        computed = computed_columns(self.transforms)
        return tuple(dict.fromkeys(name for name in names if name not in computed))
