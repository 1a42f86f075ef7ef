"""What every EndpointServer must do; run by `tests/integration/test_endpoints.py` for Ray Serve.

Subclass `EndpointServerContract` and override the fixtures. The tests of one class may share one cluster: each leaves
it without endpoints.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from gnomon.contracts.cluster import EndpointServer, EndpointStatus, EndpointTarget


class EndpointServerContract:
    """Deploy, update and remove, each repeated; progress that any process sees."""

    wait_s = 120.0

    @pytest.fixture
    def server(self) -> EndpointServer:
        """Return the server, without endpoints."""
        raise NotImplementedError

    @pytest.fixture
    def other(self) -> EndpointServer:
        """Return the same server as seen by another process."""
        raise NotImplementedError

    @pytest.fixture
    def target(self) -> EndpointTarget:
        """Return a target that can be served, and so can the version after it."""
        raise NotImplementedError

    @pytest.fixture
    def settle(self) -> Callable[[], None]:
        """Return what lets the cluster go on for a moment."""
        return lambda: time.sleep(0.3)

    @pytest.fixture
    def until(
        self, server: EndpointServer, settle: Callable[[], None]
    ) -> Callable[[Callable[[dict[str, EndpointStatus]], bool]], dict[str, EndpointStatus]]:  # fmt: skip
        """Return a function that waits until what is observed meets a condition."""

        def wait(condition: Callable[[dict[str, EndpointStatus]], bool]) -> dict[str, EndpointStatus]:
            deadline_s = time.monotonic() + self.wait_s
            while True:
                seen = dict(server.observe())
                if condition(seen):
                    return seen
                assert time.monotonic() < deadline_s, f"not within {self.wait_s} s; last seen: {seen}"
                settle()

        return wait

    @pytest.fixture(autouse=True)
    def _cleared(self, server: EndpointServer, until: Callable[..., object]) -> Iterator[None]:
        yield
        for deployment in server.observe():
            server.remove(deployment)
        until(lambda seen: not seen)

    def test_an_endpoint_lives_through_deploy_update_and_remove(
        self, server: EndpointServer, other: EndpointServer, target: EndpointTarget, until: Callable[..., object]
    ) -> None:
        name = target.deployment
        assert server.observe() == {}
        server.remove(name)
        server.deploy(target)
        server.deploy(target)
        assert server.observe()[name].target == other.observe()[name].target == target
        until(lambda seen: seen[name].state == "healthy" and seen[name].replicas >= 1)
        server.deploy(target)
        assert server.observe()[name].state == "healthy"
        newer = replace(target, version=target.version + 1)
        server.deploy(newer)
        assert server.observe()[name].target == newer
        assert server.observe()[name].state != "healthy"
        until(lambda seen: seen[name].state == "healthy" and seen[name].target == newer)
        assert dict(other.observe()) == dict(server.observe())
        server.remove(name)
        server.remove(name)
        until(lambda seen: not seen)

    def test_a_version_that_cannot_start_says_why(
        self, server: EndpointServer, target: EndpointTarget, until: Callable[..., dict[str, EndpointStatus]]
    ) -> None:
        name = target.deployment
        server.deploy(replace(target, version=999))
        seen = until(lambda seen: seen[name].state == "unhealthy")
        assert "999" in seen[name].message
        server.deploy(target)
        until(lambda seen: seen[name].state == "healthy" and seen[name].target == target)
