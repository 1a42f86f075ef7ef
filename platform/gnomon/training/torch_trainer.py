"""Trains the tabular multi-layer perceptron on a Ray cluster; the `Trainer` that `client` wires.

Called by the operation worker of a training (a Ray actor of its own) or by any driver that is connected to Ray. The
caller's process learns the preprocessing, starts Ray Train, follows the checkpoints and writes the artifact; it holds
no CPU of the cluster while it waits.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import ray
import ray.train
from pydantic import ValidationError
from ray.train.torch import TorchTrainer
from ray.train.v2._internal.execution.controller import TrainController

from gnomon.contracts.models import TabularMLP
from gnomon.contracts.predictors import Trained, TrainRequest
from gnomon.contracts.specs import content_hash
from gnomon.errors import NotFound, OperationFailed, Unavailable
from gnomon.registry.model_formats import save_tabular_mlp
from gnomon.registry.tabular_mlp import TabularMLPDesign
from gnomon.training.checkpoints import Checkpoint, newest_name, read_newest
from gnomon.training.preprocessing import learn_preprocessing
from gnomon.training.train_loop import CHECKPOINTS, PLAN_FILE, STARTS_FILE, TrainingPlan, train_loop

Report = Callable[[int, Mapping[str, float]], None]

_FOLLOW_S = 0.1
_STARTUP_FAILURES = 3  # times three minutes for the workers' CPUs to come free, before the run is given up
_RAY_TRAIN_ENVIRONMENT = {
    # Two seconds by default between two looks at the workers, which is longer than many of our epochs.
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
    # Workers stay in their folder: a relative PYTHONPATH would break otherwise.
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    # One actor less to start; a preempted machine is a failure like any other and costs at most one epoch.
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    # Two workers that import torch on a busy two-core machine took half of the default minute.
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "180",
}


class TorchMLPTrainer:
    """Trains with Ray Train's TorchTrainer: gloo between CPUs, NCCL between GPUs. Needs a connection to Ray."""

    def train(self, request: TrainRequest, report: Report) -> Trained:
        """Train to the end, through failures of workers; a run that was cut off goes on from its last epoch.

        Every epoch from the first on is reported, also those done before this call, in this thread. The reported
        `loss` is the mean cross-entropy, or the mean squared error in units of the label's variance.

        Args:
            request: What to train on; `work_folder` must be visible to all workers.
            report: Called with (epoch, metrics) after each epoch.

        Returns:
            The model's folder, inside the work folder.

        Raises:
            Unavailable: This process is not connected to Ray.
            NotFound: The training set does not exist.
            InvalidInput: The training set has no usable labels, or lacks an input.
            OperationFailed: More workers died than `max_failures` allows, the loss is not finite, or the cluster cannot
                hold the workers.
        """
        plan = _plan(request)
        folder = request.work_folder
        epochs = request.trainer.epochs
        done = read_newest(folder / CHECKPOINTS)
        if done is None or done.epoch < epochs:
            _Training(request, plan).run(report)
            done = read_newest(folder / CHECKPOINTS)
        else:
            _report_from(done, 0, report)
        if done is None or done.epoch < epochs:
            raise OperationFailed(f"training of run '{request.run_id}' ended without its last checkpoint in {folder}")
        model = save_tabular_mlp(folder / "model", plan.design, done.parameters)
        return Trained(folder=model, epochs=done.epoch, restarts=_restarts(folder), losses=done.losses)


