"""The work of the operations `ingest` and `materialize`: what they concern, and what is remembered of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gnomon.contracts.apps import App
from gnomon.contracts.clocks import from_us
from gnomon.contracts.features import FeatureView
from gnomon.contracts.layouts import view_layout
from gnomon.contracts.operations import Operation
from gnomon.contracts.sources import DataSource
from gnomon.control_plane.parts import Parts
from gnomon.control_plane.view_versions import bring_online, finish_removals, retire_versions, versions_in_service
from gnomon.data.ingest_reports import IngestReport
from gnomon.data.ingestion import ingest
from gnomon.errors import GnomonError, InvalidInput, Unavailable
from gnomon.features.online_versions import note_shown
from gnomon.telemetry.logs import logger

_MEMORY = "ingest_memory"

Report = Callable[[str], None]


def ingest_source(operation: Operation, parts: Parts, report: Report) -> dict[str, Any]:
    """Read a source's new rows into its table.

    Args:
        operation: Its target is the source.
        parts: The platform's parts.
        report: Takes a line of progress.

    Returns:
        Counts of the ingestion, over all attempts, the table's version, what each transform changed, the
        report on the contract, and schema drift.

    Raises:
        NotFound: No applied app defines the source.
        ContractViolated: The data break the source's contract; nothing was ingested.
    """
    app = parts.app_with(DataSource, operation.target).app
    source = app.get(DataSource, operation.target)
    memory = dict(parts.states.get(_MEMORY, source.name) or {})
    if memory.pop("operation", None) == operation.id:  # an earlier attempt came to its end, but for the operation's own
        return {name: value for name, value in (parts.states.get("ingest", source.name) or {}).items() if name != "at"}
    done = ingest(
        source, app.root, parts.offline, parts.clock,
        local_rows=parts.local_rows, report=report, schema=app.schemas[source.name], ingestion_id=operation.id,
        previous=memory or None, work_folder=parts.work_folder,
    )  # fmt: skip
    _log_findings(source, done)
    rules = dict(done.quarantined)
    result = {
        "source": source.name, "files": done.files, "rows_read": done.rows_read, "rows_added": done.rows_added,
        "duplicates": done.duplicates, "corrections": done.corrections, "quarantined": sum(rules.values()),
        "quarantine_rules": rules, "table_version": done.table_version,
        "transforms": [dict(each) for each in done.transforms],
        "contract": [dict(each) for each in done.contract], "drift": [dict(each) for each in done.drift],
    }  # fmt: skip
    parts.states.put("ingest", source.name, {**result, "at": from_us(parts.clock.now_us()).isoformat()})
    parts.states.put(_MEMORY, source.name, {**done.memory, "operation": operation.id})
    return result


def _log_findings(source: DataSource, done: IngestReport) -> None:
    """Log what changed since the ingestion before, and the rules that are broken."""
    for each in done.drift:
        level = "warning" if each["against"] == "previous" else "info"
        getattr(logger(), level)("schema drift", source=source.name, drift=each["message"])
    for rule in done.contract:
        if not rule["passed"]:
            logger().warning("contract broken", source=source.name, rule=rule["rule"], found=rule["message"])


def materialize_view(operation: Operation, parts: Parts, report: Report) -> dict[str, Any]:
    """Bring a view's values as of now into the online store, in every version of it that somebody reads.

    All rows of the applied version are written before it is shown; the versions of deployed models come next, and those
    that nobody reads any more go last.

    Args:
        operation: Its target is the view.
        parts: The platform's parts.
        report: Takes a line of progress.

    Returns:
        `view`, `version`, `entities`, counts of rows written and ignored, the source's version and the time that values
        are as of, all of the applied version; `also`, by version, the entities of the other ones or why there are none;
        `removed`, the versions that are gone.

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
    finish_removals(view.name, parts)
    report("computing values")
    (version, app), *others = versions_in_service(view.name, parts).items()
    done = bring_online(app, view.name, parts)
    # Another app may have been applied meanwhile, and its version be shown by now.
    if view_layout(parts.app_with(FeatureView, view.name).app, view.name).version == version:
        note_shown(parts.states, app, view.name)
    report("computing the values of deployed models")
    also = {other: _refresh(defined, view.name, parts, done.as_of_us) for other, defined in others}
    report("removing what nobody reads any more")
    result = {
        "view": view.name, "version": version, "entities": done.rows, "written": done.written_rows,
        "ignored": done.ignored_rows, "source_version": done.source_version,
        "as_of": from_us(done.as_of_us).isoformat(), "also": also, "removed": retire_versions(view.name, parts),
    }  # fmt: skip
    parts.states.put("materialize", view.name, result)
    return result


def _refresh(app: App, view: str, parts: Parts, as_of_us: int) -> int | str:
    """Bring another version up to date; one that cannot be computed any more does not undo the work for the first."""
    try:
        return bring_online(app, view, parts, as_of_us).rows
    except Unavailable:
        raise
    except GnomonError as error:
        logger().warning("a version of a view is not up to date", view=view, error=error.message)
        return error.message
