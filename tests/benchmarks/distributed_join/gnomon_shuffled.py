"""Ours without layouts: each join shuffles all rows; a contestant of `distributed_join`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from contestant import run
from distributed_join.gnomon_on_ray import GnomonOnRay

from gnomon.storage.delta_tables import DeltaTables


class _WithoutLayouts(DeltaTables):
    def derived_folder(self, table: str) -> None:  # type: ignore[override]
        return None


class Shuffled(GnomonOnRay):
    """The contestant; see `contestant.Contestant`."""

    def open(self, world: Mapping[str, Any]) -> dict[str, str]:
        """Start the nodes; the store keeps no derived data."""
        versions = super().open(world)
        self.tables = _WithoutLayouts(self.root(world))
        return versions

    def before(self, tables: DeltaTables, table: str, join: Callable[[], Any]) -> None:
        """Nothing is to be prepared."""


if __name__ == "__main__":
    run(Shuffled())