def _plan(request: TrainRequest) -> TrainingPlan:
    """Return the run's plan: the stored one when it is of this very request, else a new one and an empty folder."""
    folder, trainer = request.work_folder, request.trainer
    if not request.train_path.is_file():
        raise NotFound(f"the training set {request.train_path} does not exist")
    result_settings = {
        k: v for k, v in trainer.as_json().items() if k not in ("gpu", "cpus_per_worker", "max_failures")
    }
    size_bytes = request.train_path.stat().st_size
    fingerprint = content_hash([request.run_id, request.signature.as_json(), result_settings, size_bytes])
    try:
        stored = TrainingPlan.model_validate_json((folder / PLAN_FILE).read_bytes())
    except (FileNotFoundError, ValidationError):
        stored = None
    if stored is not None and stored.fingerprint == fingerprint:
        return stored
    plan = _new_plan(request, fingerprint)
    shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)
    (folder / STARTS_FILE).unlink(missing_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f".{PLAN_FILE}"
    temporary.write_text(json.dumps(plan.as_json(), ensure_ascii=False), encoding="utf-8")
    temporary.replace(folder / PLAN_FILE)
    return plan


def _new_plan(request: TrainRequest, fingerprint: str) -> TrainingPlan:
    trainer = request.trainer
    preprocessing, target = learn_preprocessing(request.train_path, request.signature, trainer.seed)
    binary = request.signature.task == "binary"
    design = TabularMLPDesign(
        signature=request.signature,
        preprocessing=preprocessing,
        hidden=trainer.hidden,
        target_mean=0.0 if binary else target.mean,
        target_std=1.0 if binary else target.std,
    )
    return TrainingPlan(
        fingerprint=fingerprint,
        design=design,
        trainer=trainer,
        workers=min(trainer.workers, target.rows),
        share_of_ones=target.mean if binary else None,
    )


class _LeanTorchTrainer(TorchTrainer):  # type: ignore[misc]
    """TorchTrainer with two processes fewer, together 370 MB.

    There is no actor that shards Ray Data sets, as our workers read the file. And within an actor, such as the worker
    of an operation, Ray Train's controller runs in that actor's process: it would end with it anyway. Should a later
    Ray rename the methods overridden here, the processes are back and nothing else changes.
    """

    def _initialize_and_run_controller(self, **arguments: Any) -> ray.train.Result:
        if ray.get_runtime_context().get_actor_id() is None:
            return super()._initialize_and_run_controller(**arguments)
        controller = TrainController(**arguments)
        asyncio.run(controller.run())
        return controller.get_result()

    def _create_default_callbacks(self) -> list[Any]:
        callbacks: list[Any] = super()._create_default_callbacks()
        return [callback for callback in callbacks if type(callback).__name__ != "DatasetsCallback"]


class _Training:
    """One call of Ray Train, in a thread, so that the caller's thread can follow it.

    Off the main thread Ray Train also leaves the process's handler of Ctrl-C alone.
    """

    def __init__(self, request: TrainRequest, plan: TrainingPlan) -> None:
        self._request = request
        self._checkpoints = request.work_folder / CHECKPOINTS
        self._trainer = _ray_trainer(request, plan)
        self._result: ray.train.Result | None = None
        self._error: BaseException | None = None

    def run(self, report: Report) -> None:
        thread = threading.Thread(target=self._fit, name="ray-train", daemon=True)
        thread.start()
        reported, seen = 0, None
        while thread.is_alive():
            thread.join(_FOLLOW_S)
            name = newest_name(self._checkpoints)
            if name != seen:
                checkpoint = read_newest(self._checkpoints)
                if checkpoint is not None:
                    reported = _report_from(checkpoint, reported, report)
                seen = name
        if self._error is not None:
            raise self._explain(self._error) from self._error
        diverged = (self._result.return_value or {}).get("diverged_epoch", 0) if self._result is not None else 0
        if diverged:
            raise OperationFailed(
                f"the training loss of run '{self._request.run_id}' is not finite in epoch {diverged}",
                f"lower learning_rate (now {self._request.trainer.learning_rate:g})",
            )

    def _fit(self) -> None:
        try:
            self._result = self._trainer.fit()
        except BaseException as error:  # noqa: BLE001  raised again by `run`; lost with the thread otherwise
            self._error = error

    def _explain(self, error: BaseException) -> OperationFailed:
        if isinstance(error, ray.train.WorkerGroupError):
            causes = {type(cause).__name__: str(cause).strip().splitlines() for cause in error.worker_failures.values()}
            text = "; ".join(f"{kind}: {lines[-1] if lines else ''}" for kind, lines in causes.items())
            limit = self._request.trainer.max_failures
            return OperationFailed(
                f"training workers of run '{self._request.run_id}' failed more than {limit} times, at last with {text}",
                f"raise max_failures (now {limit}), or see the workers' logs",
            )
        trainer = self._request.trainer
        return OperationFailed(
            f"Ray Train could not run '{self._request.run_id}': {str(error).strip().splitlines()[-1]}",
            f"it needs {trainer.workers} workers of {trainer.cpus_per_worker:g} CPUs each",
        )


def _ray_trainer(request: TrainRequest, plan: TrainingPlan) -> TorchTrainer:
    if not ray.is_initialized():
        raise Unavailable("this process is not connected to a Ray cluster", "start one with `gnomon up`")
    use_gpu = _use_gpu(request.trainer, plan.workers)
    for name, value in _RAY_TRAIN_ENVIRONMENT.items():
        os.environ.setdefault(name, value)  # Ray Train takes these from the environment of its caller only
    resources = {"CPU": request.trainer.cpus_per_worker, **({"GPU": 1} if use_gpu else {})}
    return _LeanTorchTrainer(
        train_loop,
        train_loop_config={
            "work_folder": str(request.work_folder.resolve()),
            "train_path": str(request.train_path.resolve()),
        },
        scaling_config=ray.train.ScalingConfig(
            num_workers=plan.workers, use_gpu=use_gpu, resources_per_worker=resources
        ),
        run_config=ray.train.RunConfig(
            name="ray_train",
            storage_path=str(request.work_folder.resolve()),
            failure_config=ray.train.FailureConfig(
                max_failures=request.trainer.max_failures, controller_failure_limit=_STARTUP_FAILURES
            ),
            logging_config=ray.train.LoggingConfig(log_level="ERROR"),
        ),
    )


def _use_gpu(trainer: TabularMLP, workers: int) -> bool:
    gpus = ray.cluster_resources().get("GPU", 0.0)
    if trainer.gpu == "always" and gpus < workers:
        raise OperationFailed(
            f"the trainer asks for {workers} GPUs (gpu='always'), the cluster has {gpus:g}",
            "set gpu='auto' to train on CPUs, or add machines with GPUs",
        )
    return trainer.gpu != "never" and gpus >= workers


def _report_from(checkpoint: Checkpoint, reported: int, report: Report) -> int:
    for epoch in range(reported + 1, checkpoint.epoch + 1):
        report(epoch, {"loss": checkpoint.losses[epoch - 1]})
    return max(reported, checkpoint.epoch)


def _restarts(folder: Path) -> int:
    starts = folder / STARTS_FILE
    return max(len(starts.read_text().splitlines()) - 1, 0) if starts.is_file() else 0
