"""What the stand-in records of a repository is what Feast itself finds in it."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.benchmarks.environments import cache_folder
from tests.feast_repositories import REPOSITORIES

from gnomon.importing.definitions import Definitions, find_definitions
from gnomon.importing.dtypes import shown_type
from gnomon.importing.findings import Findings
from gnomon.importing.recordings import FeastObject, Projection, record
from gnomon.importing.repositories import open_repository
from gnomon.importing.source_mapping import batch_of
from gnomon.importing.view_mapping import VIEWS

CACHE = cache_folder()  # before the tests get a home of their own
_ASK = """
import json, os, sys, warnings
from pathlib import Path
warnings.simplefilter("ignore")
os.chdir(sys.argv[1])
sys.path.insert(0, "")
from feast.repo_operations import get_repo_files, parse_repo
root = Path.cwd()
found = parse_repo(root)
def fields(view):
    return {field.name: str(field.dtype) for field in view.features}
views = [*found.feature_views, *found.stream_feature_views]
print(json.dumps({
    "files": [path.relative_to(root).as_posix() for path in get_repo_files(root)],
    "projects": sorted(project.name for project in found.projects),
    "entities": {e.name: e.join_key for e in found.entities if e.name != "__dummy"},
    "sources": sorted([s.name, s.timestamp_field, s.created_timestamp_column] for s in found.data_sources),
    "views": {v.name: [sorted(set(v.entities) - {"__dummy"}), v.ttl.total_seconds(), v.batch_source.name, fields(v)]
              for v in views},
    "on_demand": {v.name: fields(v) for v in found.on_demand_feature_views},
    "services": {s.name: [[p.name, sorted(f.name for f in p.features)] for p in s.feature_view_projections]
                 for s in found.feature_services},
}))
"""


@pytest.fixture(scope="module")
def feast_python() -> Path:
    pythons = [ready.parent / "bin" / "python" for ready in sorted(CACHE.glob("feast-*/ready"))]
    if not pythons:
        pytest.skip(f"needs an environment with Feast in {CACHE}: python -m tests.benchmarks online_read makes one")
    return pythons[0]


def fields_of(view: FeastObject, keys: list[str]) -> dict[str, str]:
    schema = view.fields.get("schema") or []
    return {item.name: shown_type(item.fields["dtype"]) for item in schema if item.name not in keys}


def recorded(definitions: Definitions, files: tuple[str, ...]) -> dict[str, Any]:
    def key(entity: FeastObject) -> str:
        return str((entity.fields.get("join_keys") or [entity.name])[0])

    def of(value: Any) -> list[Any]:
        view = value.of if isinstance(value, Projection) else value
        all_features = fields_of(view, [key(e) for e in view.fields.get("entities") or []])
        wanted = value.changes.get("features") if isinstance(value, Projection) else None
        return [view.name, sorted(wanted or all_features)]

    views = {}
    for view in definitions.of(*VIEWS):
        entities = view.fields.get("entities") or []
        batch = batch_of(view.fields["source"])
        assert batch is not None
        ttl = view.fields.get("ttl")
        fields = fields_of(view, [key(e) for e in entities])
        views[view.name] = [sorted(e.name for e in entities), ttl.total_seconds() if ttl else 0.0, batch.name, fields]
    sources = [
        [s.name, s.fields.get("timestamp_field", ""), s.fields.get("created_timestamp_column", "")]
        for s in definitions.all
        if s.kind.endswith("Source")
    ]
    return {
        "files": list(files),
        "projects": [project.name for project in definitions.of("Project")],
        "entities": {entity.name: key(entity) for entity in definitions.of("Entity")},
        "sources": sorted(sources),
        "views": views,
        "on_demand": {v.name: fields_of(v, []) for v in definitions.of("OnDemandFeatureView")},
        "services": {s.name: [of(v) for v in s.fields["features"]] for s in definitions.of("FeatureService")},
    }


@pytest.mark.parametrize("name", ["drivers", "shop"])
def test_the_stand_in_records_what_feast_finds(name: str, feast_python: Path, tmp_path: Path) -> None:
    repository = tmp_path / name
    shutil.copytree(REPOSITORIES / name, repository)
    done = subprocess.run(
        [str(feast_python), "-c", _ASK, str(repository)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    expected = json.loads(done.stdout.splitlines()[-1])
    opened = open_repository(repository)
    assert recorded(find_definitions(record(opened, 60.0), Findings()), opened.files) == expected
