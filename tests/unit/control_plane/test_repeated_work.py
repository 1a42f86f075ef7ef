"""A training, a deployment or a retraining whose worker died is repeated, and ends as if it had been done once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import gnomon as gn
from gnomon import composition
from gnomon.contracts.apps import App
from gnomon.contracts.deployments import CHAMPION
from gnomon.contracts.operations import Operation
from gnomon.contracts.predictions import PredictionRecord
from gnomon.contracts.predictors import Trained, TrainRequest
from gnomon.control_plane.feature_work import ingest_source
from gnomon.control_plane.monitor_work import run_monitor
from gnomon.control_plane.parts import Parts
from gnomon.control_plane.release_work import deploy_version, retrain_model
from gnomon.control_plane.training_work import train_version
from gnomon.errors import Conflict
from gnomon.registry.model_formats import save_tabular_mlp
from gnomon.registry.tabular_mlp import TabularMLPDesign
from gnomon.training.preprocessing import learn_preprocessing

SCHEMA = {"id": "string", "at": "timestamp", "amount": "float64", "fraud": "bool"}


class RandomTrainer:
    """Gives a network of random weights in no time; notes how many rows it got, each time."""

    def __init__(self) -> None:
        self.rows: list[int] = []

    def train(self, request: TrainRequest, report: Callable[[int, Mapping[str, float]], None]) -> Trained:
        preprocessing, target = learn_preprocessing(request.train_path, request.signature, 0)
        self.rows.append(target.rows)
        design = TabularMLPDesign(signature=request.signature, preprocessing=preprocessing, hidden=(4,))
        draw = np.random.default_rng(list(request.run_id.encode()))  # a run repeated gives the same network
        weights = {n: draw.normal(size=shape).astype(np.float32) for n, shape in design.parameter_shapes().items()}
        report(1, {"loss": 0.5})
        return Trained(save_tabular_mlp(request.work_folder / "model", design, weights), 1, 2, (0.5,))


def app(folder: Path, holdout: float = 0.25, delay: str = "0d") -> App:
    source = gn.DataSource("pay", path="pay.csv", id="id", event_time="at")
    label = gn.Label("fraud", source=source, delay=delay)
    doubled = gn.RequestFeature("doubled", request={"amount": "float64"}, expression=gn.col("amount") * 2)
    model = gn.Model(
        "risk", label=label, features=[doubled], request={"amount": "float64"}, holdout=holdout,
        gates=[gn.Gate("log_loss", max=100.0), gn.Gate("log_loss", better_than_champion_by=0.0001)],
    )  # fmt: skip
    endpoint = gn.Deployment("risk", model=model)
    watch = gn.Monitor("watch", deployment=endpoint, window="1d", every="1h", rules=[gn.Drift("score")])
    specs = [source, label, doubled, model, endpoint, watch]
    return App.of("app", specs, root=str(folder)).with_schemas({"pay": SCHEMA})


@pytest.fixture
def trainer() -> RandomTrainer:
    return RandomTrainer()


@pytest.fixture
def parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trainer: RandomTrainer) -> Parts:
    """The platform's own parts with 40 labelled rows, and a trainer that takes no time."""
    monkeypatch.setenv("GNOMON_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("GNOMON_ONLINE_URL", "redis://127.0.0.1:1/0")  # never asked
    made = replace(composition.parts.__wrapped__(), trainer=lambda: trainer)
    rows = (f"{n},2026-01-01T00:00:{n:02}Z,{n % 7}.5,{'true' if n % 3 else 'false'}\n" for n in range(40))
    (tmp_path / "pay.csv").write_text("id,at,amount,fraud\n" + "".join(rows))
    made.definitions.apply(app(tmp_path), actor="me")
    ingest_source(operation(made, "ingest", "pay", "ingest"), made, str)
    return made


def operation(parts: Parts, kind: str, target: str, operation_id: str) -> Operation:
    return parts.operations.submit(kind, target, {}, actor="me", operation_id=operation_id)


def serve(parts: Parts, number: int) -> None:
    parts.states.put("endpoint", "risk", {"version": number, "state": "healthy"})


def test_retrain_repeated_after_its_own_promotion_answers_the_same(parts: Parts, trainer: RandomTrainer) -> None:
    asked = operation(parts, "retrain", "risk", "again")
    first = retrain_model(asked, parts, str)
    assert (first["promoted"], first["restarts"], first["train_rows"], first["holdout_rows"]) == (True, 2, 30, 10)
    assert retrain_model(asked, parts, str) == first
    gates = parts.states.get("gates", "risk/1")
    assert gates is not None
    assert (gates["passed"], gates["lines"]) == (True, first["gates"]["lines"])
    assert trainer.rows == [30]
    assert not (parts.work_folder / "again").exists()
    serve(parts, 1)
    assert deploy_version(operation(parts, "deploy", "risk", "deploy"), parts, str)["version"] == 1


def test_version_that_lost_its_report_is_not_compared_with_itself(parts: Parts) -> None:
    first = train_version("run", "risk", parts, str)
    parts.registry.move_alias("risk", CHAMPION, 1, reason="by hand", actor="me")
    without_report = replace(parts, states=ForgetsGates(parts))
    again = train_version("run", "risk", without_report, str)
    assert (again.version.number, again.gates) == (1, first.gates)


class ForgetsGates:
    """The platform's states, whose reports of gates are lost."""

    def __init__(self, parts: Parts) -> None:
        self._states = parts.states
        self.put, self.all = self._states.put, self._states.all

    def get(self, kind: str, name: str) -> Mapping[str, object] | None:
        return None if kind == "gates" else self._states.get(kind, name)


def test_retrain_that_was_replaced_says_so_at_once(parts: Parts) -> None:
    asked = operation(parts, "retrain", "risk", "again")
    retrain_model(asked, parts, str)
    serve(parts, 1)
    train_version("newer", "risk", parts, str)
    parts.registry.move_alias("risk", CHAMPION, 2, reason="better", actor="me")
    again = retrain_model(asked, parts, str)
    assert (again["promoted"], again["decision"]) == (True, "version 1 promoted, and 2 has replaced it since")


def test_deploy_repeated_after_a_newer_training_keeps_its_version(parts: Parts) -> None:
    train_version("one", "risk", parts, str)
    serve(parts, 1)
    asked = operation(parts, "deploy", "risk", "deploy")
    first = deploy_version(asked, parts, str)
    train_version("two", "risk", parts, str)
    assert deploy_version(asked, parts, str) == first
    assert len(parts.registry.alias_history("risk")) == 1
    parts.registry.move_alias("risk", CHAMPION, 2, reason="better", actor="me")
    with pytest.raises(Conflict, match="version 1 of 'risk' was promoted, and 2 has replaced it since"):
        deploy_version(asked, parts, str)


@pytest.mark.parametrize("dies_at", ["its choice", "the alias"])
def test_deploy_repeated_before_it_moved_the_alias_keeps_its_version(parts: Parts, dies_at: str) -> None:
    train_version("one", "risk", parts, str)
    serve(parts, 1)
    asked = operation(parts, "deploy", "risk", "deploy")
    dying = replace(
        parts, **({"states": DiesAfterPut(parts)} if dies_at == "its choice" else {"registry": Unmoved(parts)})
    )
    with pytest.raises(KeyboardInterrupt):
        deploy_version(asked, dying, str)
    assert parts.registry.alias_history("risk") == []
    train_version("two", "risk", parts, str)
    assert deploy_version(asked, parts, str)["version"] == 1
    assert [move.after for move in parts.registry.alias_history("risk")] == [1]


def test_deploy_whose_lease_is_over_does_not_choose(parts: Parts) -> None:
    def superseded(line: str) -> None:
        raise KeyboardInterrupt

    train_version("one", "risk", parts, str)
    asked = operation(parts, "deploy", "risk", "deploy")
    with pytest.raises(KeyboardInterrupt):
        deploy_version(asked, parts, superseded)
    train_version("two", "risk", parts, str)
    serve(parts, 2)
    assert deploy_version(asked, parts, str)["version"] == 2


def test_retrain_repeated_before_it_moved_the_alias_promotes_its_own_version(
    parts: Parts, trainer: RandomTrainer
) -> None:  # fmt: skip
    asked = operation(parts, "retrain", "risk", "again")
    with pytest.raises(KeyboardInterrupt):
        retrain_model(asked, replace(parts, registry=Unmoved(parts)), str)
    train_version("newer", "risk", parts, str)
    done = retrain_model(asked, parts, str)
    assert (done["version"], done["promoted"], len(trainer.rows)) == (1, True, 2)
    assert [move.after for move in parts.registry.alias_history("risk")] == [1]


class Unmoved:
    """The platform's registry, to a worker that is killed when it moves an alias."""

    def __init__(self, parts: Parts) -> None:
        self._registry = parts.registry

    def __getattr__(self, name: str) -> object:
        return getattr(self._registry, name)

    def move_alias(self, *_: object, **__: object) -> None:
        raise KeyboardInterrupt


class DiesAfterPut:
    """The platform's states, to a worker that is killed right after it has put a document."""

    def __init__(self, parts: Parts) -> None:
        self._states = parts.states
        self.get, self.all = self._states.get, self._states.all

    def put(self, kind: str, name: str, document: Mapping[str, object]) -> None:
        self._states.put(kind, name, document)
        raise KeyboardInterrupt


def test_run_goes_on_with_the_definitions_that_it_started_with(
    parts: Parts, trainer: RandomTrainer, tmp_path: Path
) -> None:  # fmt: skip
    def killed(line: str) -> None:
        if line.startswith("evaluating"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_version("run", "risk", parts, killed)
    before = parts.definitions.apps()[0].app_hash
    assert parts.definitions.apply(app(tmp_path, holdout=0.5), actor="me").app_hash != before
    done = train_version("run", "risk", parts, str)
    assert (trainer.rows, done.holdout_rows, done.version.lineage.app_hash) == ([30, 30], 10, before)
    assert train_version("later", "risk", parts, str).holdout_rows == 20


def test_rows_whose_label_was_not_final_when_the_holdout_begins_are_not_learned(
    parts: Parts, trainer: RandomTrainer, tmp_path: Path
) -> None:  # fmt: skip
    parts.definitions.apply(app(tmp_path, delay="4s"), actor="me")
    done = train_version("run", "risk", parts, str)
    assert (trainer.rows, done.train_rows, done.holdout_rows) == ([26], 26, 10)


def test_monitor_looks_at_the_predictions_of_the_champion_only(parts: Parts) -> None:
    train_version("run", "risk", parts, str)
    parts.registry.move_alias("risk", CHAMPION, 1, reason="by hand", actor="me")
    now_us = parts.clock.now_us()
    records = [
        PredictionRecord(
            prediction_id=f"p{n}", deployment="risk", model="risk", version=1 if n < 3 else 9, variant="champion",
            time_us=now_us - 1000 - n, keys={}, inputs={"doubled": 1.0, "amount": 0.5}, age_us={}, status={},
            output=0.5, latency_us=1,
        )
        for n in range(10)
    ]  # fmt: skip
    parts.predictions.append("risk", records, "batch")
    assert run_monitor(operation(parts, "monitor", "watch", "look"), parts, str)["rows"] == 3
