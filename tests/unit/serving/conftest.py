"""A small platform of real parts, shared by the tests of serving."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from gnomon.runtime.embedded_valkey import EmbeddedValkey
from gnomon.serving.parts import ServingParts


def _serving_world() -> ModuleType:
    path = Path(__file__).parents[2] / "serving_world.py"
    spec = importlib.util.spec_from_file_location("serving_world", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["serving_world"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def world() -> ModuleType:
    """The module `tests/serving_world.py`."""
    return _serving_world()


@pytest.fixture(scope="session")
def online(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedValkey]:
    server = EmbeddedValkey(tmp_path_factory.mktemp("valkey"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def folder(world: ModuleType, online: EmbeddedValkey, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    world.build_world(folder, online.url)
    return folder


@pytest.fixture
def parts(world: ModuleType, folder: Path) -> ServingParts:
    found: ServingParts = world.parts_of(folder)
    return found
