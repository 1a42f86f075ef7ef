"""Decides in words whether a version's held-out metrics let it serve.

Called after an evaluation, before a promotion; the lines are kept with the decision and shown to its reader.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gnomon.contracts.models import LOWER_IS_BETTER, Gate
from gnomon.contracts.registry import Metric


@dataclass(frozen=True)
class GateReport:
    """What the gates say.

    Attributes:
        passed: All conditions of all gates hold; True where there are none.
        lines: One sentence a condition, with the numbers, in the order of the gates.
    """

    passed: bool
    lines: tuple[str, ...]


def check_gates(gates: Sequence[Gate], candidate: Sequence[Metric], champion: Sequence[Metric] | None) -> GateReport:
    """Check all gates; a metric that could not be computed fails its gate.

    Bounds are inclusive, and the metric's value counts, not its interval. An improvement points in the metric's good
    direction: for `log_loss`, `brier`, `rmse` and `mae` it is how much lower the candidate is.

    Args:
        gates: Conditions of the model.
        candidate: Metrics of the new version.
        champion: Metrics of the serving version on the same held-out rows; None where none serves.

    Returns:
        The verdict, with a sentence for each condition.

    Example:
        >>> gate = Gate("roc_auc", min=0.7)
        >>> check_gates([gate], [Metric("roc_auc", 0.64, 0.61, 0.67)], None).lines
        ('roc_auc 0.6400 is below the least allowed 0.7000: fails',)
    """
    of_candidate = {metric.name: metric for metric in candidate}
    of_champion = None if champion is None else {metric.name: metric for metric in champion}
    verdicts: list[tuple[bool, str]] = []
    for gate in gates:
        metric = of_candidate.get(gate.metric)
        if metric is None:
            verdicts.append((False, f"{gate.metric} is not defined on the held-out rows"))
            continue
        if gate.min is not None:
            verdicts.append(_at_least(metric, gate.min))
        if gate.max is not None:
            verdicts.append(_at_most(metric, gate.max))
        if gate.better_than_champion_by is not None:
            verdicts.append(_better(metric, gate.better_than_champion_by, of_champion))
    lines = tuple(f"{text}: {'holds' if holds else 'fails'}" for holds, text in verdicts)
    return GateReport(all(holds for holds, _ in verdicts), lines)


def _at_least(metric: Metric, least: float) -> tuple[bool, str]:
    holds = metric.value >= least
    return (
        holds,
        f"{metric.name} {metric.value:.4f} is {'at least' if holds else 'below the least allowed'} {least:.4f}",
    )


def _at_most(metric: Metric, most: float) -> tuple[bool, str]:
    holds = metric.value <= most
    return (
        holds,
        f"{metric.name} {metric.value:.4f} is {'at most' if holds else 'above the greatest allowed'} {most:.4f}",
    )


def _better(metric: Metric, wanted: float, champion: dict[str, Metric] | None) -> tuple[bool, str]:
    if champion is None:
        return True, f"{metric.name} {metric.value:.4f} has no champion to beat"
    serving = champion.get(metric.name)
    if serving is None:
        return False, f"{metric.name} of the champion is not defined on the held-out rows"
    gain = metric.value - serving.value
    if metric.name in LOWER_IS_BETTER:
        gain = -gain
    holds = gain >= wanted
    return holds, (
        f"{metric.name} {metric.value:.4f} against the champion's {serving.value:.4f} improves by {gain:+.4f}, "
        f"{wanted:+.4f} wanted"
    )
