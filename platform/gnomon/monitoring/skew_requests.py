"""Recomputes request features from what was logged of their inputs; called by `skew_audit`.

A request feature is audited where all that it reads was logged: request fields that are model inputs themselves, and
looked-up features that the model reads. It is compared with what its logged inputs give, so that a skew of a view is
counted once, at the view. A difference is a `definition_version` where another applied revision gives the served value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from gnomon.contracts.apps import App
from gnomon.contracts.features import RequestFeature
from gnomon.contracts.signatures import Signature
from gnomon.errors import GnomonError
from gnomon.features.event_columns import Flags
from gnomon.features.model_columns import as_input
from gnomon.features.request_features import RequestFeatures
from gnomon.monitoring.skew_values import as_logged, same

Resolve = Callable[[str], Callable[..., Any]]


def auditable(app: App, signature: Signature) -> tuple[list[str], dict[str, str]]:
    """Tell which request features can be recomputed from the log, and why the others cannot.

    Args:
        app: The app that the model was trained with.
        signature: Of the model version.

    Returns:
        Names in the signature's order, and a reason by name for the rest.
    """
    logged = {i.name for i in signature.inputs}
    chosen, left = [], {}
    for name in signature.request_features:
        absent = [read for read in app.get(RequestFeature, name).reads() if read not in logged]
        if absent:
            left[name] = f"it reads {', '.join(repr(a) for a in absent)}, which the model does not: not in the log"
        else:
            chosen.append(name)
    return chosen, left


def recompute(
    app: App, names: Sequence[str], logged: Mapping[str, pa.Array], rows: int, resolve: Resolve
) -> dict[str, pa.Array]:  # fmt: skip
    """Compute request features from logged inputs.

    Args:
        app: The app whose definitions and code count.
        names: Which request features; all that they read is in `logged`.
        logged: Model inputs as they were logged.
        rows: How many rows.
        resolve: Imports the app's functions.

    Returns:
        By name, as the log would hold them.

    Raises:
        InvalidInput: A logged value is not of the type that the feature reads.
        InvalidDefinition: A function raises.
    """
    columns = {name: as_input(values) for name, values in logged.items()}
    computed = RequestFeatures(app, names, resolve).compute(columns, rows)
    return {name: as_logged(values) for name, values in computed.items()}


def defined_otherwise(
    name: str, logged: Mapping[str, pa.Array], differs: Flags, revisions: Iterable[tuple[App, Resolve]]
) -> Flags:  # fmt: skip
    """Tell where another revision of a request feature gives the value that was served.

    Args:
        name: The request feature.
        logged: Model inputs as they were logged, the feature itself among them.
        differs: Where the trained definition gives another value.
        revisions: Other applied apps with the importers of their code.

    Returns:
        A subset of `differs`.
    """
    rows = np.flatnonzero(differs)
    explained = np.zeros(len(rows), np.bool_)
    part = {key: values.take(pa.array(rows)) for key, values in logged.items()}
    for app, resolve in revisions:
        try:
            values = recompute(app, [name], part, len(rows), resolve)
        except GnomonError:
            continue  # that revision reads something else, or its code is gone: it cannot have served these rows
        explained |= same(part[name], values[name])
        if explained.all():
            break
    result = np.zeros(len(differs), np.bool_)
    result[rows[explained]] = True
    return result
