"""The life of the payments example in short, for tests that live through it more than once and compare.

As in the demo, and with every operation under an id of its own choice: definitions, a first model, days of predictions
and outcomes, a drift, and a monitor that makes the control plane train again. A listener is told which moment it is.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from tests.waiting import until

import gnomon.examples.payments as example
from gnomon.client import Client
from gnomon.contracts.clocks import HandClock, to_us
from gnomon.control_plane.monitor_states import evaluation_id, retrain_id
from gnomon.examples.payments.simulator import Drift, simulate
from gnomon.serving.prediction_log import predictions_table
from gnomon.storage.delta_tables import DeltaTables

SEED = 5
START = datetime(2026, 1, 5, tzinfo=UTC)
TRAINING_DAY, DRIFT_DAY, STEP_DAYS, LAST_DAY = 35, 36, 10, 55
CUSTOMERS, TERMINALS, DAILY_SAMPLE = 400, 150, 60
PATIENCE_S = 900.0
PHASES = (
    "apply", "ingest", "materialize", "train", "deploy", "predicting", "outcomes", "monitor", "retrain", "promotion",
)  # fmt: skip
PROBE = "fraud_probe"
"""A second deployment of the model that no monitor watches: how often it is asked changes nothing."""

_SHORTER = {
    "min=0.75": "min=0.6", "better_than_champion_by=0.03": "better_than_champion_by=-0.03",
    'cooldown="45d"': 'cooldown="10d"',
    'window="5d"': 'window="10d"', 'every="5d"': 'every="10d"', 'max_age="12d"': 'max_age="15d"',
}  # fmt: skip

Listener = Callable[[str, str], None]
"""Told the phase, and `asked`, or the state of the operation that moved."""


def write_app(home: Path) -> Path:
    """Put the example's app file, shortened, into a home; return it."""
    text = Path(example.__file__).with_name("app.py").read_text()
    for long, short in _SHORTER.items():
        assert long in text, f"the example no longer says {long}"
        text = text.replace(long, short)
    file = home / "payments.py"
    file.write_text(f'{text}\nprobe = gn.Deployment("{PROBE}", model=fraud, min_replicas=1, max_replicas=1)\n')
    return file


class PaymentsLife:
    """Lives it once, on a running platform whose clock it turns.

    Args:
        client: Of the platform.
        home: The platform's.
        clock: The platform's.
        listener: Called at each moment worth a disturbance: around what is asked for, and at each progress of work.
    """

    def __init__(self, client: Client, home: Path, clock: HandClock, listener: Listener) -> None:
        self._client, self._home, self._clock, self._at = client, home, clock, listener
        self._world = simulate(SEED, START, LAST_DAY + 1, CUSTOMERS, TERMINALS, Drift("concept", DRIFT_DAY))
        self._delivered = 0
        self.predicted: set[str] = set()
        self.retrained: list[dict[str, Any]] = []

    def first_model(self) -> None:
        """From the definitions to the first version that serves."""
        app = write_app(self._home)
        self._deliver(TRAINING_DAY)
        self._at("apply", "asked")
        self._client.apply(app)
        self._at("apply", "asked")
        self._bring_in()
        self._all("train", ["fraud"])
        self._all("deploy", ["fraud"])
        self._all("deploy", [PROBE])

    def live(self) -> None:
        """From the first prediction to the last retraining."""
        for day in range(TRAINING_DAY + STEP_DAYS, LAST_DAY + 1, STEP_DAYS):
            before = self._delivered
            self._predict(before, day)
            self._report_outcomes(before, day)
            self._deliver(day)
            self._watch(day)
            self._bring_in()

    def _bring_in(self) -> None:
        self._all("ingest", ["payments", "fraud_reports"])
        self._all("materialize", ["spend", "traffic", "risk"])

    def _all(self, kind: str, targets: list[str]) -> None:
        asked = []
        for target in targets:
            identity = f"{kind}-{target}-{self._delivered}"
            asked.append(self._client.operations.submit(kind, target, operation_id=identity))
            self._at(kind, "asked")
        for operation in asked:
            self._follow(kind, operation)

    def _follow(self, phase: str, operation: dict[str, Any]) -> dict[str, Any]:
        def moved(now: dict[str, Any]) -> None:
            self._at("promotion" if now["progress"].startswith("waiting for version") else phase, now["state"])

        return self._client.operations.wait(operation, timeout_s=PATIENCE_S, on_progress=moved)

    def _predict(self, first: int, last: int) -> None:
        for day in range(first, last):
            self._clock.set(_day(day) + timedelta(hours=23))
            self._at("predicting", "asked")
            rows = self._world.between(_day(day), _day(day + 1)).payments.slice(0, DAILY_SAMPLE).to_pylist()
            asked = [{"prediction_id": row["tx_id"], **request(row)} for row in rows]
            answer = self._client.predict_many("fraud", asked)
            self.predicted.update(one["id"] for one in answer["predictions"])
        table = DeltaTables(self._home / "tables")
        until(lambda: table.version(predictions_table("fraud")) >= 0, PATIENCE_S)
        # What the monitor sees must not depend on how soon the log was written.
        until(lambda: len(logged(table, "fraud")) >= len(self.predicted), PATIENCE_S)

    def _report_outcomes(self, first: int, last: int) -> None:
        reports = self._world.between(_day(first), _day(last)).fraud_reports.to_pylist()
        known = {row["tx_id"]: float(row["is_fraud"]) for row in reports if row["tx_id"] in self.predicted}
        self._at("outcomes", "asked")
        assert self._client.outcome("fraud", known)["added"] == len(known) > 0
        self._at("outcomes", "asked")

    def _watch(self, day: int) -> None:
        """Wait for the evaluation that is due, and for what the control plane makes of it."""
        due = evaluation_id("fraud_watch", to_us(_day(day)))
        self._at("monitor", "asked")
        until(lambda: any(o["id"] == due for o in self._client.operations.newest(20)), PATIENCE_S)
        self._follow("monitor", {"id": due})
        until(lambda: self._client.status()["monitors"][0]["settled"] == due, PATIENCE_S)
        self._at("retrain", "asked")
        if self._client.status()["monitors"][0]["retrain"] == retrain_id(due):
            self.retrained.append(self._follow("retrain", {"id": retrain_id(due)}))

    def _deliver(self, until_day: int) -> None:
        """Write the files that a payment system would have written by that day, and turn the clock to it."""
        period = self._world.between(_day(self._delivered), _day(until_day))
        for source, rows in (("payments", period.payments), ("fraud_reports", period.fraud_reports)):
            folder = self._home / "data" / source
            folder.mkdir(parents=True, exist_ok=True)
            pq.write_table(rows, folder / f"until-day-{until_day:03d}.parquet")
        self._delivered = until_day
        self._clock.set(_day(until_day))

    def requests(self) -> list[dict[str, Any]]:
        """Return some requests for predictions, without ids."""
        return [request(row) for row in self._world.payments.slice(0, 500).to_pylist()]


def fresh_home(home: Path) -> HandClock:
    """Empty a home and set its clock to the beginning."""
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    return HandClock(home / "clock", START)


def request(row: dict[str, Any]) -> dict[str, Any]:
    """Return what is asked about a payment."""
    return {name: row[name] for name in ("customer_id", "terminal_id", "amount")}


def logged(tables: DeltaTables, deployment: str) -> list[str]:
    """Return the ids in a deployment's prediction log, in no particular order."""
    table = predictions_table(deployment)
    ids: list[str] = tables.read(table, columns=["_event_id"])["_event_id"].to_pylist()
    return ids


def _day(number: int) -> datetime:
    return START + timedelta(days=number)
