"""Tables of the registry, and how versions and moves are written into their rows and read back; for `sql_registry`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKeyConstraint,
    Integer,
    MetaData,
    Row,
    Table,
    Text,
    UniqueConstraint,
)

from gnomon.contracts.clocks import from_us, to_us
from gnomon.contracts.registry import AliasMove, Lineage, Metric, ModelVersion
from gnomon.contracts.signatures import Signature
from gnomon.storage.sql import SERIAL, json_text

METADATA = MetaData()
VERSIONS = Table(
    "gnomon_model_versions",
    METADATA,
    Column("id", SERIAL, primary_key=True),
    Column("model", Text, nullable=False),
    Column("number", Integer, nullable=False),
    Column("run_id", Text, nullable=False, unique=True),
    Column("artifact", Text, nullable=False),
    Column("signature", Text, nullable=False),
    Column("metrics", Text, nullable=False),
    Column("lineage", Text, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    UniqueConstraint("model", "number"),
)
_NAMES_A_VERSION = (["model", "number"], [VERSIONS.c.model, VERSIONS.c.number])
ALIASES = Table(
    "gnomon_aliases",
    METADATA,
    Column("model", Text, primary_key=True),
    Column("alias", Text, primary_key=True),
    Column("number", Integer, nullable=False),
    ForeignKeyConstraint(*_NAMES_A_VERSION),
)
MOVES = Table(
    "gnomon_alias_moves",
    METADATA,
    Column("id", SERIAL, primary_key=True),
    Column("model", Text, nullable=False, index=True),
    Column("alias", Text, nullable=False),
    Column("before", Integer),
    Column("after", Integer, nullable=False),
    Column("reason", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("moved_us", BigInteger, nullable=False),
)


def metrics_text(metrics: Sequence[Metric]) -> str:
    """Return metrics as JSON; a number that does not exist (NaN, an infinity) is kept as text."""
    return json_text([[m.name, *(_from_number(v) for v in (m.value, m.low, m.high))] for m in metrics])


def lineage_text(lineage: Lineage) -> str:
    """Return a lineage as JSON, its moment in microseconds."""
    return json_text({**asdict(lineage), "trained_until": to_us(lineage.trained_until)})


def read_version(row: Row[Any], aliases: Iterable[str]) -> ModelVersion:
    """Return the version that a row holds."""
    lineage = json.loads(row.lineage)
    return ModelVersion(
        model=row.model,
        number=row.number,
        artifact=row.artifact,
        signature=Signature.model_validate_json(row.signature),
        metrics=tuple(Metric(name, *map(float, values)) for name, *values in json.loads(row.metrics)),
        lineage=Lineage(**{**lineage, "trained_until": from_us(lineage["trained_until"])}),
        created=from_us(row.created_us),
        aliases=tuple(aliases),
    )


def read_move(row: Row[Any]) -> AliasMove:
    """Return the move that a row holds."""
    return AliasMove(row.model, row.alias, row.before, row.after, row.reason, row.actor, from_us(row.moved_us))


def _from_number(value: float) -> float | str:
    value = float(value)
    return value if abs(value) < float("inf") else str(value)
