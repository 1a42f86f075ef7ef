"""Compiles what a model looks up into a `ReadPlan`; called once per model version, by replicas and by the gateway."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from gnomon.contracts.apps import App
from gnomon.contracts.features import FeatureView
from gnomon.contracts.layouts import view_layout
from gnomon.contracts.online_store import ReadPlan
from gnomon.errors import InvalidInput, did_you_mean, unknown_name


def read_plan(app: App, lookups: Sequence[str]) -> ReadPlan:
    """Compile `view.feature` names into a plan that reads them in that order.

    Args:
        app: With schemas resolved.
        lookups: Names as in `Signature.lookups`; a bare view name stands for all of its features.

    Returns:
        The plan, to be compiled once and used for every request.

    Raises:
        NotFound: A view or a feature does not exist; the hint names the nearest.
        InvalidInput: A name is given twice.
    """
    layouts = {}
    features: list[tuple[int, int]] = []
    names: list[str] = []
    known_views = [view.name for view in app.all(FeatureView)]
    for lookup in lookups:
        view, _, feature = lookup.partition(".")
        if view not in layouts:
            if view not in known_views:
                raise unknown_name("feature view", view, known_views)
            layouts[view] = view_layout(app, view)
        columns = [column.name for column in layouts[view].columns]
        if feature and feature not in columns:
            raise unknown_name(f"feature of view '{view}'", feature, columns)
        for column in [feature] if feature else columns:
            features.append((list(layouts).index(view), columns.index(column)))
            names.append(f"{view}.{column}")
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise InvalidInput(f"'{min(twice)}' is looked up twice", did_you_mean(min(twice), names))
    return ReadPlan(tuple(layouts.values()), tuple(features), tuple(names))


def served_plan(trained: App, deployed: App, lookups: Sequence[str]) -> ReadPlan:
    """Compile what a deployed model looks up: the versions of the views that it was trained with.

    Age limits and policies are those of the deployed app where its version of a view is the same, for they change
    nothing that is stored; where it is another one, those of training.

    Args:
        trained: The app that the model version was trained with.
        deployed: The app that its deployment is applied with.
        lookups: As `read_plan` takes them.

    Returns:
        The plan.

    Raises:
        NotFound: The app of the training has no such view or feature.
    """
    plan = read_plan(trained, lookups)
    names = {view.name for view in deployed.all(FeatureView)}
    layouts = []
    for layout in plan.layouts:
        applied = view_layout(deployed, layout.view) if layout.view in names else layout
        layouts.append(applied if applied.version == layout.version else layout)
    return replace(plan, layouts=tuple(layouts))
