"""SkewReport: what a skew audit found, by feature and class. Filled by `skew_audit`.

Its JSON is the result of the operation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import numpy as np

from gnomon.features.event_columns import Flags
from gnomon.monitoring.skew_cells import CLASSES, Codes

EXAMPLES: Final = 5
"""Prediction ids kept of each class."""


@dataclass
class FeatureSkew:
    """What was found of one model input.

    Attributes:
        rows: Predictions that were compared.
        mismatches: Those whose served value differs.
        rounded_rows: Those whose whole number is beyond 2^53, so that only its rounded form was logged and compared.
        classes: Mismatches by class.
        examples: The earliest prediction ids of each class, `EXAMPLES` at most.
    """

    rows: int = 0
    mismatches: int = 0
    rounded_rows: int = 0
    classes: dict[str, int] = field(default_factory=dict)
    examples: dict[str, list[str]] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """Share of the compared predictions whose served value differs."""
        return self.mismatches / self.rows if self.rows else 0.0

    def add(self, rows: int, rounded_rows: int) -> None:
        """Count rows that were compared."""
        self.rows += rows
        self.rounded_rows += rounded_rows

    def add_mismatches(self, ids: Sequence[str], codes: Codes) -> None:
        """Count mismatches.

        Args:
            ids: Prediction ids, in the order of time.
            codes: Index in `CLASSES` of each; negative where there is no mismatch.
        """
        for code in np.unique(codes[codes >= 0]).tolist():
            name = CLASSES[code]
            where: Flags = codes == code
            count = int(where.sum())
            self.mismatches += count
            self.classes[name] = self.classes.get(name, 0) + count
            known = self.examples.setdefault(name, [])
            known += [ids[i] for i in np.flatnonzero(where)[: EXAMPLES - len(known)].tolist()]

    def as_json(self, feature: str) -> dict[str, Any]:
        """Return the JSON form."""
        classes = {
            name: {"count": self.classes[name], "examples": self.examples[name]}
            for name in CLASSES
            if name in self.classes
        }
        counts = {"rows": self.rows, "mismatches": self.mismatches, "rounded_rows": self.rounded_rows}
        return {"feature": feature, **counts, "rate": self.rate, "classes": classes}


@dataclass(frozen=True)
class SkewReport:
    """What an audit found.

    Attributes:
        model: The model.
        deployments: Endpoints whose logs were read.
        window: After when, and until when, the predictions were asked for.
        predictions: How many were read.
        versions: The model versions that had answered.
        features: By model input.
        not_audited: Why other inputs were not compared, by name.
    """

    model: str
    deployments: tuple[str, ...]
    window: tuple[datetime, datetime]
    predictions: int
    versions: tuple[int, ...]
    features: Mapping[str, FeatureSkew]
    not_audited: Mapping[str, str]

    @property
    def worst_rate(self) -> float:
        """The greatest rate of any feature; 0 where nothing was compared."""
        return max((skew.rate for skew in self.features.values()), default=0.0)

    def as_json(self) -> dict[str, Any]:
        """Return the JSON form, as the result of the operation; features by falling rate, then by name."""
        order = sorted(self.features, key=lambda name: (-self.features[name].rate, name))
        return {
            "model": self.model, "deployments": list(self.deployments), "versions": list(self.versions),
            "after": self.window[0].isoformat(), "until": self.window[1].isoformat(),
            "predictions": self.predictions, "worst_rate": self.worst_rate,
            "mismatches": sum(skew.mismatches for skew in self.features.values()),
            "features": [self.features[name].as_json(name) for name in order],
            "not_audited": [{"input": name, "why": why} for name, why in sorted(self.not_audited.items())],
        }  # fmt: skip
