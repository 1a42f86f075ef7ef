"""Bounds of what an export of features is asked for. Called by the gateway before an operation is stored, and by its
work."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from gnomon.errors import InvalidInput

MOST_KEYS: Final = 10_000
MOST_FEATURES: Final = 1000
TARGET_KINDS: Final = ("model", "deployment", "view")
"""What `target_kind` may be; without it the first of these that has the target's name is meant."""


def check_export_arguments(arguments: Mapping[str, Any]) -> None:
    """Refuse what is too long, or names no kind.

    Args:
        arguments: Of an operation `export_features`, each of its own type.

    Raises:
        InvalidInput: There are too many keys or features, a feature is no text, or `target_kind` is unknown or given
            with features, which are of views.
    """
    keys, features = arguments.get("keys"), arguments.get("features")
    if keys is not None and len(keys) > MOST_KEYS:
        raise InvalidInput(f"{len(keys)} keys are more than {MOST_KEYS}", "export all entities, and pick from those")
    if features is not None and len(features) > MOST_FEATURES:
        raise InvalidInput(f"{len(features)} features are more than {MOST_FEATURES}", "name views to have all of them")
    if features is not None and not (features and all(isinstance(each, str) for each in features)):
        raise InvalidInput(f"features: {str(features)[:80]} names none", "give them as 'view.feature' or 'view'")
    kind = arguments.get("target_kind")
    if kind is not None and kind not in TARGET_KINDS:
        raise InvalidInput(f"target_kind: {str(kind)[:40]!r} is none", f"give one of {', '.join(TARGET_KINDS)}")
    if kind not in (None, "view") and features is not None:
        raise InvalidInput(f"target_kind: '{kind}' with a list of features", "features are of views: leave it out")
