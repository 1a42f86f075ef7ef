"""Feast repositories for tests: those written beside the tests, and small ones made where they are needed."""

from __future__ import annotations

from pathlib import Path

from gnomon.contracts.apps import App
from gnomon.importing.importer import ImportedApp, import_feast
from gnomon.runtime.app_code import load_app

REPOSITORIES = Path(__file__).resolve().parent / "unit" / "importing" / "repositories"
NAMES = ("drivers", "shop", "warehouse")
_TIME_LIMIT_S = 60.0

PLAIN = """
from datetime import timedelta
from feast import *
from feast.types import *

driver = Entity(name="driver", join_keys=["driver_id"])
stats = FileSource(name="stats", path="stats.parquet", timestamp_field="at")
view = FeatureView(name="view", entities=[driver], schema=[Field(name="trips", dtype=Int64)], source=stats)
"""
"""An entity, a source and a view."""


def make_repository(folder: Path, files: dict[str, str]) -> Path:
    """Write a repository of the project `made`; a `feature_store.yaml` among the files takes the place of its own."""
    for name, text in {"feature_store.yaml": "project: made\n", **files}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def imported(repository: Path, out: Path) -> tuple[ImportedApp, App]:
    """Import a repository, write the app file and load it as `gnomon plan` does."""
    found = import_feast(repository, out.parent, _TIME_LIMIT_S)
    out.write_text(found.text, encoding="utf-8")
    return found, load_app(out)[0]
