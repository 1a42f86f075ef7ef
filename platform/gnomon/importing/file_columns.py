"""The columns of a source's files, for what a Feast definition leaves to the data.

Called by the mapping modules where a view has no schema or a source no timestamp field: Feast looks at the files too.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeGuard

from gnomon.contracts.columns import DTYPES, Dtype
from gnomon.contracts.object_urls import is_object_url
from gnomon.contracts.sources import DataSource
from gnomon.errors import GnomonError, NotFound


def columns_of_file(place: Mapping[str, Any], folder: Path) -> dict[str, Dtype | str]:
    """Return the columns of files with their types, or the name of a type that has no match.

    Args:
        place: Fields of a source that say where its rows are.
        folder: What a relative path starts from.

    Returns:
        Nothing where the files are not here or cannot be read.
    """
    if "path" not in place:
        return {}
    from gnomon.data.source_schema import found_types

    try:
        return found_types(DataSource("imported", id="id", event_time="at", timezone="UTC", **place), str(folder))
    except GnomonError:
        return {}


def is_missing(place: Mapping[str, Any], folder: Path) -> bool:
    """Tell whether a source's rows are in local files of which not one is there.

    Args:
        place: Fields of a source that say where its rows are.
        folder: What a relative path starts from.

    Returns:
        False for rows that are elsewhere, and for files that cannot be read.
    """
    if "path" not in place or is_object_url(place["path"]):
        return False
    from gnomon.data.source_schema import found_types

    try:
        found_types(DataSource("imported", id="id", event_time="at", timezone="UTC", **place), str(folder))
    except NotFound:
        return True
    except GnomonError:
        return False
    return False


def time_column(columns: Mapping[str, Dtype | str], created: str) -> str:
    """Return the only column of times but for that of the creation, or nothing."""
    times = [name for name, dtype in columns.items() if dtype == "timestamp" and name != created]
    return times[0] if len(times) == 1 else ""


def is_dtype(dtype: Dtype | str) -> TypeGuard[Dtype]:
    """Tell whether a column's type is one that a feature may have."""
    return dtype in DTYPES
