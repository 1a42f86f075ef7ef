"""What operations do is audited once: repeated after a crash at any point, or done by two that raced."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from gnomon import composition
from gnomon.contracts.deployments import CHAMPION
from gnomon.contracts.platform_state import AuditEntry
from gnomon.contracts.registry import Lineage
from gnomon.contracts.signatures import Signature
from gnomon.control_plane.audited_work import record_once
from gnomon.control_plane.parts import Parts
from gnomon.control_plane.release_work import _promote


@pytest.fixture
def parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Parts:
    """The platform's own parts, with two versions registered."""
    monkeypatch.setenv("GNOMON_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("GNOMON_ONLINE_URL", "redis://127.0.0.1:1/0")  # never asked
    made = composition.parts.__wrapped__()
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "weights").write_bytes(b"1")
    artifact = made.artifacts.put_folder(folder)
    signature = Signature(keys={}, request={}, inputs=(), lookups=(), request_features=(), task="binary")
    for run in ("run-1", "run-2"):
        lineage = Lineage(run, "", "", "", {}, {}, datetime(2026, 1, 1, tzinfo=UTC))
        made.registry.register("fraud", artifact, signature, (), lineage)
    return made


def promotions(parts: Parts) -> list[AuditEntry]:
    return [entry for entry in parts.audit.entries(target="model/fraud") if entry.action == "promote"]


def test_two_operations_that_promote_one_version_are_one_promotion(parts: Parts) -> None:
    for operation in ("deploy-a", "deploy-b", "deploy-a"):
        _promote(operation, "fraud", 1, "better", parts)
    (entry,) = promotions(parts)
    assert entry.details == {"from": None, "to": 1, "reason": "better", "operation": "deploy-a"}
    assert len(parts.registry.alias_history("fraud")) == 1


def test_promotion_whose_worker_died_before_the_entry_is_audited_by_the_repeat(parts: Parts) -> None:
    parts.registry.move_alias("fraud", CHAMPION, 1, reason="better", actor="operation deploy-a")
    _promote("deploy-a", "fraud", 1, "better", parts)
    _promote("deploy-a", "fraud", 1, "better", parts)
    assert [entry.details["operation"] for entry in promotions(parts)] == ["deploy-a"]


def test_a_repeat_does_not_take_back_what_another_operation_did_since(parts: Parts) -> None:
    _promote("deploy-a", "fraud", 1, "better", parts)
    _promote("retrain-b", "fraud", 2, "better still", parts)
    _promote("deploy-a", "fraud", 1, "better", parts)
    champion = parts.registry.resolve("fraud", CHAMPION)
    assert champion is not None
    assert champion.number == 2
    assert [entry.details["operation"] for entry in reversed(promotions(parts))] == ["deploy-a", "retrain-b"]


def test_operations_are_told_apart(parts: Parts) -> None:
    for number, operation in ((1, "one"), (2, "two"), (1, "three")):
        _promote(operation, "fraud", number, "asked for", parts)
    assert [(e.details["from"], e.details["to"]) for e in reversed(promotions(parts))] == [(None, 1), (1, 2), (2, 1)]
    for operation in ("one", "one", "two"):
        record_once(parts.audit, operation, "keep", "model/fraud", {"rejected": 2})
    kept = [e.details["operation"] for e in parts.audit.entries(target="model/fraud") if e.action == "keep"]
    assert sorted(kept) == ["one", "two"]
