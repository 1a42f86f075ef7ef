"""A gateway on a socket with a worker of exports beside it, for the client and the command line."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from tests.gateway_world import TOKEN, listening

from gnomon.client import Client
from gnomon.contracts.predictors import Trained, TrainRequest
from gnomon.control_plane.operation_work import run_operation
from gnomon.control_plane.parts import Parts
from gnomon.registry.model_formats import save_tabular_mlp
from gnomon.registry.tabular_mlp import TabularMLPDesign
from gnomon.training.preprocessing import learn_preprocessing


class RandomTrainer:
    """Gives a network of random weights in no time."""

    def train(self, request: TrainRequest, report: Callable[[int, Mapping[str, float]], None]) -> Trained:
        preprocessing, _ = learn_preprocessing(request.train_path, request.signature, 0)
        design = TabularMLPDesign(signature=request.signature, preprocessing=preprocessing, hidden=(4,))
        draw = np.random.default_rng(0)
        weights = {n: draw.normal(size=shape).astype(np.float32) for n, shape in design.parameter_shapes().items()}
        return Trained(save_tabular_mlp(request.work_folder / "model", design, weights), 1, 0, (0.5,))


@contextmanager
def exporting(parts: Parts, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    """Yield a client whose exports are done by a thread of this process; the command line finds the gateway too."""
    stop = threading.Event()

    def work() -> None:
        while not stop.wait(0.02):
            for asked in parts.operations.list(states=("pending",)):
                leased = parts.operations.lease(asked.id, asked.lease) if asked.kind.startswith("export") else None
                if leased is not None:
                    run_operation(asked.id, leased.lease, parts)

    thread = threading.Thread(target=work)
    with listening(parts, folder) as port:
        url = f"http://127.0.0.1:{port}"
        monkeypatch.setenv("GNOMON_URL", url)
        monkeypatch.setenv("GNOMON_TOKEN", TOKEN)
        thread.start()
        try:
            with Client(url, TOKEN) as client:
                yield client
        finally:
            stop.set()
            thread.join()
