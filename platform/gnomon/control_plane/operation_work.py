"""What the worker of an operation does: look it up, do its work under its lease, store how it ended.

`run_operation` is the body of every worker; `composition.run_operation` gives it the parts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from gnomon.contracts.operations import FINAL, Operation
from gnomon.control_plane.export_work import export_features, export_training_set
from gnomon.control_plane.feature_work import ingest_source, materialize_view
from gnomon.control_plane.monitor_work import run_monitor
from gnomon.control_plane.parts import Parts
from gnomon.control_plane.release_work import deploy_version, retrain_model
from gnomon.control_plane.skew_work import audit_model
from gnomon.control_plane.training_work import train_model
from gnomon.errors import GnomonError, OperationFailed
from gnomon.runtime.stop_requests import stop_requested
from gnomon.telemetry.logs import logger

Work = Callable[[Operation, Parts, Callable[[str], None]], dict[str, Any]]

WORK: Mapping[str, Work] = {
    "ingest": ingest_source,
    "materialize": materialize_view,
    "train": train_model,
    "deploy": deploy_version,
    "monitor": run_monitor,
    "retrain": retrain_model,
    "audit_skew": audit_model,
    "export_training_set": export_training_set,
    "export_features": export_features,
}


class _Superseded(BaseException):
    """Ends the work of a lease that is no longer current.

    No `Exception`: work that notes its failures, as training does, would note one for a run that goes on elsewhere.
    """


def run_operation(operation_id: str, lease: int, parts: Parts) -> None:
    """Do an operation's work under a lease, and store its result or error.

    Nothing is raised for failed work: the failure is the operation's result. A lease that is no longer current writes
    nothing, whatever the work did, and its work ends at its next report of progress; all work is idempotent.
    """
    operation = parts.operations.get(operation_id)
    if operation.state in FINAL or operation.lease != lease:
        return
    log = logger().bind(operation=operation_id, kind=operation.kind, target=operation.target, lease=lease)
    log.info("operation started")

    def report(line: str) -> None:
        if stop_requested() or not parts.operations.report(operation_id, lease, line):
            raise _Superseded

    try:
        result = WORK[operation.kind](operation, parts, report)
    except _Superseded:
        log.info("operation left: it was cancelled, or has a newer lease")
    except GnomonError as error:
        log.warning("operation failed", error=str(error))
        parts.operations.finish(operation_id, lease, error=error.as_json())
    except Exception as error:
        # The edge of a worker: an unforeseen error must end the operation, or the control loop would repeat it in vain.
        log.error("operation failed unexpectedly", exc_info=error)
        failure = OperationFailed(f"{operation.kind} of '{operation.target}': {type(error).__name__}: {error}")
        parts.operations.finish(operation_id, lease, error=failure.as_json())
    else:
        log.info("operation succeeded")
        parts.operations.finish(operation_id, lease, result=result)
