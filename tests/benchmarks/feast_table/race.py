"""Two writers of the same entities at the same moment, in processes of their own; used by both sides of `feast_table`.

Only the standard library.
"""

from __future__ import annotations

from collections.abc import Callable
from multiprocessing import get_context
from typing import Any

ROUNDS, ENTITIES_PER_ROUND = 40, 50
ENTITIES = range(ROUNDS * ENTITIES_PER_ROUND)
_WRITERS = 2
_TIMEOUT_S = 120.0


def race(writer: Callable[..., None], *arguments: Any) -> None:
    """Run both writers to their end.

    Args:
        writer: Importable by name; called with the arguments, its number (0 or 1) and a barrier for `rounds`.
        arguments: What both get.

    Raises:
        RuntimeError: A writer failed; its error is in the log.
    """
    context = get_context("spawn")
    barrier = context.Barrier(_WRITERS)
    processes = [context.Process(target=writer, args=(*arguments, number, barrier)) for number in range(_WRITERS)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(_TIMEOUT_S)
    codes = [process.exitcode for process in processes]
    for process in processes:
        process.kill()
    if codes != [0] * _WRITERS:
        raise RuntimeError(f"the writers ended with {codes}")


def run_rounds(write: Callable[[list[tuple[int, int]]], None], number: int, barrier: Any) -> None:
    """Write (entity, hour) pairs, each round when both writers are ready for it.

    Every entity is written once by each writer, at hours 1 and 2; which of them has the newer row alternates.
    """
    for first in range(0, len(ENTITIES), ENTITIES_PER_ROUND):
        entities = ENTITIES[first : first + ENTITIES_PER_ROUND]
        rows = [(entity, 1 + (entity + number) % 2) for entity in entities]
        barrier.wait(_TIMEOUT_S)
        write(rows)
