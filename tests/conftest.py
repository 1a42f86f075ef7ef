"""What all tests share: a home of their own, where the real data of `shared/` lies, and no deadlines."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# How fast a machine is, and what else it does, is nothing that a test may fail by.
settings.register_profile("gnomon", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("gnomon")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Deal the files that start platforms out evenly among the first four fifths of the others.

    Side by side they get in each other's way, and one that comes last is waited for by processes with nothing to do.
    """
    files: dict[Path, list[pytest.Item]] = {}
    for item in items:
        files.setdefault(item.path, []).append(item)
    long = [tests for path, tests in files.items() if "integration" in path.parts]
    short = [tests for path, tests in files.items() if "integration" not in path.parts]
    step = 0.8 * len(short) / max(1, len(long))
    places = [*((step * i, 0, i, tests) for i, tests in enumerate(long)), *((i, 1, i, t) for i, t in enumerate(short))]
    items[:] = [item for _, _, _, tests in sorted(places, key=lambda place: place[:3]) for item in tests]


@pytest.fixture(scope="session", autouse=True)
def own_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the tests a HOME of their own, and no Ray and no platform of the person who runs them."""
    home = tmp_path_factory.mktemp("home")
    os.environ["HOME"] = str(home)
    os.environ["GNOMON_HOME"] = str(home / "gnomon")
    os.environ["RAY_AUTH_MODE"] = "disabled"
    os.environ.pop("RAY_ADDRESS", None)
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    return home


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder of real public data, which is not part of the project; skip by name where it is absent."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("GNOMON_SHARED_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"needs the public data sets in {folder} (GNOMON_SHARED_DATA)")
    return folder
