"""A stand-in for the package `feast` that records what is defined with it and does nothing else.

Installed by `recorder` in a process of its own, before a repository's files are run there. Every module below `feast`
can be imported from it and has every name: one that Feast does not have, or that we do not know, records too, and is
reported later as having no counterpart. Standard library only.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

_SQL = ("name", "query", "table", "timestamp_field", "created_timestamp_column", "field_mapping")
_KINDS: dict[str, tuple[str, ...]] = {
    "Aggregation": ("column", "function", "time_window", "slide_interval", "name"),
    "BatchFeatureView": (),
    "Entity": ("name",),
    "Feature": ("name", "dtype"),
    "FeatureService": ("name", "features"),
    "FeatureView": ("name",),
    "Field": (),
    "LabelView": (),
    "OnDemandFeatureView": ("name",),
    "Permission": ("name", "types", "name_patterns", "actions", "policy"),
    "Project": ("name",),
    "StreamFeatureView": ("name",),
    "AthenaSource": (),
    "BigQuerySource": ("name", "timestamp_field", "table"),
    "ChrononSource": (),
    "ClickhouseSource": _SQL,
    "CouchbaseColumnarSource": (),
    "FileSource": ("path",),
    "IcebergSource": (),
    "KafkaSource": ("name",),
    "KinesisSource": ("name",),
    "MongoDBSource": ("name",),
    "MsSqlServerSource": ("name", "table_ref", "event_timestamp_column", "created_timestamp_column"),
    "OracleSource": ("name", "table_ref", "event_timestamp_column", "created_timestamp_column"),
    "PostgreSQLSource": _SQL,
    "PushSource": ("name",),
    "RaySource": (),
    "RedshiftSource": ("name", "timestamp_field", "table"),
    "RequestSource": ("name", "schema"),
    "SnowflakeSource": ("name", "timestamp_field"),
    "SparkSource": (),
    "TrinoSource": (),
    "AvroFormat": ("schema_json",),
    "DeltaFormat": (),
    "JsonFormat": ("schema_json",),
    "ParquetFormat": (),
    "ProtoFormat": ("class_path",),
    "FileLoggingDestination": ("path",),
    "LoggingConfig": ("destination", "sample_rate"),
    "Array": ("base_type",),
    "Set": ("base_type",),
    "Struct": ("fields",),
}
"""Feast's classes, with the parameters that may be given without a name. Any other name is recorded as unknown."""

_TYPES = (
    "Invalid", "Bytes", "PdfBytes", "ImageBytes", "String", "Bool", "Int32", "Int64", "Float32", "Float64",
    "UnixTimestamp", "Map", "Json", "Uuid", "TimeUuid", "Decimal", "ScalarMap", "ZonedTimestamp",
)  # fmt: skip
_COMPOSITES = ("Array", "Set", "Struct")
_DECORATORS = {
    "on_demand_feature_view": "OnDemandFeatureView",
    "batch_feature_view": "BatchFeatureView",
    "stream_feature_view": "StreamFeatureView",
}
RECORDED: list[Recorded] = []
"""Everything that was made, in order."""


def _hidden(name: str) -> bool:
    return name.startswith("_")


class _RecordedClass(type):
    """A class whose unknown attributes are constants, as those of an enumeration are."""

    def __getattr__(cls, name: str) -> Any:
        if _hidden(name):
            raise AttributeError(name)
        return Named(f"{cls.__name__}.{name}")


