"""What all tests share: a home of their own, where the real data of `shared/` lies, and no deadlines."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# How fast a machine is, and what else it does, is nothing that a test may fail by.
settings.register_profile("gnomon", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("gnomon")


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
