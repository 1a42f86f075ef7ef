"""Feast's program in `feast_table`: runs one case after the other, as the harness's programs answer commands."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from contestant import run
from feast_table.cases import CASES
from feast_table.feast_world import FeastWorld, now


class FeastCases:
    """Answers the commands `versions` and `observe`; see `contestant.run`."""

    def versions(self) -> dict[str, str]:
        """Return versions by package."""
        return {name: version(name) for name in ("feast", "redis", "dask", "pandas", "pyarrow")}

    def observe(self, name: str, folder: str, url: str) -> Mapping[str, Any]:
        """Run a case in an empty folder; return what was seen."""
        case = next(case for case in CASES if case.name == name)
        return case.feast(FeastWorld(Path(folder), url, now()))

    def close(self) -> None:
        """Nothing is left open but connections, which end with the process."""


if __name__ == "__main__":
    run(FeastCases())