class Named:
    """A thing of Feast that is known by its name only: a primitive type, or a member of an enumeration.

    Args:
        name: As it is written, such as `Int64` or `ValueType.STRING`.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Named) and other.name == self.name

    def __hash__(self) -> int:
        return hash(self.name)


class Projectable:
    """What a service or an on-demand view takes as it is, or some of it, or under another name or key."""

    def __getitem__(self, names: Any) -> Projection:
        return Projection(self, features=names)

    def with_name(self, name: str) -> Projection:
        """Record that a service renames the view."""
        return Projection(self, name_alias=name)

    def with_join_key_map(self, join_key_map: dict[str, str]) -> Projection:
        """Record that a service joins the view by another key."""
        return Projection(self, join_key_map=join_key_map)


class Recorded(Projectable, metaclass=_RecordedClass):
    """An object of Feast: the values that it was made with, and where.

    Args:
        *values: Values without a name; those that no parameter is known for are kept by their number.
        **fields: Values by the parameter's name.
    """

    def __init__(self, *values: Any, **fields: Any) -> None:
        names = _KINDS.get(type(self).__name__, ())
        given = {names[i] if i < len(names) else str(i): value for i, value in enumerate(values)}
        self._fields: dict[str, Any] = {**given, **fields}
        self._place = _place()
        RECORDED.append(self)

    def __getattr__(self, name: str) -> Any:
        if _hidden(name):
            raise AttributeError(name)
        if name in self._fields:
            return self._fields[name]
        if name == "join_key":
            return (self._fields.get("join_keys") or [self._fields.get("name")])[0]
        if name == "features":
            return self._fields.get("schema") or []
        return _unknown(f"{type(self).__name__}.{name}")

    def __call__(self, *values: Any, **fields: Any) -> Recorded:
        return _unknown(f"{type(self).__name__}()")(*values, **fields)


class Projection(Projectable):
    """A view as a service or an on-demand view takes it: some of its features, another name, another key.

    Args:
        of: The view, or a projection of it.
        **changes: What differs from the view.
    """

    def __init__(self, of: Projectable, **changes: Any) -> None:
        assert isinstance(of, Recorded | Projection)
        self.of: Recorded = of if isinstance(of, Recorded) else of.of
        self.changes: dict[str, Any] = {**({} if isinstance(of, Recorded) else of.changes), **changes}

    def __getattr__(self, name: str) -> Any:
        return getattr(self.of, name)


def _class(name: str) -> type[Recorded]:
    made: Any = _RecordedClass(name, (Recorded,), {})
    return made  # type: ignore[no-any-return]


_classes: dict[str, type[Recorded]] = {name: _class(name) for name in _KINDS}
_unknowns: dict[str, type[Recorded]] = {}


def _unknown(name: str) -> type[Recorded]:
    return _unknowns.setdefault(name, _class(name))


def is_known(value: Recorded) -> bool:
    """Tell whether an object's class is one of Feast's that we know, and no subclass of one."""
    return _classes.get(type(value).__name__) is type(value)


def _decorator(kind: str) -> Callable[..., Any]:
    def decorate(*values: Any, **fields: Any) -> Any:
        def record(function: Callable[..., Any]) -> Recorded:
            name = fields.get("name") or function.__name__
            description = fields.get("description") or ""
            return _classes[kind](**{**fields, "name": name, "description": description, "udf": function})

        return record(values[0]) if values and callable(values[0]) else record

    return decorate


class StandInModule(ModuleType):
    """A module of the stand-in: every name can be imported from it."""

    def __getattr__(self, name: str) -> Any:
        if name == "__all__":
            types = [*_TYPES, *_COMPOSITES]
            kinds = [kind for kind in (*_KINDS, "ValueType", "FeatureStore") if kind not in _COMPOSITES]
            return types if self.__name__ == "feast.types" else kinds
        if _hidden(name):
            raise AttributeError(name)
        if name in _classes:
            return _classes[name]
        if name in _TYPES:
            return Named(name)
        if name in _DECORATORS and self.__name__ != "feast":
            return _decorator(_DECORATORS[name])
        if name == "ValueType" or not name.islower():
            return _unknown(name)
        return __import__(f"{self.__name__}.{name}", fromlist=["_"])  # as when Feast had imported it

    def __call__(self, *values: Any, **fields: Any) -> Any:
        """Record the call of a function that was taken for a module."""
        return _unknown(self.__name__.removeprefix("feast."))(*values, **fields)


class StandIn(MetaPathFinder, Loader):
    """Finds `feast` and every module below it, before what may be installed under that name."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the stand-in's module for a name of Feast's."""
        if fullname.partition(".")[0] != "feast":
            return None
        return ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Make the module."""
        return StandInModule(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Do nothing: names are made when they are asked for."""


def install() -> None:
    """Put the stand-in before everything else; only for a process that runs nothing but a repository's files."""
    sys.meta_path.insert(0, StandIn())


def _place() -> tuple[str, int]:
    """Return file and line of the code that is making an object; that of the stand-in does not count."""
    frame = sys._getframe(1)
    while frame.f_back is not None and Path(frame.f_code.co_filename) == Path(__file__):
        frame = frame.f_back
    return frame.f_code.co_filename, frame.f_lineno
