"""Model: features and a label in, a trained and gated version out."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from gnomon.contracts.columns import Dtype
from gnomon.contracts.durations import Duration
from gnomon.contracts.features import FeatureReference, FeatureView, RequestFeature
from gnomon.contracts.specs import Part, Reference, Spec
from gnomon.errors import did_you_mean

Task = Literal["binary", "regression"]
BINARY_METRICS = ("roc_auc", "average_precision", "log_loss", "brier", "accuracy")
REGRESSION_METRICS = ("rmse", "mae", "r2")
LOWER_IS_BETTER = frozenset({"log_loss", "brier", "rmse", "mae"})


def task_metrics(task: Task) -> tuple[str, ...]:
    """Return the names of the metrics that a task's models are measured by."""
    return BINARY_METRICS if task == "binary" else REGRESSION_METRICS


class TabularMLP(Part, init=False):
    """A multi-layer perceptron over numbers and categories, trained with Ray Train's TorchTrainer.

    Attributes:
        hidden: Width of each hidden layer.
        epochs: Passes over the training rows.
        batch_rows: Rows per step and worker.
        learning_rate: Of AdamW.
        dropout: Share of hidden units dropped while training, 0 ≤ dropout < 1.
        weight_decay: Of AdamW.
        workers: Training processes; gradients are averaged over them.
        cpus_per_worker: Logical CPUs that each worker reserves.
        gpu: `auto` uses one GPU a worker where the cluster has them and CPUs otherwise.
        max_failures: How often training goes on from its last checkpoint after a worker died.
        seed: Of initial weights and order of rows.
    """

    trainer: Literal["tabular_mlp"] = "tabular_mlp"
    hidden: tuple[Annotated[int, Field(ge=1, le=8192)], ...] = (64, 32)
    epochs: Annotated[int, Field(ge=1)] = 5
    batch_rows: Annotated[int, Field(ge=1)] = 256
    learning_rate: Annotated[float, Field(gt=0)] = 2e-3
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4
    workers: Annotated[int, Field(ge=1)] = 2
    cpus_per_worker: Annotated[float, Field(gt=0)] = 0.5
    gpu: Literal["auto", "never", "always"] = "auto"
    max_failures: Annotated[int, Field(ge=0)] = 3
    seed: int = 0


class Gate(Part, init=False):
    """A condition that a version's held-out metric must meet before it may serve.

    `better_than_champion_by` compares with the version that serves, on the same held-out rows; where none serves
    it holds.

    Attributes:
        metric: One of the task's metrics.
        min: Least value allowed.
        max: Greatest value allowed.
        better_than_champion_by: Least improvement over the champion, in the metric's own unit; negative allows a loss.

    Example:
        >>> Gate("roc_auc", min=0.7).min
        0.7
    """

    positional: ClassVar[tuple[str, ...]] = ("metric",)
    metric: Literal[
        "roc_auc", "average_precision", "log_loss", "brier", "accuracy", "rmse", "mae", "r2"
    ]  # fmt: skip
    min: float | None = None
    max: float | None = None
    better_than_champion_by: float | None = None

    @model_validator(mode="after")
    def _asks_something(self) -> Self:
        if self.min is None and self.max is None and self.better_than_champion_by is None:
            raise ValueError("a gate needs min, max or better_than_champion_by")
        return self


def _as_references(value: Any) -> Any:
    items = value if isinstance(value, list | tuple) else (value,)
    return tuple(item.name if isinstance(item, FeatureView | RequestFeature) else item for item in items)


class Model(Spec, init=False):
    """What is trained from which features to predict which label.

    Attributes:
        label: What to learn.
        features: Views (all their features), `view.feature` references and request features.
        request: Fields of the request that are features as they are.
        trainer: How to train.
        task: `binary` predicts a probability, `regression` a number.
        holdout: Share of the newest label rows kept for evaluation; the split is by time, never random.
        history: Only label rows of this last stretch are used; null uses all.
        gates: All must hold for a promotion.
    """

    kind: ClassVar[str] = "model"
    label: Reference
    features: Annotated[tuple[FeatureReference, ...], BeforeValidator(_as_references), Field(min_length=1)]
    request: dict[str, Dtype] = Field(default_factory=dict)
    trainer: TabularMLP = TabularMLP()
    task: Task = "binary"
    holdout: Annotated[float, Field(gt=0, lt=1)] = 0.2
    history: Duration | None = None
    gates: tuple[Gate, ...] = ()

    @model_validator(mode="after")
    def _metrics_fit_task(self) -> Self:
        known = task_metrics(self.task)
        for gate in self.gates:
            if gate.metric not in known:
                hint = did_you_mean(gate.metric, known)
                raise ValueError(f"a {self.task} model has no metric '{gate.metric}'; {hint}")
        if self.history is not None and self.history == timedelta(0):
            raise ValueError("history is empty; leave it out to use all label rows")
        return self
