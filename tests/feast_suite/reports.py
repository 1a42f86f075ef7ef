"""What pytest says in its XML of a run. Called by the suite's program."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class Result:
    """What came of a test.

    Attributes:
        group: Its file.
        name: Its name, with its parameters.
        outcome: What came of it.
        reason: The first line of why it did not pass.
    """

    group: str
    name: str
    outcome: Literal["passed", "failed", "skipped"]
    reason: str


def read_results(report: Path) -> list[Result]:
    """Return all results of a run, in its order.

    Args:
        report: File that pytest's `--junitxml` wrote; our own, and so trusted.
    """
    return [_result(case) for case in ET.parse(report).iter("testcase")]


def _result(case: ET.Element) -> Result:
    group = case.get("classname", "").rpartition(".")[2]
    outcome: Literal["passed", "failed", "skipped"] = "passed"
    reason = ""
    for child in case:
        if child.tag in ("failure", "error", "skipped"):
            outcome = "skipped" if child.tag == "skipped" else "failed"
            reason = (child.get("message") or child.text or "").strip().partition("\n")[0]
    return Result(group, case.get("name", ""), outcome, reason)
