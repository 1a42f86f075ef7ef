"""The JSON bodies of the REST API, as types: what a client sends, and how our values are written out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from gnomon.contracts.operations import Operation, OperationKind
from gnomon.contracts.platform_state import AuditEntry
from gnomon.contracts.registry import ModelVersion, Run

Id = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}$")]
_SHOWN_ITEMS = 20


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class AppBody(_Body):
    """An app file: its definitions as JSON, and its text."""

    app: dict[str, Any]
    code: Annotated[str, Field(max_length=2_000_000)]


class OperationBody(_Body):
    """A piece of work asked for; the same `id` again returns the same operation."""

    kind: OperationKind
    target: Annotated[str, Field(max_length=64)]
    arguments: dict[str, Any] = Field(default_factory=dict)
    id: Id | None = None


class OutcomeBody(_Body):
    """What really happened for one prediction."""

    prediction_id: Id
    value: Annotated[float, Field(allow_inf_nan=False)]


class OutcomesBody(_Body):
    """Outcomes of one deployment's predictions."""

    outcomes: Annotated[list[OutcomeBody], Field(min_length=1, max_length=100_000)]


class KeysBody(_Body):
    """Entity keys by column."""

    keys: dict[str, int | str]


def operation_json(operation: Operation) -> dict[str, Any]:
    """Return an operation as the API writes it; of an argument that is a long list, its `length` only."""
    arguments = {
        name: {"length": len(value)} if isinstance(value, list) and len(value) > _SHOWN_ITEMS else value
        for name, value in operation.arguments.items()
    }
    body: dict[str, Any] = plain(asdict(replace(operation, arguments=arguments)))
    return body


def version_json(version: ModelVersion, gates: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return a model version as the API writes it, with the report of its gates."""
    body: dict[str, Any] = plain({**asdict(version), "signature": version.signature.as_json()})
    return {**body, "gates": dict(gates or {})}


def run_json(run: Run) -> dict[str, Any]:
    """Return a tracked training as the API writes it."""
    body: dict[str, Any] = plain(asdict(run))
    return body


def audit_json(entry: AuditEntry) -> dict[str, Any]:
    """Return an entry of the audit trail as the API writes it."""
    body: dict[str, Any] = plain(asdict(entry))
    return body


def plain(value: Any) -> Any:
    """Turn datetimes into ISO 8601 text and mappings into dicts, so that JSON can hold the value."""
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value
