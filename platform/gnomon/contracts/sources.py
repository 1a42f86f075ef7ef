"""DataSource: where rows come from, what each must look like, and what its times mean."""

from __future__ import annotations

from datetime import timedelta
from pathlib import PurePath
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from gnomon.contracts.columns import Dtype
from gnomon.contracts.durations import Duration
from gnomon.contracts.specs import Part, Spec, as_tuple

FileFormat = Literal["parquet", "csv", "jsonl", "json"]
"""`jsonl` is one object a line; `json` is one array of objects."""

_FORMATS: dict[str, FileFormat] = {
    ".parquet": "parquet", ".pq": "parquet", ".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "json",
}  # fmt: skip


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


class DataSource(Spec, init=False):
    """Rows in files, each an event with an identity, an event time and a known time.

    A row's known time is its `known_time` column; without one it is the event time plus `known_delay`.
    Rows with the same `id` are versions of one event: the later-known one replaces the earlier from then on.

    Attributes:
        path: File, folder or glob; relative paths are taken from the folder of the app file.
        format: Inferred from the path's ending when left out.
        id: Column or columns whose values identify the event.
        event_time: Column with the time of the event.
        known_time: Column with the time at which the row became known.
        known_delay: How long after the event a row is known, where there is no such column.
        timezone: IANA zone of times that are written without one; without it such times are refused.
        time_format: strptime format of times that are not ISO 8601.
        fields: Types and rules by column; when empty, the types are read from the files and every column is kept.

    Example:
        >>> DataSource("payments", path="p/*.parquet", id="tx_id", event_time="paid_at").format
        'parquet'
    """

    kind: ClassVar[str] = "source"
    path: str
    format: FileFormat
    id: Annotated[tuple[str, ...], BeforeValidator(as_tuple), Field(min_length=1)]
    event_time: str
    known_time: str | None = None
    known_delay: Duration = timedelta(0)
    timezone: str | None = None
    time_format: str | None = None
    fields: dict[str, Annotated[FieldSpec, BeforeValidator(_as_field)]] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _infer_format(cls, values: Any) -> Any:
        if isinstance(values, dict) and "format" not in values and isinstance(values.get("path"), str):
            suffix = PurePath(values["path"]).suffix.lower()
            if suffix not in _FORMATS:
                raise ValueError(f"the format of path '{values['path']}' cannot be told from its ending: set format=")
            values = {**values, "format": _FORMATS[suffix]}
        return values

    @model_validator(mode="after")
    def _times_declared_once(self) -> Self:
        if self.known_time is not None and self.known_delay:
            raise ValueError("known_time and known_delay exclude each other: the column already says when")
        return self

    def required_columns(self) -> tuple[str, ...]:
        """Return the columns that every file must have, in declaration order and without repeats."""
        names = [*self.id, self.event_time, *((self.known_time,) if self.known_time else ()), *self.fields]
        return tuple(dict.fromkeys(names))
