"""What every `ModelRegistry` must do. A test class derives from it and overrides `open_registry` and `artifacts`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from gnomon.contracts.registry import Lineage, Metric, ModelRegistry, ModelVersion
from gnomon.contracts.signatures import ModelInput, Signature
from gnomon.errors import Conflict, CorruptData, NotFound
from gnomon.testing.races import race

RACERS = 4

RegistryOpener = Callable[[], AbstractContextManager[ModelRegistry]]

SIGNATURE = Signature(
    keys={"customer_id": "string"},
    request={"amount": "float64"},
    inputs=(
        ModelInput(name="spend.amount_mean_7d", dtype="float64", origin="view"),
        ModelInput(name="amount", dtype="float64", origin="request"),
    ),
    lookups=("spend.amount_mean_7d",),
    request_features=(),
    task="binary",
)
METRICS = (Metric("roc_auc", 0.91, 0.89, 0.93), Metric("log_loss", 0.2, math.nan, math.inf))
LINEAGE = Lineage(
    run_id="r1",
    app_hash="a" * 64,
    code="c" * 64,
    training_set="t" * 64,
    source_versions={"payments": 12},
    feature_versions={"spend": "v1"},
    trained_until=datetime(2026, 3, 1, 12, 30, 0, 123456, UTC),
)


def add_version(registry: ModelRegistry, artifact: str, run_id: str, model: str = "fraud") -> ModelVersion:
    """Register a version of a run."""
    return registry.register(model, artifact, SIGNATURE, METRICS, replace(LINEAGE, run_id=run_id))


class ModelRegistryContract:
    """The contract of `ModelRegistry`."""

    @pytest.fixture
    def open_registry(self) -> RegistryOpener:
        """Return a picklable opener of one empty registry, shared by all who open it."""
        raise NotImplementedError

    @pytest.fixture
    def artifacts(self) -> Mapping[str, str]:
        """Return digests: `whole`, a stored folder; `other`, another; `damaged`, one with a changed byte."""
        raise NotImplementedError

    @pytest.fixture
    def registry(self, open_registry: RegistryOpener) -> Iterator[ModelRegistry]:
        """The registry, opened in this process."""
        with open_registry() as registry:
            yield registry

    def test_version_comes_back_whole(
        self, registry: ModelRegistry, artifacts: Mapping[str, str], open_registry: RegistryOpener
    ) -> None:
        made = add_version(registry, artifacts["whole"], "r1")
        assert (made.model, made.number, made.aliases) == ("fraud", 1, ())
        assert (made.artifact, made.signature, made.lineage) == (artifacts["whole"], SIGNATURE, LINEAGE)
        assert repr(made.metrics) == repr(METRICS)
        with open_registry() as other:
            assert repr(other.version("fraud", 1)) == repr(made)

    def test_numbers_count_per_model(self, registry: ModelRegistry, artifacts: Mapping[str, str]) -> None:
        made = [add_version(registry, artifacts["whole"], f"r{i}", m) for i, m in enumerate(("a", "b", "a"))]
        assert [(v.model, v.number) for v in made] == [("a", 1), ("b", 1), ("a", 2)]
        assert [(v.model, v.number) for v in registry.versions()] == [("a", 1), ("b", 1), ("a", 2)]
        assert [v.number for v in registry.versions("a")] == [1, 2]
        assert registry.versions("c") == []

    def test_run_registers_once(self, registry: ModelRegistry, artifacts: Mapping[str, str]) -> None:
        first = add_version(registry, artifacts["whole"], "r1")
        registry.move_alias("fraud", "champion", 1, reason="first", actor="ann")
        again = add_version(registry, artifacts["other"], "r1")
        assert (again.number, again.artifact, again.aliases) == (1, first.artifact, ("champion",))
        assert len(registry.versions()) == 1
        with pytest.raises(Conflict, match="of model 'fraud', not of 'churn'"):
            add_version(registry, artifacts["whole"], "r1", "churn")

    @pytest.mark.parametrize("artifact", ["absent", "damaged"])
    def test_artifact_must_be_whole(self, registry: ModelRegistry, artifacts: Mapping[str, str], artifact: str) -> None:
        with pytest.raises(CorruptData):
            add_version(registry, artifacts.get(artifact, "0" * 64), "r1")
        assert registry.versions() == []

    def test_unknown_version_is_not_found(self, registry: ModelRegistry, artifacts: Mapping[str, str]) -> None:
        with pytest.raises(NotFound, match="none is defined yet"):
            registry.version("fraud", 1)
        add_version(registry, artifacts["whole"], "r1")
        with pytest.raises(NotFound, match="did you mean 'fraud'"):
            registry.version("fruad", 1)
        with pytest.raises(NotFound, match="no version 2"):
            registry.version("fraud", 2)
        with pytest.raises(NotFound, match="no version 0"):
            registry.move_alias("fraud", "champion", 0, reason="", actor="ann")
        assert registry.alias_history("fraud") == []

    def test_alias_moves_and_is_remembered(self, registry: ModelRegistry, artifacts: Mapping[str, str]) -> None:
        for i in (1, 2):
            add_version(registry, artifacts["whole"], f"r{i}")
        assert registry.resolve("fraud", "champion") is None
        first = registry.move_alias("fraud", "champion", 1, reason="first", actor="ann", expected=None)
        registry.move_alias("fraud", "shadow", 2, reason="trial", actor="ann")
        second = registry.move_alias("fraud", "champion", 2, reason="AUC +0.02", actor="bob", expected=1)
        assert (first.before, first.after, second.before, second.after) == (None, 1, 1, 2)
        champion = registry.resolve("fraud", "champion")
        assert champion is not None
        assert (champion.number, champion.aliases) == (2, ("champion", "shadow"))
        assert [v.aliases for v in registry.versions()] == [(), ("champion", "shadow")]
        assert [(m.alias, m.after) for m in registry.alias_history("fraud")] == [
            ("champion", 1), ("shadow", 2), ("champion", 2),
        ]  # fmt: skip
        assert registry.alias_history("fraud")[-1] == second

    def test_move_to_where_it_points_is_no_move(self, registry: ModelRegistry, artifacts: Mapping[str, str]) -> None:
        add_version(registry, artifacts["whole"], "r1")
        first = registry.move_alias("fraud", "champion", 1, reason="first", actor="ann", expected=None)
        again = registry.move_alias("fraud", "champion", 1, reason="again", actor="bob", expected=None)
        assert again == first
        assert registry.alias_history("fraud") == [first]

    @pytest.mark.parametrize("expected", [None, 2, 3])
    def test_unexpected_alias_conflicts(
        self, registry: ModelRegistry, artifacts: Mapping[str, str], expected: int | None
    ) -> None:
        for i in (1, 2):
            add_version(registry, artifacts["whole"], f"r{i}")
        registry.move_alias("fraud", "champion", 1, reason="first", actor="ann")
        with pytest.raises(Conflict, match="names version 1, not"):
            registry.move_alias("fraud", "champion", 2, reason="", actor="bob", expected=expected)
        assert len(registry.alias_history("fraud")) == 1

    def test_one_process_wins_each_move(
        self, registry: ModelRegistry, artifacts: Mapping[str, str], open_registry: RegistryOpener
    ) -> None:
        for i in range(RACERS):
            add_version(registry, artifacts["whole"], f"r{i}")
        answers = race(open_registry, _move, racers=RACERS, rounds=10)
        assert [sum(of_round) for of_round in answers] == [1] * 10
        assert len(registry.alias_history("fraud")) == 10

    def test_concurrent_registrations_number_without_gap(
        self, registry: ModelRegistry, artifacts: Mapping[str, str], open_registry: RegistryOpener
    ) -> None:
        add_version(registry, artifacts["whole"], "first")
        answers = race(open_registry, _register, racers=RACERS, rounds=5)
        own = [number for of_round in answers for number, _ in of_round]
        assert sorted(own + [shared for of_round in answers for shared in {s for _, s in of_round}]) == list(
            range(2, 27)
        )
        assert all(len({shared for _, shared in of_round}) == 1 for of_round in answers)


def _move(registry: ModelRegistry, number: int, racer: int) -> bool:
    try:
        registry.move_alias("fraud", f"a{number}", racer + 1, reason="race", actor=str(racer), expected=None)
    except Conflict:
        return False
    return True


def _register(registry: ModelRegistry, number: int, racer: int) -> tuple[int, int]:
    artifact = registry.version("fraud", 1).artifact
    own = add_version(registry, artifact, f"own-{number}-{racer}").number
    return own, add_version(registry, artifact, f"shared-{number}").number
