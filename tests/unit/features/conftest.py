"""Real servers of the feature tests: a Valkey, and for those that are marked `cluster` a Ray of two CPUs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tests.ray_cluster import ray_cluster as started

from gnomon.runtime.embedded_valkey import EmbeddedValkey


@pytest.fixture(scope="module")
def ray_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with started(tmp_path_factory.mktemp("home")) as ray:
        yield ray


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Valkey of this module's own."""
    valkey = EmbeddedValkey(tmp_path_factory.mktemp("valkey"))
    valkey.start()
    yield valkey.url
    valkey.stop()
