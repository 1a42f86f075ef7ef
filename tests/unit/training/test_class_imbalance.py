"""Why rare positives are handled by the output bias and not by weights: measured on rows with 2 % positives."""

from __future__ import annotations

import numpy as np
import torch

from gnomon.contracts.signatures import ModelInput, Signature
from gnomon.evaluation.metrics import evaluate
from gnomon.registry.model_inputs import NumericInput, Preprocessing
from gnomon.registry.tabular_mlp import TabularMLPDesign
from gnomon.training.adamw import AdamW
from gnomon.training.network import new_network

WIDTH = 6


def design() -> TabularMLPDesign:
    names = [f"x{i}" for i in range(WIDTH)]
    inputs = tuple(ModelInput(name=name, dtype="float64", origin="view") for name in names)
    numeric = tuple(NumericInput(name=name, fill=0, mean=0, std=1, missing_flag=False) for name in names)
    signature = Signature(keys={}, request={}, inputs=inputs, lookups=(), request_features=(), task="binary")
    return TabularMLPDesign(
        signature=signature, preprocessing=Preprocessing(numeric=numeric, categorical=()), hidden=(32, 16)
    )


def rows(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    random = np.random.default_rng(seed)
    values = random.normal(size=(count, WIDTH)).astype(np.float32)
    score = 1.5 * values[:, 0] + values[:, 1] * values[:, 2] - 6.0
    label = random.random(count) < 1 / (1 + np.exp(-score))
    return torch.from_numpy(values), torch.from_numpy(label.astype(np.float32))


def held_out_metrics(bias: bool, weighted: bool) -> dict[str, float]:
    values, labels = rows(30_000, seed=1)
    share = float(labels.mean())
    network = new_network(design(), dropout=0.0, seed=0, share_of_ones=share if bias else None)
    weight = torch.tensor((1 - share) / share) if weighted else None
    loss_of = torch.nn.BCEWithLogitsLoss(pos_weight=weight)
    optimizer = AdamW(network.parameters(), weight_decay=1e-4)
    no_codes = torch.empty(256, 0, dtype=torch.int64)
    generator = torch.Generator().manual_seed(0)
    for _ in range(4):
        for chosen in torch.randperm(len(labels), generator=generator).split(256):
            loss_of(network(values[chosen], no_codes[: len(chosen)]), labels[chosen]).backward()
            optimizer.step(2e-3)
    values, labels = rows(30_000, seed=2)
    with torch.inference_mode():
        scores = torch.sigmoid(network(values, torch.empty(len(values), 0, dtype=torch.int64)).double()).numpy()
    found = {m.name: m.value for m in evaluate("binary", labels.numpy(), scores, samples=2)}
    return {**found, "mean_ratio": float(scores.mean()) / float(labels.mean())}


def test_the_bias_keeps_probabilities_true_and_ranks_as_well_as_weights() -> None:
    plain, bias, weighted = (
        held_out_metrics(False, False),
        held_out_metrics(True, False),
        held_out_metrics(False, True),
    )
    print({"plain": plain, "bias": bias, "weighted": weighted})
    assert 0.8 < bias["mean_ratio"] < 1.25
    assert weighted["mean_ratio"] > 3
    assert bias["log_loss"] < weighted["log_loss"] / 1.5
    assert bias["log_loss"] < plain["log_loss"] * 1.02
    assert bias["roc_auc"] > weighted["roc_auc"] - 0.01
