"""Finds what an export of features computes: for a model, for what a deployment serves, or for views. Called by
`export_work`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from gnomon.contracts.apps import App
from gnomon.contracts.deployments import CHAMPION, Deployment
from gnomon.contracts.features import FeatureView, RequestFeature
from gnomon.contracts.layouts import view_layout
from gnomon.contracts.models import Model
from gnomon.contracts.operations import Operation
from gnomon.contracts.platform_state import Applied
from gnomon.contracts.signatures import Signature, model_signature
from gnomon.contracts.sources import DataSource
from gnomon.contracts.specs import Spec
from gnomon.control_plane.export_limits import TARGET_KINDS, check_export_arguments
from gnomon.control_plane.parts import Parts
from gnomon.errors import Conflict, InvalidInput, unknown_name
from gnomon.features.read_plan import read_plan

_SPECS: Final[dict[str, type[Spec]]] = {"model": Model, "deployment": Deployment, "view": FeatureView}


@dataclass(frozen=True)
class Asked:
    """What to compute.

    Attributes:
        app: Defines the views, as they are read.
        app_hash: Of the app that defines the features.
        code: Of that app, for the functions of request features.
        lookups: Features as `view.feature`.
        computed: Request features that need no request.
        columns: What to write of both, in order.
        left_out: Inputs of the model that need a request.
        version: Of the model, where a deployment was asked for.
    """

    app: App
    app_hash: str
    code: str
    lookups: Sequence[str]
    computed: Sequence[str]
    columns: Sequence[str]
    left_out: Sequence[str] = ()
    version: int | None = None


def asked_features(operation: Operation, parts: Parts) -> Asked:
    """Find what an operation's target is, and what is computed for it.

    A model first, then a deployment, then a view, where its argument `target_kind` does not say which.

    Args:
        operation: Of the kind `export_features`.
        parts: The platform's parts.

    Returns:
        For a deployment what its endpoint reads: the views as its version was trained with, see `served_plan`.

    Raises:
        NotFound: There is no such model, deployment, view or feature.
        Conflict: No version is deployed.
        InvalidInput: The arguments are wrong, or the model reads no view.
    """
    check_export_arguments(operation.arguments)
    name, listed = operation.target, operation.arguments.get("features")
    chosen = operation.arguments.get("target_kind")
    kinds = ("view",) if listed else TARGET_KINDS if chosen is None else (chosen,)
    owners = [(kind, a) for kind in kinds for a in parts.definitions.apps() if name in _names(a, kind)]
    if not owners:
        known = [n for kind in kinds for a in parts.definitions.apps() for n in _names(a, kind)]
        raise unknown_name(", ".join(kinds[:-1]) + " or view" if len(kinds) > 1 else kinds[0], name, known)
    kind, applied = owners[0]
    if kind == "model":
        return _of_model(name, applied.app, applied.app_hash, model_signature(applied.app, name))
    if kind == "deployment":
        return _of_deployment(name, applied.app, parts)
    lookups = read_plan(applied.app, listed or [name]).names
    return Asked(applied.app, applied.app_hash, applied.app.code, lookups, (), lookups)


def _names(applied: Applied, kind: str) -> list[str]:
    return [spec.name for spec in applied.app.all(_SPECS[kind])]


def _of_deployment(name: str, applied: App, parts: Parts) -> Asked:
    model = applied.get(Deployment, name).model
    version = parts.registry.resolve(model, CHAMPION)
    if version is None:
        raise Conflict(f"deployment '{name}' has no version", f"deploy one: `gnomon deploy {name}`")
    trained = parts.definitions.revision(version.lineage.app_hash).app
    asked = _of_model(model, trained, version.lineage.app_hash, version.signature)
    return replace(asked, app=_served_app(trained, applied), version=version.number)


def _served_app(trained: App, applied: App) -> App:
    """Return the app of a training with the policies that are served, as `served_plan` has them.

    Sources that were applied since are in it too, for `keys_from`.
    """
    names = {view.name for view in trained.all(FeatureView)}
    same: dict[str, Spec] = {
        view.name: view
        for view in applied.all(FeatureView)
        if view.name in names and view_layout(applied, view.name).version == view_layout(trained, view.name).version
    }
    read = (same.get(spec.name, spec) if isinstance(spec, FeatureView) else spec for spec in trained.definitions)
    sources = [source for source in applied.all(DataSource) if source.name not in trained.schemas]
    return replace(trained, definitions=(*read, *sources), schemas={**applied.schemas, **trained.schemas})


def _of_model(model: str, app: App, app_hash: str, signature: Signature) -> Asked:
    """Take what a model reads and no request is needed for."""
    computed = [n for n in signature.request_features if not _needs_request(app, n)]
    columns = [i.name for i in signature.inputs if i.origin == "view" or i.name in computed]
    if not signature.lookups:
        raise InvalidInput(f"model '{model}' reads no feature of a view", "there is nothing to know before a request")
    left_out = [i.name for i in signature.inputs if i.name not in columns]
    return Asked(app, app_hash, app.code, signature.lookups, computed, columns, left_out)


def _needs_request(app: App, name: str) -> bool:
    return any("." not in read for read in app.get(RequestFeature, name).reads())
