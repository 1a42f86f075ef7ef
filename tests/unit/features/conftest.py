"""A real Ray cluster of two CPUs for tests that are marked `cluster`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tests.ray_cluster import ray_cluster as started


@pytest.fixture(scope="module")
def ray_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with started(tmp_path_factory.mktemp("home")) as ray:
        yield ray
