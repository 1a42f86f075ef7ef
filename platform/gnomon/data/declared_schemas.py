"""The column types that features need of an app's sources: as declared, or else as the sources' data show.

Called by `gnomon test-features`, which has an app file and no platform.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from gnomon.contracts.apps import App
from gnomon.contracts.columns import Dtype
from gnomon.contracts.features import FeatureView
from gnomon.contracts.sources import DataSource
from gnomon.contracts.transforms import columns_read
from gnomon.data.source_schema import read_schema
from gnomon.data.text_steps import columns_in_files
from gnomon.data.value_steps import with_computed
from gnomon.errors import GnomonError, InvalidDefinition, InvalidInput, did_you_mean
from gnomon.features.view_plans import source_columns


def with_declared_schemas(app: App, views: Iterable[str]) -> App:
    """Return the app with the types of the columns that some views read.

    Data are looked at only where a type is not declared in its source's `fields=`.

    Args:
        app: As loaded from an app file.
        views: Names of the views.

    Returns:
        The app with schemas of these views' sources; nothing but the columns of the views is checked.

    Raises:
        InvalidInput: A type is not declared, and the source's data cannot be read here.
        InvalidDefinition: A source has no such column.
    """
    needed: dict[str, set[str]] = {}
    for name in dict.fromkeys(views):
        view = app.get(FeatureView, name)
        needed.setdefault(view.source, set()).update(source_columns(view.features))
    return replace(app, schemas={name: _schema(app, name, sorted(columns)) for name, columns in needed.items()})


def _schema(app: App, name: str, columns: list[str]) -> dict[str, Dtype]:
    source = app.get(DataSource, name)
    declared: dict[str, Dtype] = {column: spec.dtype for column, spec in source.fields.items()}
    declared |= dict.fromkeys(source.times(), "timestamp")
    if set(columns_read(source.transforms)) <= set(declared):
        declared = with_computed(source, columns_in_files(source, declared))
    missing = [column for column in columns if column not in declared]
    if not missing:
        return declared
    try:
        found = read_schema(source, app.root)
    except GnomonError as error:
        raise InvalidInput(
            f"the type of column '{missing[0]}' of source '{name}' is not declared, and its data cannot be read: "
            f"{error.message}",
            f"declare it, fields={{'{missing[0]}': …}}, or run this where the data are; no platform is needed",
        ) from error
    for column in missing:
        if column not in found:
            raise InvalidDefinition(f"source '{name}' has no column '{column}'", did_you_mean(column, found))
    return found
