"""The work of the operation `train`: training set, training, evaluation on later rows, registration.

Every step can be repeated: the run's id is the operation's, the training set is content-addressed, checkpoints are kept
in the run's folder, and a run registers one version. The report of the gates is stored last: a run that has one is
done, is not judged again, and needs its folder no more. `release_work.retrain_model` builds on it.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from gnomon.contracts.clocks import from_us
from gnomon.contracts.deployments import CHAMPION
from gnomon.contracts.durations import duration_us
from gnomon.contracts.labels import Label
from gnomon.contracts.layouts import view_layout
from gnomon.contracts.models import Model
from gnomon.contracts.operations import Operation
from gnomon.contracts.platform_state import Applied
from gnomon.contracts.predictors import Predictor, Trained, TrainRequest
from gnomon.contracts.registry import Lineage, Metric, ModelVersion
from gnomon.contracts.signatures import Signature, model_signature
from gnomon.control_plane.audited_work import record_once
from gnomon.control_plane.parts import Parts
from gnomon.control_plane.table_files import write_table
from gnomon.errors import InvalidInput
from gnomon.evaluation.gates import GateReport, check_gates
from gnomon.evaluation.metrics import evaluate
from gnomon.evaluation.references import build_reference
from gnomon.features.training_sets import TrainingSet, build_training_set
from gnomon.registry.model_formats import load_predictor
from gnomon.registry.model_inputs import model_columns

Report = Callable[[str], None]
REFERENCE_FILE = "reference.parquet"


@dataclass(frozen=True)
class TrainedVersion:
    """A registered version and the judgement on it."""

    version: ModelVersion
    gates: GateReport
    train_rows: int
    holdout_rows: int
    restarts: int

    def as_json(self) -> dict[str, Any]:
        """Return what the operation answers."""
        return {
            "model": self.version.model, "version": self.version.number, "artifact": self.version.artifact,
            "train_rows": self.train_rows, "holdout_rows": self.holdout_rows, "restarts": self.restarts,
            "metrics": [asdict(metric) for metric in self.version.metrics],
            "gates": {"passed": self.gates.passed, "lines": list(self.gates.lines)},
        }  # fmt: skip


def train_model(operation: Operation, parts: Parts, report: Report) -> dict[str, Any]:
    """Train a model on what is known now; register the version. Whether it may serve, its gates say."""
    return train_version(operation.id, operation.target, parts, report).as_json()


def train_version(run_id: str, model_name: str, parts: Parts, report: Report) -> TrainedVersion:
    """Build the training set, train, evaluate, register.

    A run that is done is not done again: judged once more after its own promotion, it would be compared with itself.

    Args:
        run_id: The run; the same id goes on where an earlier attempt stopped, with the definitions of the first one.
        model_name: Which model.
        parts: The platform's parts.
        report: Takes a line of progress.

    Returns:
        The registered version, whether its gates hold, and how many rows it was made from.

    Raises:
        InvalidInput: No label can be used yet, or too few to hold some out.
        OperationFailed: Training failed for good.
    """
    done = _done_before(run_id, model_name, parts) or _train_and_register(run_id, model_name, parts, report)
    # A worker whose lease is no longer current ends at this report: the files may be in use by the one after it.
    report(f"version {done.version.number} is registered")
    # What cannot be removed costs space only; it must not fail a run that is done.
    shutil.rmtree(parts.work_folder / run_id, ignore_errors=True)
    return done


def _done_before(run_id: str, model_name: str, parts: Parts) -> TrainedVersion | None:
    version = next((v for v in parts.registry.versions(model_name) if v.lineage.run_id == run_id), None)
    stored = parts.states.get("gates", f"{model_name}/{version.number}") if version is not None else None
    if version is None or stored is None:
        return None
    gates = GateReport(bool(stored["passed"]), tuple(stored["lines"]))
    return TrainedVersion(version, gates, stored["train_rows"], stored["holdout_rows"], stored["restarts"])


def _train_and_register(run_id: str, model_name: str, parts: Parts, report: Report) -> TrainedVersion:
    applied, as_of_us = _started(run_id, model_name, parts)
    model = applied.app.get(Model, model_name)
    signature = model_signature(applied.app, model_name)
    report("building the training set")
    resolve = parts.resolver(applied.app.code)
    training_set = build_training_set(
        applied.app, model_name, parts.offline, as_of_us, resolve, local_rows=parts.local_rows
    )
    label = applied.app.get(Label, model.label)
    train, holdout = training_set.split(model.holdout, purge_us=duration_us(label.delay))
    _check_sizes(model, train, holdout)
    parts.tracker.start(run_id, model_name, {**model.trainer.as_json(), "rows": train.num_rows})
    folder = parts.work_folder / run_id
    folder.mkdir(parents=True, exist_ok=True)
    train_path = folder / "train.parquet"
    write_table(train, train_path)
    report(f"training on {train.num_rows} rows with {model.trainer.workers} workers")
    request = TrainRequest(run_id, signature, model.trainer, train_path, folder)
    try:
        trained = parts.trainer().train(request, _epoch_reporter(run_id, model, parts, report))
    except Exception as error:
        # The edge of the run: whatever ended it must not leave it "running" in the tracker; the error goes on.
        parts.tracker.finish(run_id, {}, error=str(error))
        raise
    report(f"evaluating on {holdout.num_rows} later rows")
    predictor = load_predictor(trained.folder)
    scores = predictor.predict(model_columns(holdout, signature.inputs))
    metrics = evaluate(model.task, _labels(holdout), scores)
    gates = check_gates(model.gates, metrics, _champion_metrics(run_id, model, holdout, parts))
    digest = _store(trained, signature, holdout, scores, parts)
    lineage = _lineage(run_id, applied, signature, training_set, _store_table(training_set.table, folder, parts))
    version = parts.registry.register(model_name, digest, signature, metrics, lineage)
    parts.tracker.finish(run_id, {metric.name: metric.value for metric in metrics})
    record_once(parts.audit, run_id, "register", f"model/{model_name}", {"version": version.number})
    counts = {"train_rows": train.num_rows, "holdout_rows": holdout.num_rows, "restarts": trained.restarts}
    judged = {"passed": gates.passed, "lines": list(gates.lines), **counts}
    parts.states.put("gates", f"{model_name}/{version.number}", judged)  # last: from here on the run is done
    return TrainedVersion(version, gates, **counts)


def _started(run_id: str, model_name: str, parts: Parts) -> tuple[Applied, int]:
    """Return the definitions and the moment with which the run first started, so that a repeat sees the same rows."""
    mark = parts.states.get("run", run_id)
    if mark is not None:
        return parts.definitions.revision(mark["app_hash"]), int(mark["as_of_us"])
    applied, now_us = parts.app_with(Model, model_name), parts.clock.now_us()
    parts.states.put("run", run_id, {"as_of_us": now_us, "app_hash": applied.app_hash})
    return applied, now_us


def _check_sizes(model: Model, train: pa.Table, holdout: pa.Table) -> None:
    if train.num_rows < 2 * model.trainer.workers or holdout.num_rows < 2:
        raise InvalidInput(
            f"model '{model.name}' has {train.num_rows} rows to train on and {holdout.num_rows} to hold out",
            "ingest more labelled rows, or change holdout=",
        )


def _epoch_reporter(
    run_id: str, model: Model, parts: Parts, report: Report
) -> Callable[[int, Mapping[str, float]], None]:  # fmt: skip
    def epoch_done(epoch: int, metrics: Mapping[str, float]) -> None:
        parts.tracker.log(run_id, epoch, metrics)
        shown = ", ".join(f"{name} {value:.4f}" for name, value in metrics.items())
        report(f"epoch {epoch} of {model.trainer.epochs}: {shown}")

    return epoch_done


def _champion_metrics(
    run_id: str, model: Model, holdout: pa.Table, parts: Parts
) -> Sequence[Metric] | None:  # fmt: skip
    """Evaluate the champion on the same held-out rows; by its own figures where its inputs are no longer computed."""
    champion = _other_champion(run_id, model.name, parts)
    if champion is None:
        return None
    if not {i.name for i in champion.signature.inputs} <= set(holdout.column_names):
        return champion.metrics
    predictor: Predictor = load_predictor(parts.artifacts.get_folder(champion.artifact))
    scores = predictor.predict(model_columns(holdout, champion.signature.inputs))
    return evaluate(model.task, _labels(holdout), scores)


def _other_champion(run_id: str, model: str, parts: Parts) -> ModelVersion | None:
    """Return the champion, or the one before it where that is the run's own version: none is compared with itself."""
    champion = parts.registry.resolve(model, CHAMPION)
    if champion is None or champion.lineage.run_id != run_id:
        return champion
    moves = (m for m in parts.registry.alias_history(model) if (m.alias, m.after) == (CHAMPION, champion.number))
    before = next(moves).before
    return None if before is None else parts.registry.version(model, before)


