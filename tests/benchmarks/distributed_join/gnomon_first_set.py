"""Ours, where each join is the first of its table and lays it out; a contestant of `distributed_join`."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import Any

from contestant import run
from distributed_join.gnomon_on_ray import GnomonOnRay

from gnomon.storage.delta_tables import DeltaTables


class FirstSet(GnomonOnRay):
    """The contestant; see `contestant.Contestant`."""

    def before(self, tables: DeltaTables, table: str, join: Callable[[], Any]) -> None:
        """Remove the layout."""
        shutil.rmtree(tables.derived_folder(table), ignore_errors=True)


if __name__ == "__main__":
    run(FirstSet())
