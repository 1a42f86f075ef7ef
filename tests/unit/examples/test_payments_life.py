"""The shortened example that the kill tests live through is still what the example says."""

from __future__ import annotations

from pathlib import Path

from tests.payments_life import PROBE, write_app

from gnomon.contracts.deployments import Deployment
from gnomon.runtime.app_code import load_app


def test_the_shortened_example_loads(tmp_path: Path) -> None:
    app, _ = load_app(write_app(tmp_path))
    assert app.get(Deployment, PROBE).model == "fraud"
