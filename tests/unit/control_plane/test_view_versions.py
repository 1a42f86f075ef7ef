"""A view defined anew: its versions lie side by side, are switched in one step, and go when nobody reads them."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.version_world import VersionWorld, app_of, version_world

import gnomon as gn
from gnomon.contracts.apps import App
from gnomon.contracts.clocks import SystemClock
from gnomon.contracts.deployments import CHAMPION
from gnomon.contracts.online_store import Status
from gnomon.control_plane import feature_work, view_versions
from gnomon.control_plane.streaming import StreamConsumer
from gnomon.control_plane.view_versions import UNUSED_FOR_S, retire_versions, versions_in_service
from gnomon.errors import Conflict, Unavailable
from gnomon.features.online_versions import DROPPING, ONLINE, is_online, version_name
from gnomon.features.read_plan import read_plan
from gnomon.gateway.app import create_app
from gnomon.gateway.status import platform_status

USERS = 20


@pytest.fixture
def world(tmp_path: Path) -> Iterator[VersionWorld]:
    """20 users with one event each; the view is applied and not materialized."""
    with version_world(tmp_path, USERS) as made:
        yield made


def later() -> int:
    return SystemClock().now_us() + UNUSED_FOR_S * 1_000_000


CHANGES: dict[str, dict[str, Any]] = {
    "window": {"features": [gn.Aggregation("n", "sum", window="14d", name="shifted")]},
    "feature added": {"features": [gn.Aggregation("n", "sum", window="3650d", name="shifted"), gn.Column("n")]},
    "type": {"features": [gn.Aggregation("n", "mean", window="3650d", name="shifted")]},
}


@pytest.mark.parametrize("change", CHANGES)
def test_reads_go_on_until_the_new_version_is_whole(world: VersionWorld, tmp_path: Path, change: str) -> None:
    gateway = httpx.ASGITransport(create_app(world.parts, "token", logs=tmp_path))

    async def ask() -> httpx.Response:
        options: dict[str, Any] = {"base_url": "http://gateway", "headers": {"Authorization": "Bearer token"}}
        async with httpx.AsyncClient(transport=gateway, **options) as client:
            return await client.post("/api/v1/views/spend/read", json={"keys": {"user": 7}})

    def features() -> dict[str, Any]:
        answer = asyncio.run(ask())
        found: dict[str, Any] = answer.raise_for_status().json()["features"]
        return {name: (each["value"], each["status"]) for name, each in found.items()}

    world.materialize()
    old = features()
    assert old == {"total": (7, "present"), "shifted": (7, "present")}
    world.apply(0, **CHANGES[change])
    assert features() == old
    world.materialize()
    assert set(features()) == {feature.name for feature in CHANGES[change]["features"]}
    assert {status for _, status in features().values()} == {"present"}
    world.apply(0)
    assert "total" not in features(), "the rows of a version that was not kept up to date are shown"
    world.materialize()
    assert features() == old


def test_what_changes_nothing_stored_holds_at_once(world: VersionWorld) -> None:
    version = world.apply(0)
    world.materialize()
    world.promote(world.train())
    assert world.apply(0, max_age="1s", on_expired="reject", owner="me") == version
    time.sleep(1.1)
    with pytest.raises(gn.errors.InvalidInput, match="expires at"):
        world.served(1)
    world.apply(0, max_age="1h", on_expired="default")
    assert world.served(1) == world.shown() == world.expected(0)


def test_a_failed_materialization_switches_nothing(world: VersionWorld) -> None:
    world.materialize()
    version = world.apply(5)

    good = world.parts

    class Fails:
        """The online store, that ends after its first answer."""

        def write(self, *arguments: Any) -> Any:
            good.online.write(*arguments)
            raise Unavailable("it is gone", "")

    operation = world.submit("materialize", "spend")
    world.parts = replace(good, online=Fails())
    with pytest.raises(AssertionError, match="it is gone"):
        world.run(operation)
    world.parts = good
    assert not is_online(world.parts.states, "spend", version)
    assert world.shown() == world.expected(0)
    world.materialize()
    assert world.shown() == world.expected(5)


def test_a_deployed_model_reads_what_it_was_trained_with(world: VersionWorld) -> None:
    """And it is kept up to date beside the applied version."""
    old = world.apply(1)
    world.materialize()
    world.promote(world.train())
    new = world.apply(2)
    (status,) = platform_status(world.parts)["views"]
    assert (status["version"], status["shown_version"]) == (new, old)
    assert world.served(1) == world.expected(1)
    world.add(range(USERS))
    assert world.materialize()["also"] == {old: USERS}
    assert world.served(1) == world.expected(1, events=2)
    assert world.shown() == world.expected(2, events=2)
    assert retire_versions("spend", world.parts, later()) == []
    world.promote(world.train(), state="starting")
    assert world.served(2) == world.expected(2, events=2)
    world.materialize()
    assert retire_versions("spend", world.parts, later()) == [], "the old replicas serve until the new ones do"
    assert world.served(1) == world.expected(1, events=2)
    world.serve(2)
    assert retire_versions("spend", world.parts) == [], "requests may be under way"
    assert retire_versions("spend", world.parts, later()) == [old]
    assert world.fields() == {"", f"spend@{new}"}
    assert set(world.parts.states.all(ONLINE)) == {version_name("spend", new)}


def test_versions_do_not_pile_up(world: VersionWorld) -> None:
    for plus in range(6):
        version = world.apply(plus)
        world.materialize()
        for name, document in world.parts.states.all(ONLINE).items():
            if document["unused_us"] is not None:
                world.parts.states.put(ONLINE, name, {**document, "unused_us": 0})
    assert world.materialize()["removed"] != []
    assert world.fields() == {"", f"spend@{version}"}


def test_a_release_brings_online_what_it_reads_before_it_moves_the_alias(world: VersionWorld) -> None:
    world.apply(3)
    number = world.train()
    world.apply(4)
    world.materialize()
    moved: list[bool] = []

    def serve() -> None:
        while world.parts.registry.resolve("risk", CHAMPION) is None:
            time.sleep(0.01)
        moved.append(world.served(number) == world.expected(3))
        world.serve(number)

    thread = threading.Thread(target=serve)
    thread.start()
    assert world.run(world.submit("deploy", "risk"))["version"] == number
    thread.join()
    assert moved == [True]
    assert world.shown() == world.expected(4)


def test_a_fresh_view_is_streamed_in_every_version_that_is_read(world: VersionWorld) -> None:
    errors: list[str] = []
    consumer = StreamConsumer(world.parts, 10**7, lambda what, error: errors.append(f"{what}: {error}"))

    def stepped(reached: Callable[[], bool]) -> None:
        deadline_s = time.monotonic() + 60
        while not reached():
            assert time.monotonic() < deadline_s, errors
            time.sleep(min(consumer.step(), 0.05))

    old = world.apply(1, freshness="1s")
    stepped(lambda: world.shown() == world.expected(1))
    world.promote(world.train())
    world.apply(2, freshness="1s")
    assert world.shown() == world.expected(1)
    stepped(lambda: world.shown() != world.expected(1))
    assert world.shown() == world.expected(2)
    world.add(range(USERS))
    stepped(lambda: world.shown() == world.expected(2, events=2))
    stepped(lambda: world.served(1) == world.expected(1, events=2))
    world.promote(world.train())
    stepped(lambda: not is_online(world.parts.states, "spend", old))
    world.apply(1, freshness="1s")
    assert world.shown() == world.expected(2, events=2)
    stepped(lambda: world.shown() != world.expected(2, events=2))
    assert world.shown() == world.expected(1, events=2)
    assert errors == []


def unused(world: VersionWorld) -> str:
    """Return a version that nobody reads, and that may go in an hour."""
    old = world.apply(1)
    world.materialize()
    world.apply(2)
    world.materialize()
    return old


def test_nothing_is_removed_while_a_release_is_under_way(world: VersionWorld) -> None:
    old = unused(world)
    operation = world.submit("deploy", "risk")
    assert retire_versions("spend", world.parts, later()) == []
    assert dict(world.parts.states.all(DROPPING)) == {}
    world.parts.operations.cancel(operation.id)
    assert retire_versions("spend", world.parts, later()) == [old]


def test_a_release_waits_for_a_removal(world: VersionWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    old = unused(world)
    document = {**world.parts.states.all(ONLINE)[version_name("spend", old)], "begun": True}
    world.parts.states.put(DROPPING, version_name("spend", old), document)
    world.apply(1)
    number = world.train()
    monkeypatch.setattr(view_versions, "_DROP_TIMEOUT_S", 0.2)
    version = world.parts.registry.version("risk", number)
    with pytest.raises(Conflict, match="being removed"):
        view_versions.bring_features_online(version, world.parts, str)
    world.materialize()  # finishes the removal whose worker died, and writes the rows anew
    view_versions.bring_features_online(version, world.parts, str)
    assert world.served(number) == world.expected(1)


def test_a_removal_that_was_only_announced_is_called_off(world: VersionWorld) -> None:
    """Its version may have come into service meanwhile: no row of it may go."""
    unused(world)
    version = world.apply(1)
    world.materialize()
    document = {**world.parts.states.all(ONLINE)[version_name("spend", version)], "begun": False}
    world.parts.states.put(DROPPING, version_name("spend", version), document)
    view_versions.finish_removals("spend", world.parts)
    assert dict(world.parts.states.all(DROPPING)) == {}
    assert world.shown() == world.expected(1)


def test_a_version_that_cannot_be_computed_any_more_keeps_nobody_waiting(world: VersionWorld) -> None:
    gone = gn.DataSource("gone", path="*.parquet", id="id", event_time="at")
    old = world.apply(1, source=gone)
    world.promote(world.train())
    new = world.apply(2)
    assert "gone" in world.materialize()["also"][old]
    assert is_online(world.parts.states, "spend", new)
    assert not is_online(world.parts.states, "spend", old)


def test_an_empty_server_is_degraded_as_declared_and_filled_by_materialize(world: VersionWorld) -> None:
    world.materialize()
    world.promote(world.train())
    (applied,) = world.parts.definitions.apps()
    world.parts.online.clear(gn.contracts.layouts.view_layout(applied.app, "spend"))
    found = world.read(read_plan(applied.app, ["spend.shifted"]))
    assert set(found.status.ravel().tolist()) == {Status.MISSING_ENTITY}
    world.materialize()
    assert world.served(1) == world.shown() == world.expected(0)


def test_what_an_unhealthy_endpoint_may_serve_still_is_only_what_has_rows(world: VersionWorld) -> None:
    """While a release is under way some earlier version serves; one whose rows were removed is not brought back."""
    numbers, versions = [], []
    for plus in range(3):
        versions.append(world.apply(plus))
        world.materialize()
        numbers.append(world.train())
        world.promote(numbers[-1])
    retire_versions("spend", world.parts)  # marks them
    assert set(retire_versions("spend", world.parts, later())) == set(versions[:2])
    world.serve(numbers[1], "starting")
    assert list(versions_in_service("spend", world.parts)) == [versions[2]]
    world.apply(1)
    world.materialize()
    assert set(versions_in_service("spend", world.parts)) == {versions[1], versions[2]}


def test_a_version_that_another_apps_deployment_reads_is_kept(world: VersionWorld) -> None:
    """The view moves to another app; the model that was trained with it stays deployed where it is."""
    old = world.apply(0)
    world.materialize()
    world.promote(world.train())
    user, source = gn.Entity("user", key="user"), gn.DataSource("events", path="*.jsonl", id="id", event_time="at")
    own = gn.FeatureView("own", entity=user, source=source, features=[gn.Column("n")])
    risk = gn.Model("risk", label=gn.Label("bad", source=source, delay="0d"), features=[own])
    apply_app(world, "app", user, source, own, risk, gn.Deployment("risk", model=risk))
    person, other = gn.Entity("person", key="user"), gn.DataSource("other", path="*.jsonl", id="id", event_time="at")
    apply_app(
        world, "second", person, other, gn.FeatureView("spend", entity=person, source=other, features=[gn.Column("n")])
    )
    assert old in versions_in_service("spend", world.parts)
    assert retire_versions("spend", world.parts, later()) == []
    assert is_online(world.parts.states, "spend", old)


def apply_app(world: VersionWorld, name: str, *specs: Any) -> None:
    app = App.of(name, specs, root=str(world.files))
    types = app_of(world.files, 0).schemas["events"]
    schemas = {source.name: dict(types) for source in app.all(gn.DataSource)}
    world.parts.definitions.apply(app.with_schemas(schemas), actor="test")


def test_a_materialization_that_ends_late_does_not_show_an_old_version_again(
    world: VersionWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it computes, the next definition is applied, and brought online and shown by somebody else."""
    world.apply(0)
    late = world.submit("materialize", "spend")
    bring_online = feature_work.bring_online

    def overtaken(app: App, view: str, *more: Any) -> Any:
        done = bring_online(app, view, *more)
        monkeypatch.undo()
        world.apply(1)
        world.materialize()
        return done

    monkeypatch.setattr(feature_work, "bring_online", overtaken)
    world.run(late)
    world.apply(2)
    assert world.shown() == [n + 1 for n in range(USERS)]
