"""The rules that hold between definitions: every name leads somewhere, every column exists and fits.

Called by `App.of` (references), by `App.with_schemas` (columns) and by the gateway where an app comes in (monitors).
Each rule is one small function; errors name the definition, the value and the remedy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gnomon.contracts.deployments import Deployment, Drift, Monitor, Quality
from gnomon.contracts.entities import Entity
from gnomon.contracts.features import Aggregation, Column, FeatureView, RequestFeature
from gnomon.contracts.labels import Label
from gnomon.contracts.models import Model, task_metrics
from gnomon.contracts.sources import DataSource
from gnomon.contracts.specs import Spec
from gnomon.errors import InvalidDefinition, NotFound, did_you_mean

if TYPE_CHECKING:
    from gnomon.contracts.apps import App

_NUMERIC = ("sum", "mean", "std", "var", "quantile", "approx_quantile")


def check_references(app: App) -> None:
    """Check that every name that a definition holds is defined.

    Args:
        app: Any app; its schemas are not read.

    Raises:
        InvalidDefinition: One is not; the hint names the nearest.
    """
    for view in app.all(FeatureView):
        for entity in view.entity:
            _require(app, view, Entity, entity)
        _require(app, view, DataSource, view.source)
    for label in app.all(Label):
        _require(app, label, DataSource, label.source)
    for feature in app.all(RequestFeature):
        _check_inputs(app, feature)
    for model in app.all(Model):
        _require(app, model, Label, model.label)
        for reference in model.features:
            _check_feature(app, model, reference)
    for deployment in app.all(Deployment):
        _require(app, deployment, Model, deployment.model)
    for monitor in app.all(Monitor):
        _require(app, monitor, Deployment, monitor.deployment)


def check_columns(app: App) -> None:
    """Check that every column that a definition reads exists in its source and has a fit type.

    Args:
        app: With the column types of all of its sources.

    Raises:
        InvalidDefinition: One does not; the hint names the nearest column.
    """
    for source in app.all(DataSource):
        for name in source.required_columns():
            _require_column(app, source, source.name, name)
    for view in app.all(FeatureView):
        for entity in view.entity:
            for key in app.get(Entity, entity).key:
                dtype = _require_column(app, view, view.source, key)
                if dtype not in ("int64", "string"):
                    raise InvalidDefinition(
                        f"feature_view '{view.name}': key column '{key}' of source '{view.source}' is {dtype}",
                        "an entity's key is int64 or string",
                    )
        for feature in view.features:
            _check_feature_columns(app, view, feature)
    for label in app.all(Label):
        for name in sorted(label.source_columns()):
            _require_column(app, label, label.source, name)
    for model in app.all(Model):
        _check_label_rows(app, model)


def check_monitors(app: App) -> None:
    """Check that every rule of a monitor watches something that its deployment's model has.

    Only apps that come in are checked, so that what an earlier version stored can still be read.

    Args:
        app: Its references are checked; its schemas are not read.

    Raises:
        InvalidDefinition: A rule names a metric of another task or no model input, or it has no bound.
    """
    for monitor in app.all(Monitor):
        model = app.get(Model, app.get(Deployment, monitor.deployment).model)
        for rule in monitor.rules:
            if isinstance(rule, Drift):
                _check_drift(app, monitor, rule, model)
            else:
                _check_quality(monitor, rule, model)


def _check_drift(app: App, monitor: Monitor, rule: Drift, model: Model) -> None:
    known = ["score", "inputs", *_input_names(app, model)]
    if rule.of not in known:
        raise InvalidDefinition(
            f"monitor '{monitor.name}': model '{model.name}' has no input '{rule.of}' whose drift could be watched",
            did_you_mean(rule.of, known),
        )


def _check_quality(monitor: Monitor, rule: Quality, model: Model) -> None:
    known = task_metrics(model.task)
    if rule.metric not in known:
        raise InvalidDefinition(
            f"monitor '{monitor.name}': a {model.task} model has no metric '{rule.metric}'",
            did_you_mean(rule.metric, known),
        )
    if rule.min is None and rule.max is None:
        raise InvalidDefinition(
            f"monitor '{monitor.name}': Quality('{rule.metric}') has no bound and would never fire",
            "give min or max",
        )


def _input_names(app: App, model: Model) -> list[str]:
    """Return the names of the model's inputs as in its signature, which needs schemas for their types."""
    views = {view.name: view for view in app.all(FeatureView)}
    names: list[str] = []
    for reference in model.features:
        is_view = reference in views
        names += [f"{reference}.{f.name}" for f in views[reference].features] if is_view else [reference]
    return [*names, *model.request]


