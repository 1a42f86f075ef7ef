"""What happens in the demo, act by act: each turns the clock, uses the client as anyone does, and tells what it saw."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from gnomon.client import Client
from gnomon.connection import Json
from gnomon.contracts.clocks import HandClock, to_us
from gnomon.control_plane.monitor_states import evaluation_id, retrain_id
from gnomon.errors import OperationFailed
from gnomon.examples.payments.simulator import Drift, Payments, simulate

SEED = 5
FIRST_TRAINING_DAY = 60
PRICE_RISE_DAY = 68
CARD_TESTING_DAY = 92
MONITOR_DAYS = 5
LAST_DAY = 115
FRESH_FEATURES_DAYS = 10
_DAILY_SAMPLE = 120
_PATIENCE_S = 120.0


class Story:
    """Tells the demo.

    Args:
        client: Of the running platform.
        clock: The platform's clock.
        home: Where the app file and its data go.
        start: First day of the simulated payments.
        console: Where it is printed.
    """

    def __init__(self, client: Client, clock: HandClock, home: Path, start: datetime, console: Console) -> None:
        self._client = client
        self._clock = clock
        self._home = home
        self._start = start
        self._console = console
        self._world = simulate(
            SEED,
            start,
            LAST_DAY + 1,
            drift=[Drift("benign", PRICE_RISE_DAY), Drift("concept", CARD_TESTING_DAY)],
        )
        self._delivered = 0
        self._predicted: set[str] = set()

    def tell(self) -> None:
        """Tell it from the first ingestion to the last retraining.

        Raises:
            OperationFailed: The story did not come out as told: nothing was promoted, or nothing was kept.
        """
        self._define()
        self._first_model()
        decisions = [decision for until in self._looks() for decision in self._live_until(until)]
        self._end(decisions)

    def _define(self) -> None:
        self._act("One file of definitions goes in")
        source = Path(__file__).with_name("app.py")
        shutil.copyfile(source, self._home / "payments.py")
        self._deliver(FIRST_TRAINING_DAY)
        lines = len(source.read_text().splitlines())
        applied = self._client.apply(self._home / "payments.py")
        self._say(
            f"{len(applied['changes'])} definitions from {lines} lines: applied as revision {applied['revision']}"
        )

    def _first_model(self) -> None:
        self._act(f"{FIRST_TRAINING_DAY} days of payments become a model")
        self._bring_in()
        self._clock.set(self._day(FIRST_TRAINING_DAY))
        trained = self._watched("train", "fraud")
        self._quality(trained)
        released = self._watched("deploy", "fraud")
        self._say(f"version {released['version']} serves at {released['path']}")

    def _looks(self) -> Iterator[int]:
        """Yield the days on which the monitor looks."""
        yield from range(FIRST_TRAINING_DAY + MONITOR_DAYS, LAST_DAY + 1, MONITOR_DAYS)

    def _live_until(self, day: int) -> list[Json]:
        """Live through some days: payments are scored as they happen, outcomes come a week later, the monitor looks."""
        before = self._delivered
        if before < PRICE_RISE_DAY <= day:
            self._act(f"Day {PRICE_RISE_DAY}: prices rise by half; fraud looks as before")
        if before < CARD_TESTING_DAY <= day:
            self._act(
                f"Day {CARD_TESTING_DAY}: fraudsters change their ways and test cards with small amounts at night"
            )
        scored = self._score(before, day)
        outcomes = self._report_outcomes(before, day)
        self._deliver(day)
        if day % FRESH_FEATURES_DAYS == 0 or day == LAST_DAY:
            self._bring_in()
        self._clock.set(self._day(day))  # and with it the monitor is due
        evaluation = self._evaluation(day)
        verdict = "[bold yellow]fires[/]" if evaluation["fired"] else "is quiet"
        decision = self._consequence(evaluation)
        if evaluation["fired"] and decision is None:
            verdict += " [dim](within the cooldown: nothing follows)[/]"
        self._say(f"day {day}: {scored} payments scored, {outcomes} outcomes reported; the monitor {verdict}")
        if decision is not None:
            self._say(f"  why: {'; '.join(evaluation['fired_rules'])}")
            self._say(f"  [bold]so the control plane retrained:[/] {decision['decision']}")
        return [decision] if decision is not None else []

    def _score(self, first: int, last: int) -> int:
        """Ask for a prediction for a sample of each day's payments, on that day."""
        scored = 0
        for day in range(first, last):
            self._clock.set(self._day(day) + timedelta(hours=23))
            rows = self._world.between(self._day(day), self._day(day + 1)).payments.slice(0, _DAILY_SAMPLE).to_pylist()
            asked = [
                {"prediction_id": r["tx_id"], **{k: r[k] for k in ("customer_id", "terminal_id", "amount")}}
                for r in rows
            ]
            answer = self._client.predict_many("fraud", asked)
            self._predicted.update(p["id"] for p in answer["predictions"])
            scored += len(answer["predictions"])
        # Before the clock reaches the moment at which the monitor looks.
        self._until(lambda: self._logged(first) == scored, "the predictions are in the log")
        return scored

    def _logged(self, first: int) -> int:
        """Return how many predictions since a day are logged; the log follows the answers by about a second."""
        return int(self._client.history.predictions("fraud", since=self._day(first), limit=0)["total"])

    def _report_outcomes(self, first: int, last: int) -> int:
        reports = self._world.between(self._day(first), self._day(last)).fraud_reports.to_pylist()
        known = {r["tx_id"]: float(r["is_fraud"]) for r in reports if r["tx_id"] in self._predicted}
        return int(self._client.outcome("fraud", known)["added"]) if known else 0

    def _evaluation(self, day: int) -> Json:
        """Wait for the monitor's evaluation that fell due on a day; the control plane starts it by itself."""
        due = evaluation_id("fraud_watch", to_us(self._day(day)))
        self._until(lambda: any(o["id"] == due for o in self._client.operations.newest(20)), "the monitor is evaluated")
        return self._client.operations.wait({"id": due}, timeout_s=_PATIENCE_S)

    def _consequence(self, evaluation: Json) -> Json | None:
        """Wait for what the control plane makes of an evaluation: a retraining, which is waited for too, or nothing."""
        self._until(lambda: self._watch()["settled"] == evaluation["operation"], "the finding is settled")
        retrain = retrain_id(evaluation["operation"])
        return self._wait_watching({"id": retrain, "kind": "retrain"}) if self._watch()["retrain"] == retrain else None

    def _watch(self) -> Json:
        monitors: list[Json] = self._client.status()["monitors"]
        return monitors[0]

    def _until(self, holds: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + _PATIENCE_S
        while not holds():
            if time.monotonic() > deadline:
                raise OperationFailed(f"waited {_PATIENCE_S:.0f} s in vain until {what}", "`gnomon logs` may say why")
            time.sleep(0.2)

    def _bring_in(self) -> None:
        """Ingest both sources and materialize all views, side by side."""
        self._all("ingest", ["payments", "fraud_reports"])
        self._all("materialize", ["spend", "traffic", "risk"])

    def _all(self, kind: str, targets: list[str]) -> None:
        for operation in [self._client.operations.submit(kind, target) for target in targets]:
            self._client.operations.wait(operation)

    def _deliver(self, until_day: int) -> None:
        """Write the files that a payment system would have written by that day, and turn the clock to its eve."""
        period = self._world.between(self._day(self._delivered), self._day(until_day))
        _write(period, self._home / "data", f"until-day-{until_day:03d}")
        self._delivered = until_day
        self._clock.set(self._day(until_day) - timedelta(seconds=1))

    def _watched(self, kind: str, target: str) -> Json:
        return self._wait_watching(self._client.operations.submit(kind, target))

    def _wait_watching(self, operation: Json) -> Json:
        """Wait for an operation under a progress line."""
        columns = (TextColumn("  [dim]{task.description}[/]"), BarColumn(pulse_style="cyan"), TimeElapsedColumn())
        with Progress(*columns, console=self._console, transient=True) as progress:
            task = progress.add_task(operation["kind"], total=None)

            def moved(now: Json) -> None:
                progress.update(task, description=f"{now['kind']}: {now['progress'] or now['state']}")

            return self._client.operations.wait(operation, on_progress=moved)

    def _quality(self, trained: Json) -> None:
        auc = next(m for m in trained["metrics"] if m["name"] == "roc_auc")
        self._say(
            f"version {trained['version']}: trained on {trained['train_rows']} payments, tested on the "
            f"{trained['holdout_rows']} after them: ROC AUC {auc['value']:.3f} "
            f"(95 %: {auc['low']:.3f} to {auc['high']:.3f})"
        )

    def _end(self, decisions: list[Json]) -> None:
        self._act("What happened")
        promoted = [d for d in decisions if d["promoted"]]
        kept = [d for d in decisions if not d["promoted"]]
        for version in self._client.models("fraud"):
            auc = next(m["value"] for m in version["metrics"] if m["name"] == "roc_auc")
            serving = "  ← serves" if "champion" in version["aliases"] else ""
            self._say(f"version {version['number']}: ROC AUC {auc:.3f} on the newest payments of its time{serving}")
        self._say(
            f"{len(decisions)} retrainings without a person: {len(promoted)} promoted, "
            f"{len(kept)} not better and kept out"
        )
        if not promoted or not kept:
            raise OperationFailed("the story should show both a promotion and a refusal, and did not")

    def _day(self, number: int) -> datetime:
        return self._start + timedelta(days=number)

    def _act(self, title: str) -> None:
        self._console.print(f"\n[bold cyan]{title}[/]")

    def _say(self, line: str) -> None:
        self._console.print(f"  {line}")


def _write(period: Payments, folder: Path, name: str) -> None:
    tables: dict[str, Any] = {"payments": period.payments, "fraud_reports": period.fraud_reports}
    for source, table in tables.items():
        target = folder / source
        target.mkdir(parents=True, exist_ok=True)
        if table.num_rows:
            pq.write_table(table, target / f"{name}.parquet")
