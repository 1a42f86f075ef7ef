"""Races between processes: what must be atomic is done at the same moment by several, and their answers are compared.

Used by the contract suites of everything that several processes share.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from contextlib import AbstractContextManager
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from typing import Any, TypeVar

P = TypeVar("P")

_PATIENCE_S = 60


def race(
    opener: Callable[[], AbstractContextManager[P]],
    act: Callable[[P, int, int], Any],
    *,
    racers: int = 4,
    rounds: int = 10,
) -> list[list[Any]]:
    """Let several processes do the same thing at the same moment, again and again.

    Args:
        opener: Picklable; opens the shared part in each process.
        act: Top-level function of (part, round, racer), both numbered from 0; its answer must be picklable.
        racers: Number of processes.
        rounds: How often; in each round all start together.

    Returns:
        The answers, one list per round, in order of the racers.

    Raises:
        RuntimeError: A process raised or died; the message names what it raised.
    """
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(racers)
    pipes = [context.Pipe(duplex=False) for _ in range(racers)]
    processes = [
        context.Process(target=_run, args=(opener, act, racer, rounds, barrier, pipe[1]), daemon=True)
        for racer, pipe in enumerate(pipes)
    ]
    for process in processes:
        process.start()
    try:
        received = [_receive(pipe[0]) for pipe in pipes]
    finally:
        for process in processes:
            process.join(_PATIENCE_S)
        for pipe in pipes:
            pipe[0].close()
            pipe[1].close()
    errors = [f"racer {racer}: {error}" for racer, (_, error) in enumerate(received) if error]
    if errors:  # those that only waited for the one that failed come last
        raise RuntimeError("; ".join(sorted(errors, key=lambda error: "BrokenBarrier" in error)))
    return [list(of_round) for of_round in zip(*(answers for answers, _ in received), strict=True)]


def _receive(pipe: Connection) -> tuple[list[Any], str]:
    if not pipe.poll(_PATIENCE_S):
        return [], f"no answer within {_PATIENCE_S} s"
    answers, error = pipe.recv()
    return list(answers), str(error)


def _run(
    opener: Callable[[], AbstractContextManager[Any]],
    act: Callable[[Any, int, int], Any],
    racer: int,
    rounds: int,
    barrier: Barrier,
    pipe: Connection,
) -> None:
    try:
        with opener() as part:
            answers = []
            for number in range(rounds):
                barrier.wait(_PATIENCE_S)
                answers.append(act(part, number, racer))
        pipe.send((answers, ""))
    except Exception as error:  # noqa: BLE001 - the edge of a process: it would end silently, and the others wait
        barrier.abort()
        pipe.send(([], repr(error)))
