"""Signature: what a model reads and answers, compiled from its definition; the same in training and serving."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from gnomon.contracts.columns import Dtype
from gnomon.contracts.entities import Entity
from gnomon.contracts.features import FeatureView, RequestFeature
from gnomon.contracts.layouts import feature_dtype
from gnomon.contracts.models import Model, Task
from gnomon.contracts.specs import Value

if TYPE_CHECKING:
    from gnomon.contracts.apps import App


class ModelInput(Value):
    """One input column of a model, in the order in which the model takes them.

    Attributes:
        name: `view.feature`, or the bare name of a request feature or request field.
        dtype: Its type.
        origin: Where its value comes from.
    """

    name: str
    dtype: Dtype
    origin: Literal["view", "request_feature", "request"]


class Signature(Value):
    """What is sent to an endpoint and what its model reads.

    Attributes:
        keys: Entity key columns that the caller sends, with types.
        request: Request fields that the caller sends, with types.
        inputs: The model's input columns, in order.
        lookups: Every `view.feature` that must be read, including those only read by request features.
        request_features: Names of the request features to compute.
        task: What is predicted.
    """

    keys: dict[str, Dtype]
    request: dict[str, Dtype]
    inputs: tuple[ModelInput, ...]
    lookups: tuple[str, ...]
    request_features: tuple[str, ...]
    task: Task


def model_signature(app: App, model_name: str) -> Signature:
    """Compile a model of an app whose schemas are resolved.

    Args:
        app: With schemas resolved.
        model_name: The model.

    Returns:
        Inputs in the order of the model's features, then its own request fields; keys and lookups without repeats.

    Raises:
        NotFound: The app has no such model.
    """
    model = app.get(Model, model_name)
    views = {v.name: v for v in app.all(FeatureView)}
    inputs: list[ModelInput] = []
    lookups: dict[str, None] = {}
    request: dict[str, Dtype] = dict(model.request)
    computed: list[str] = []
    for reference in model.features:
        name, _, feature = reference.partition(".")
        if name in views:
            chosen = [f for f in views[name].features if feature in ("", f.name)]
            schema = dict(app.schemas[views[name].source])
            for f in chosen:
                column = f"{name}.{f.name}"
                inputs.append(ModelInput(name=column, dtype=feature_dtype(f, schema), origin="view"))
                lookups[column] = None
        else:
            spec = app.get(RequestFeature, name)
            computed.append(name)
            request.update(spec.request)
            lookups.update(dict.fromkeys(n for n in spec.reads() if "." in n))
            inputs.append(ModelInput(name=name, dtype=spec.dtype, origin="request_feature"))
    inputs += [ModelInput(name=name, dtype=dtype, origin="request") for name, dtype in model.request.items()]
    keys: dict[str, Dtype] = {}
    for view in dict.fromkeys(lookup.partition(".")[0] for lookup in lookups):
        for entity in views[view].entity:
            for key in app.get(Entity, entity).key:
                keys[key] = app.schemas[views[view].source][key]
    return Signature(
        keys=keys, request=request, inputs=tuple(inputs), lookups=tuple(lookups),
        request_features=tuple(computed), task=model.task,
    )  # fmt: skip