def _require(app: App, owner: Spec, kind: type[Spec], name: str) -> None:
    try:
        app.get(kind, name)
    except NotFound as error:
        raise InvalidDefinition(f"{owner.kind} '{owner.name}': {error.message}", error.hint) from error


def _require_column(app: App, owner: Spec, source: str, column: str) -> str:
    schema = app.schemas.get(source, {})
    if column not in schema:
        raise InvalidDefinition(
            f"{owner.kind} '{owner.name}': source '{source}' has no column '{column}'", did_you_mean(column, schema)
        )
    return schema[column]


def _check_feature(app: App, owner: Spec, reference: str) -> None:
    name, _, feature = reference.partition(".")
    views = {v.name: v for v in app.all(FeatureView)}
    requests = {r.name for r in app.all(RequestFeature)}
    if name not in views and (feature or name not in requests):
        raise InvalidDefinition(
            f"{owner.kind} '{owner.name}': there is no feature view or request feature named '{name}'",
            did_you_mean(name, [*views, *requests]),
        )
    known = {f.name: f for f in views[name].features} if name in views else {}
    if feature and feature not in known:
        hint = did_you_mean(feature, known)
        near = next((f for f in known.values() if hint == did_you_mean(f.name, [f.name])), None)
        if near is not None and isinstance(near, Aggregation) and isinstance(near.column, str):
            hint += f" It aggregates column '{near.column}' of source '{views[name].source}': is that one spelt right?"
        raise InvalidDefinition(f"{owner.kind} '{owner.name}': view '{name}' has no feature '{feature}'", hint)


def _check_inputs(app: App, feature: RequestFeature) -> None:
    for name in feature.reads():
        if "." in name:
            _check_feature(app, feature, name)
        elif name not in feature.request:
            raise InvalidDefinition(
                f"request_feature '{feature.name}': it reads '{name}', which is not one of its request fields",
                did_you_mean(name, feature.request),
            )


def _check_feature_columns(app: App, view: FeatureView, feature: object) -> None:
    if isinstance(feature, Column):
        _require_column(app, view, view.source, feature.column)
    if not isinstance(feature, Aggregation):
        return
    read = set(feature.where.columns()) if feature.where is not None else set()
    if not isinstance(feature.column, str):
        read |= feature.column.columns()
    elif feature.column != "*":
        dtype = _require_column(app, view, view.source, feature.column)
        if feature.function in _NUMERIC and dtype not in ("int64", "float64", "bool"):
            raise InvalidDefinition(
                f"feature_view '{view.name}': {feature.function} of column '{feature.column}', which is {dtype}",
                f"{feature.function} needs int64, float64 or bool",
            )
    for name in sorted(read):
        _require_column(app, view, view.source, name)


def _check_label_rows(app: App, model: Model) -> None:
    """The label's source must name the entities and carry the request fields that the model reads."""
    from gnomon.contracts.signatures import model_signature

    signature = model_signature(app, model.name)
    source = app.get(Label, model.label).source
    for key in signature.keys:
        _require_column(app, model, source, key)
    for name, dtype in signature.request.items():
        found = _require_request_column(app, model, source, name)
        if found != dtype and (found, dtype) != ("int64", "float64"):
            raise InvalidDefinition(
                f"model '{model.name}': request field '{name}' is {dtype}, but {found} in source '{source}'",
                f"declare it as {found}",
            )


def _require_request_column(app: App, model: Model, source: str, name: str) -> str:
    schema = app.schemas.get(source, {})
    if name not in schema:
        computed = (app.get(RequestFeature, reference) for reference in _request_features(app, model))
        owner: Spec = next((feature for feature in computed if name in feature.request), model)
        raise InvalidDefinition(
            f"{owner.kind} '{owner.name}': request field '{name}' is no column of source '{source}', from which label "
            f"'{model.label}' of model '{model.name}' is read; in training, request fields are read from there too",
            did_you_mean(name, schema),
        )
    return schema[name]


def _request_features(app: App, model: Model) -> list[str]:
    views = {view.name for view in app.all(FeatureView)}
    return [reference for reference in model.features if reference.partition(".")[0] not in views]