def _store(
    trained: Trained, signature: Signature, holdout: pa.Table, scores: np.ndarray[Any, Any], parts: Parts
) -> str:  # fmt: skip
    """Add the monitoring reference to the trained folder and store it whole."""
    inputs = holdout.select([column.name for column in signature.inputs])
    (trained.folder / REFERENCE_FILE).write_bytes(build_reference(inputs, scores))
    return parts.artifacts.put_folder(trained.folder)


def _store_table(table: pa.Table, folder: Path, parts: Parts) -> str:
    path = folder / "training_set.parquet"
    write_table(table, path)
    return parts.artifacts.put_bytes(path.read_bytes())


def _lineage(
    run_id: str, applied: Applied, signature: Signature, training_set: TrainingSet, digest: str
) -> Lineage:  # fmt: skip
    views = dict.fromkeys(name.partition(".")[0] for name in signature.lookups)
    return Lineage(
        run_id=run_id,
        app_hash=applied.app_hash,
        code=applied.app.code,
        training_set=digest,
        source_versions=dict(training_set.source_versions),
        feature_versions={view: view_layout(applied.app, view).version for view in views},
        trained_until=from_us(training_set.max_event_us),
    )


def _labels(table: pa.Table) -> np.ndarray[Any, Any]:
    labels: np.ndarray[Any, Any] = table["label"].to_numpy()
    return labels
