"""Outcomes through the REST API, over the platform's own parts."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.gateway_world import call, payments_parts

from gnomon.control_plane.parts import Parts
from gnomon.testing.prediction_log_contract import record

_LONG_AFTER_US = 2**60
_URL = "/api/v1/deployments/fraud/outcomes"


@pytest.fixture
def parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Parts:
    """The platform's own parts, with deployment `fraud` and its prediction `p`."""
    made = payments_parts(tmp_path, monkeypatch)
    made.predictions.append("fraud", [record("p")], "b1")
    return made


def report(parts: Parts, folder: Path, values: list[float]) -> list[int]:
    """Report values of prediction `p` one after the other; return how many each time were new."""
    bodies = [{"outcomes": [{"prediction_id": "p", "value": value}]} for value in values]
    answers = call(parts, folder, *(("POST", _URL, {"json": body}) for body in bodies))
    assert {answer.status_code for answer in answers} == {200}, answers[0].text
    return [answer.json()["added"] for answer in answers]


def test_a_value_that_is_corrected_and_then_restored_counts(parts: Parts, tmp_path: Path) -> None:
    assert report(parts, tmp_path, [1.0, 0.0, 1.0]) == [1, 1, 1]
    assert parts.predictions.read("fraud", 0, _LONG_AFTER_US)["outcome"].to_pylist() == [1.0]


def test_a_repeated_report_adds_nothing(parts: Parts, tmp_path: Path) -> None:
    assert report(parts, tmp_path, [1.0, 1.0]) == [1, 0]


@pytest.mark.parametrize("value", [2, -1, 0.5])
def test_the_outcome_of_a_binary_model_is_0_or_1(parts: Parts, tmp_path: Path, value: float) -> None:
    body = {"outcomes": [{"prediction_id": "p", "value": 1}, {"prediction_id": "q", "value": value}]}
    (answer,) = call(parts, tmp_path, ("POST", _URL, {"json": body}))
    assert answer.status_code == 400
    for part in ("'q'", f"{value:g}", "'fraud_model'", "give 1"):
        assert part in answer.text
    assert parts.predictions.read("fraud", 0, _LONG_AFTER_US)["outcome"].to_pylist() == [None]
