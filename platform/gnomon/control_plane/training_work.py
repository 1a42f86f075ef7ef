"""The work of the operation `train`: training set, training, evaluation on later rows, registration.

Every step can be repeated: the run's id is the operation's, the training set is content-addressed, checkpoints are kept
in the run's folder, and a run registers one version. `release_work.retrain_model` builds on it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from gnomon.contracts.clocks import from_us
from gnomon.contracts.deployments import CHAMPION
from gnomon.contracts.layouts import view_layout
from gnomon.contracts.models import Model
from gnomon.contracts.operations import Operation
from gnomon.contracts.platform_state import Applied
from gnomon.contracts.predictors import Predictor, Trained, TrainRequest
from gnomon.contracts.registry import Lineage, Metric, ModelVersion
from gnomon.contracts.signatures import Signature, model_signature
from gnomon.control_plane.audited_work import record_once
from gnomon.control_plane.parts import Parts
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

    Args:
        run_id: The run; the same id goes on where an earlier attempt stopped.
        model_name: Which model.
        parts: The platform's parts.
        report: Takes a line of progress.

    Returns:
        The registered version, whether its gates hold, and how many rows it was made from.

    Raises:
        InvalidInput: No label can be used yet, or too few to hold some out.
        OperationFailed: Training failed for good.
    """
    applied = parts.app_with(Model, model_name)
    model = applied.app.get(Model, model_name)
    signature = model_signature(applied.app, model_name)
    report("building the training set")
    training_set = _training_set(run_id, applied, model, parts)
    train, holdout = training_set.split(model.holdout)
    _check_sizes(model, train, holdout)
    parts.tracker.start(run_id, model_name, {**model.trainer.as_json(), "rows": train.num_rows})
    folder = parts.work_folder / run_id
    folder.mkdir(parents=True, exist_ok=True)
    train_path = folder / "train.parquet"
    _write(train, train_path)
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
    gates = check_gates(model.gates, metrics, _champion_metrics(model, signature, holdout, parts))
    digest = _store(trained, signature, holdout, scores, parts)
    lineage = _lineage(run_id, applied, signature, training_set, _store_table(training_set.table, folder, parts))
    version = parts.registry.register(model_name, digest, signature, metrics, lineage)
    parts.states.put("gates", f"{model_name}/{version.number}", {"passed": gates.passed, "lines": list(gates.lines)})
    parts.tracker.finish(run_id, {metric.name: metric.value for metric in metrics})
    record_once(parts.audit, run_id, "register", f"model/{model_name}", {"version": version.number})
    return TrainedVersion(version, gates, train.num_rows, holdout.num_rows, trained.restarts)


def _training_set(run_id: str, applied: Applied, model: Model, parts: Parts) -> TrainingSet:
    """Build the set as of the moment at which the run was first started, so that a repeat sees the same rows."""
    mark = parts.states.get("run", run_id)
    if mark is None:
        mark = {"as_of_us": parts.clock.now_us()}
        parts.states.put("run", run_id, mark)
    return build_training_set(
        applied.app, model.name, parts.offline, int(mark["as_of_us"]), parts.resolver(applied.app.code),
        local_rows=parts.local_rows,
    )  # fmt: skip


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
    model: Model, signature: Signature, holdout: pa.Table, parts: Parts
) -> Sequence[Metric] | None:  # fmt: skip
    """Evaluate the champion on the same held-out rows; by its own figures where its inputs are no longer computed."""
    champion = parts.registry.resolve(model.name, CHAMPION)
    if champion is None:
        return None
    if not {i.name for i in champion.signature.inputs} <= set(holdout.column_names):
        return champion.metrics
    predictor: Predictor = load_predictor(parts.artifacts.get_folder(champion.artifact))
    scores = predictor.predict(model_columns(holdout, champion.signature.inputs))
    return evaluate(model.task, _labels(holdout), scores)


def _store(
    trained: Trained, signature: Signature, holdout: pa.Table, scores: np.ndarray[Any, Any], parts: Parts
) -> str:  # fmt: skip
    """Add the monitoring reference to the trained folder and store it whole."""
    inputs = holdout.select([column.name for column in signature.inputs])
    (trained.folder / REFERENCE_FILE).write_bytes(build_reference(inputs, scores))
    return parts.artifacts.put_folder(trained.folder)


def _store_table(table: pa.Table, folder: Path, parts: Parts) -> str:
    path = folder / "training_set.parquet"
    _write(table, path)
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


def _write(table: pa.Table, path: Path) -> None:
    """Write a table as Parquet, atomically for a worker that reads it: a torn file is never under the name."""
    fresh = path.with_suffix(".part")
    pq.write_table(table, fresh, compression="zstd", row_group_size=65_536)
    fresh.replace(path)
