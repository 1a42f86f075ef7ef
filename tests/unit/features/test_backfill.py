"""A view has its whole history from the moment at which it is defined: values are computed from events, at any time."""

from __future__ import annotations

from pathlib import Path

from tests.feature_world import FeatureWorld, row

import gnomon as gn

HOURS = 400


def test_a_view_that_is_defined_late_has_its_history_at_once(tmp_path: Path, server: str) -> None:
    """Nothing is materialized, and no table is written: there is nothing that a backfill would have to bring."""
    window = {"features": [gn.Aggregation("amount", "sum", window="48h", name="total")]}
    wider = {"features": [gn.Aggregation("amount", "sum", window="96h", name="total"), gn.Column("amount")]}
    made = FeatureWorld(tmp_path, server, {"spend": window, "anew": wider})
    made.ingest(*(row(f"e{h}", h % 2, at=h, known=h + h % 3, amount=h) for h in range(HOURS)))
    before = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*"))
    moments = [(customer, at) for at in range(0, HOURS, 7) for customer in (0, 1)]
    for lookup, hours in (("spend.total", 48), ("anew.total", 96)):
        known = [
            [h for h in range(HOURS) if h % 2 == customer and at - hours < h <= at and h + h % 3 <= at]
            for customer, at in moments
        ]
        (found,) = made.join([lookup], *moments)
        assert [value or 0 for value in found] == [sum(events) for events in known]
    assert sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*")) == before
    assert made.online.clear(gn.contracts.layouts.view_layout(made.app, "anew")) == 0
