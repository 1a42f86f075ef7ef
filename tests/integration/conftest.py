"""One real platform for the tests of a file; an idle one takes a fifth of a core, so none outlives its file."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.local_platform import ROOT, LocalPlatform


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalPlatform]:
    """Return a platform that is up; afterwards it is stopped, and nothing of it may be left."""
    running = LocalPlatform(tmp_path_factory.mktemp("platform"), {"PYTHONPATH": str(ROOT)})  # for serve_apps/
    running.up()
    yield running
    running.down()
    assert running.processes() == []
