"""The work of the operations `ingest` and `materialize`: what they concern, and what is remembered of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gnomon.contracts.clocks import from_us
from gnomon.contracts.features import FeatureView
from gnomon.contracts.operations import Operation
from gnomon.contracts.sources import DataSource
from gnomon.control_plane.parts import Parts
from gnomon.data.ingestion import ingest
from gnomon.errors import InvalidInput
from gnomon.features.materialization import materialize

Report = Callable[[str], None]


def ingest_source(operation: Operation, parts: Parts, report: Report) -> dict[str, Any]:
    """Read a source's new rows into its table.

    Args:
        operation: Its target is the source.
        parts: The platform's parts.
        report: Takes a line of progress.

    Returns:
        Counts of the ingestion and the table's version.

    Raises:
        NotFound: No applied app defines the source.
    """
    app = parts.app_with(DataSource, operation.target).app
    source = app.get(DataSource, operation.target)
    done = ingest(
        source, app.root, parts.offline, parts.clock,
        local_rows=parts.local_rows, report=report, schema=app.schemas[source.name],
    )  # fmt: skip
    rules = dict(done.quarantined)
    result = {
        "source": source.name, "files": done.files, "rows_read": done.rows_read, "rows_added": done.rows_added,
        "duplicates": done.duplicates, "corrections": done.corrections, "quarantined": sum(rules.values()),
        "quarantine_rules": rules, "table_version": done.table_version,
    }  # fmt: skip
    parts.states.put("ingest", source.name, {**result, "at": from_us(parts.clock.now_us()).isoformat()})
    return result


def materialize_view(operation: Operation, parts: Parts, report: Report) -> dict[str, Any]:
    """Bring a view's values as of now into the online store.

    Args:
        operation: Its target is the view.
        parts: The platform's parts.
        report: Takes a line of progress.

    Returns:
        `view`, `entities`, counts of rows written and ignored, the source's version and the time that values are as of.

    Raises:
        NotFound: No applied app defines the view.
        InvalidInput: Nothing was ingested from the view's source yet.
    """
    app = parts.app_with(FeatureView, operation.target).app
    view = app.get(FeatureView, operation.target)
    if parts.offline.version(view.source) < 0:
        raise InvalidInput(
            f"view '{view.name}' has nothing to materialize: source '{view.source}' holds no rows",
            f"ingest it first: `gnomon ingest {view.source}`",
        )
    report("computing values")
    now_us = parts.clock.now_us()
    done = materialize(app, view.name, parts.offline, parts.online, now_us)
    result = {
        "view": view.name, "entities": done.rows, "written": done.written_rows, "ignored": done.ignored_rows,
        "source_version": done.source_version, "as_of": from_us(now_us).isoformat(),
    }  # fmt: skip
    parts.states.put("materialize", view.name, result)
    return result
