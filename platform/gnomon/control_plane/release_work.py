"""The work of `deploy` and `retrain`: promotion moves the alias `champion`; the control loop then makes it serve."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from gnomon.contracts.deployments import CHAMPION, Deployment
from gnomon.contracts.operations import Operation
from gnomon.contracts.registry import AliasMove
from gnomon.control_plane.audited_work import record_once
from gnomon.control_plane.parts import Parts
from gnomon.control_plane.training_work import train_version
from gnomon.control_plane.view_versions import bring_features_online
from gnomon.errors import Conflict, InvalidInput, OperationFailed

Report = Callable[[str], None]
_CHOICE = "deploy"
"""Kind of the documents, by operation, of the version that a `deploy` has chosen."""
_START_TIMEOUT_S = 180.0
_UNHEALTHY_S = 20.0  # Ray Serve starts a replica several times before it gives up


def deploy_version(operation: Operation, parts: Parts, report: Report) -> dict[str, Any]:
    """Promote a version whose gates hold, and wait until the endpoint serves it.

    What it reads is online before it is promoted: the views as they were defined when it was trained.

    Args:
        operation: Its target is the deployment; the argument `version` names the version, the newest when left out. A
            repeat deploys the version that its first attempt chose, although there may be a newer one now.
        parts: The platform's parts.
        report: Takes a line of progress.

    Returns:
        `deployment`, `version`, and `path` of the endpoint below the gateway's address.

    Raises:
        NotFound: No applied app defines the deployment, or there is no such version.
        Conflict: The version's gates do not hold, or another has replaced it before it served.
        InvalidInput: The model has no version.
        OperationFailed: The endpoint did not become healthy in time; the alias stays where it was moved.
    """
    deployment = parts.app_with(Deployment, operation.target).app.get(Deployment, operation.target)
    number = _chosen_version(operation, deployment.model, parts, report)
    gates = parts.states.get("gates", f"{deployment.model}/{number}") or {"passed": False, "lines": ["not evaluated"]}
    if not gates["passed"]:
        raise Conflict(
            f"version {number} of '{deployment.model}' may not serve: " + "; ".join(gates["lines"]),
            "train a better version, or change the gates in the app file",
        )
    bring_features_online(parts.registry.version(deployment.model, number), parts, report)
    reason = f"deployed by {operation.actor}; gates: {'; '.join(gates['lines'])}"
    _promote(operation.id, deployment.model, number, reason, parts)
    successor = _await_serving([deployment.name], deployment.model, number, parts, report)
    if successor is not None:
        raise Conflict(
            f"version {number} of '{deployment.model}' was promoted, and {successor} has replaced it since",
            f"deploy it again if you want it back: `gnomon deploy {deployment.name} --version {number}`",
        )
    return {"deployment": deployment.name, "version": number, "path": f"/endpoints/{deployment.name}/predict"}


def _chosen_version(operation: Operation, model: str, parts: Parts, report: Report) -> int:
    """Return the version that the operation deploys; chosen at its first attempt, and kept before anything is done."""
    chosen = parts.states.get(_CHOICE, operation.id)
    if chosen is not None:
        return int(chosen["version"])
    versions = parts.registry.versions(model)
    if not versions:
        raise InvalidInput(f"model '{model}' has no version to deploy", f"train one: `gnomon train {model}`")
    number = parts.registry.version(model, int(operation.arguments.get("version", versions[-1].number))).number
    # A worker whose lease is no longer current ends at this report: it must not replace the choice of the one after it.
    report(f"version {number} is to be deployed")
    parts.states.put(_CHOICE, operation.id, {"model": model, "version": number})
    return number


def retrain_model(operation: Operation, parts: Parts, report: Report) -> dict[str, Any]:
    """Train on fresh data; promote the new version if its gates hold, keep the old one if not.

    Args:
        operation: Its target is the model; its id names the run.
        parts: The platform's parts.
        report: Takes a line of progress.

    Returns:
        As `train`, with `promoted` and `decision`, the decision in words with its numbers.
    """
    model = operation.target
    before = parts.registry.resolve(model, CHAMPION)
    trained = train_version(operation.id, model, parts, report)
    number, reasons = trained.version.number, "; ".join(trained.gates.lines) or "it has no gates"
    if trained.gates.passed:
        bring_features_online(trained.version, parts, report)
        decision = f"version {number} promoted: {reasons}"
        _promote(operation.id, model, number, decision, parts)
        successor = _await_serving(_endpoints(model, parts), model, number, parts, report)
        if successor is not None:
            decision = f"version {number} promoted, and {successor} has replaced it since"
    else:
        kept = f"version {before.number} stays" if before else "nothing serves"
        decision = f"version {number} not promoted, {kept}: {reasons}"
        details = {"rejected": number, "reason": decision}
        record_once(parts.audit, operation.id, "keep", f"model/{model}", details)
    return {**trained.as_json(), "promoted": trained.gates.passed, "decision": decision}


def _promote(operation_id: str, model: str, number: int, reason: str, parts: Parts) -> None:
    """Move the alias, and audit the move that this operation made: once, whether it is repeated or another was first.

    Where the alias points there already, the move that brought it there is returned; it names the operation it was of.
    """
    mover = _mover(operation_id)
    # A repeat does not move it again: another operation may have moved it on since the worker before this one died.
    move = _own_move(operation_id, model, parts) or parts.registry.move_alias(
        model, CHAMPION, number, reason=reason, actor=mover
    )
    if move.actor == mover:
        details = {"from": move.before, "to": number, "reason": reason}
        record_once(parts.audit, operation_id, "promote", f"model/{model}", details)


def _own_move(operation_id: str, model: str, parts: Parts) -> AliasMove | None:
    """Return the move that an earlier attempt of the operation made."""
    return next((m for m in parts.registry.alias_history(model) if m.actor == _mover(operation_id)), None)


def _mover(operation_id: str) -> str:
    return f"operation {operation_id}"


def _endpoints(model: str, parts: Parts) -> list[str]:
    """Return the deployments of a model that have been served: what was never deployed is not waited for."""
    names = [d.name for app in parts.apps() for d in app.all(Deployment) if d.model == model]
    return [n for n in names if (parts.states.get("endpoint", n) or {}).get("version") is not None]


def _await_serving(
    deployments: Sequence[str], model: str, number: int, parts: Parts, report: Report
) -> int | None:  # fmt: skip
    """Wait until the endpoints serve a version, unless another has replaced it: nothing would ever serve it then.

    Args:
        deployments: Names of the endpoints.
        model: Their model.
        number: The version.
        parts: The platform's parts.
        report: Takes a line of progress.

    Returns:
        The version that has replaced it, or None.
    """

    def successor() -> int | None:
        champion = parts.registry.resolve(model, CHAMPION)
        return None if champion is None or champion.number == number else champion.number

    for deployment in deployments:
        replaced_by = _await_endpoint(deployment, number, parts, report, successor)
        if replaced_by is not None:
            return replaced_by
    return None if deployments else successor()


def _await_endpoint(
    deployment: str, number: int, parts: Parts, report: Report, successor: Callable[[], int | None]
) -> int | None:  # fmt: skip
    """Wait until the control loop has seen the endpoint healthy at the version; real time, not the platform's clock."""
    began, last = time.monotonic(), ""
    unhealthy_since: float | None = None
    while time.monotonic() - began < _START_TIMEOUT_S:
        replaced_by = successor()
        if replaced_by is not None:
            return replaced_by
        seen = parts.states.get("endpoint", deployment) or {}
        if seen.get("version") == number and seen.get("state") == "healthy":
            report(f"version {number} serves")
            return None
        unhealthy_since = (unhealthy_since or time.monotonic()) if seen.get("state") == "unhealthy" else None
        if unhealthy_since is not None and time.monotonic() - unhealthy_since > _UNHEALTHY_S:
            break
        line = f"waiting for version {number} to serve: {seen.get('state', 'not started')}"
        if line != last:
            report(line)
            last = line
        time.sleep(0.2)
    raise OperationFailed(
        f"deployment '{deployment}' does not serve version {number} after {time.monotonic() - began:.0f} s: "
        f"{(parts.states.get('endpoint', deployment) or {}).get('message', 'no word from it')}",
        "`gnomon status` shows its state, `gnomon logs` why",
    )
