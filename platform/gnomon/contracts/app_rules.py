"""The rules that hold between definitions: every name leads somewhere, every column exists and fits.

Called by `App.of` (references) and `App.with_schemas` (columns). Each rule is one small function; errors name the
definition, the value and the remedy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gnomon.contracts.deployments import Deployment, Monitor
from gnomon.contracts.entities import Entity
from gnomon.contracts.features import Aggregation, Column, FeatureView, RequestFeature
from gnomon.contracts.labels import Label
from gnomon.contracts.models import Model
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
    known = {f.name for f in views[name].features} if name in views else set()
    if feature and feature not in known:
        raise InvalidDefinition(
            f"{owner.kind} '{owner.name}': view '{name}' has no feature '{feature}'", did_you_mean(feature, known)
        )


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
        found = _require_column(app, model, source, name)
        if found != dtype and (found, dtype) != ("int64", "float64"):
            raise InvalidDefinition(
                f"model '{model.name}': request field '{name}' is {dtype}, but {found} in source '{source}'",
                f"declare it as {found}",
            )
