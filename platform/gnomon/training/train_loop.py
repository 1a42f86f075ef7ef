"""What every training worker does: encode its share, then step, average gradients and write a checkpoint each epoch.

Run by Ray Train on each worker that `training.torch_trainer` asks for. Given a plan, the result depends on the seed and
the number of workers alone: an epoch draws its order and its dropout from (seed, epoch, rank), so that a run that was
interrupted ends with the very weights of one that was not.
"""

from __future__ import annotations

import json
import logging
import math
import os
from pathlib import Path

import numpy as np
import ray.train
import ray.train.torch
import torch
from torch import Tensor, distributed, nn

from gnomon.contracts.models import TabularMLP
from gnomon.contracts.specs import Value
from gnomon.registry.tabular_mlp import TabularMLPDesign
from gnomon.training.adamw import AdamW
from gnomon.training.checkpoints import Checkpoint, read_epoch, read_newest, write_checkpoint
from gnomon.training.network import TabularNetwork, new_network
from gnomon.training.shards import Shard, encode_shard

PLAN_FILE = "plan.json"
CHECKPOINTS = "checkpoints"
STARTS_FILE = "starts.jsonl"

_SEED_BITS = (1 << 64) - 1  # numpy takes no negative seeds


class TrainingPlan(Value):
    """Everything that decides a run's result, made once by the trainer and read by all workers.

    Attributes:
        fingerprint: Of the request; another request in the same folder begins anew.
        design: Shapes and preprocessing.
        trainer: Hyper-parameters.
        workers: Training processes; no more than there are rows.
        share_of_ones: For binary tasks.
    """

    fingerprint: str
    design: TabularMLPDesign
    trainer: TabularMLP
    workers: int
    share_of_ones: float | None


def train_loop(config: dict[str, str]) -> dict[str, int]:
    """Train this worker's share to the last epoch, from the newest checkpoint on.

    Args:
        config: `work_folder`, which holds the plan, and `train_path`, the training set.

    Returns:
        `diverged_epoch`: the epoch whose loss was not finite (training ends there), or 0. It is returned and not
        raised, because Ray Train would repeat a failure that repeating cannot mend.
    """
    # Ray Train tells of every report in the log; our caller tells of every epoch.
    logging.getLogger("ray.train").setLevel(logging.ERROR)
    torch.set_num_threads(1)  # workers share the machine; more threads than logical CPUs only wait for each other
    folder = Path(config["work_folder"])
    plan = TrainingPlan.model_validate_json((folder / PLAN_FILE).read_bytes())
    context = ray.train.get_context()
    rank, workers = context.get_world_rank(), context.get_world_size()
    device = ray.train.torch.get_device()
    shard = encode_shard(Path(config["train_path"]), plan.design, rank, workers)
    network = new_network(plan.design, plan.trainer.dropout, plan.trainer.seed, plan.share_of_ones)
    reached = _reached(folder / CHECKPOINTS, rank, device)
    if reached is not None:
        network.load_state_dict({name: torch.from_numpy(value) for name, value in reached.parameters.items()})
    network.to(device)
    optimizer = AdamW(network.parameters(), plan.trainer.weight_decay)
    if reached is not None:
        optimizer.restore({name: torch.from_numpy(value) for name, value in reached.optimizer.items()})
    losses = list(reached.losses) if reached is not None else []
    if rank == 0:
        with (folder / STARTS_FILE).open("a") as file:
            file.write(json.dumps({"epoch": len(losses), "pid": os.getpid()}) + "\n")
    for epoch in range(len(losses) + 1, plan.trainer.epochs + 1):
        loss = _run_epoch(network, optimizer, shard, plan, epoch, rank)
        if not math.isfinite(loss):
            return {"diverged_epoch": epoch}
        losses.append(loss)
        if rank == 0:
            write_checkpoint(folder / CHECKPOINTS, _snapshot(network, optimizer, losses))
        ray.train.report({"epoch": epoch, "loss": loss})
    return {"diverged_epoch": 0}


def _reached(folder: Path, rank: int, device: torch.device) -> Checkpoint | None:
    """Return the checkpoint to go on from: the newest that the first worker sees, and the same one for all."""
    newest = read_newest(folder) if rank == 0 else None
    epoch = torch.tensor([newest.epoch if newest is not None else 0], device=device)
    distributed.broadcast(epoch, src=0)
    if rank == 0 or not int(epoch.item()):
        return newest
    return read_epoch(folder, int(epoch.item()))


def _run_epoch(
    network: TabularNetwork, optimizer: AdamW, shard: Shard, plan: TrainingPlan, epoch: int, rank: int
) -> float:
    """Step through the shard once; return the loss averaged over all workers' rows."""
    seed = np.random.SeedSequence((plan.trainer.seed & _SEED_BITS, epoch, rank))
    torch.manual_seed(int(seed.generate_state(1)[0]))
    loss_of: nn.Module = nn.BCEWithLogitsLoss() if plan.design.signature.task == "binary" else nn.MSELoss()
    device = ray.train.torch.get_device()
    steps = -(-shard.rows_per_epoch // plan.trainer.batch_rows)
    step = (epoch - 1) * steps
    total = torch.zeros(1, device=device)
    network.train()
    for dense, codes, targets in shard.batches(plan.trainer.batch_rows, seed):
        output: Tensor = network(torch.from_numpy(dense).to(device), torch.from_numpy(codes).to(device))
        loss: Tensor = loss_of(output, torch.from_numpy(targets).to(device))
        loss.backward()  # type: ignore[no-untyped-call]
        _average_gradients(network)
        optimizer.step(_learning_rate(plan.trainer, step, steps * plan.trainer.epochs))
        total += loss.detach() * len(targets)
        step += 1
    distributed.all_reduce(total)
    return float(total.item()) / (distributed.get_world_size() * shard.rows_per_epoch)


def _average_gradients(network: TabularNetwork) -> None:
    """Replace every gradient by its mean over the workers, in one message.

    Not DistributedDataParallel: making one imports torch's compiler (see `training.adamw`), and what it is good at,
    overlapping many messages with a long backward pass, a network of this size does not have.
    """
    workers = distributed.get_world_size()
    if workers == 1:
        return
    gradients = [parameter.grad for parameter in network.parameters() if parameter.grad is not None]
    message = torch.cat([gradient.flatten() for gradient in gradients])
    distributed.all_reduce(message)
    message /= workers
    for gradient, mean in zip(gradients, torch.split(message, [g.numel() for g in gradients]), strict=True):
        gradient.copy_(mean.view_as(gradient))


def _learning_rate(trainer: TabularMLP, step: int, steps: int) -> float:
    """Return the cosine schedule's rate, from the given one down to zero; it needs no state to resume."""
    return trainer.learning_rate * 0.5 * (1.0 + math.cos(math.pi * step / max(steps, 1)))


def _snapshot(network: TabularNetwork, optimizer: AdamW, losses: list[float]) -> Checkpoint:
    return Checkpoint(
        epoch=len(losses),
        losses=tuple(losses),
        parameters={name: value.detach().cpu().numpy() for name, value in network.state_dict().items()},
        optimizer={name: value.cpu().numpy() for name, value in optimizer.state().items()},
    )
