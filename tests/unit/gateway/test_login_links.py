"""Log-in links: a code in the address, never the access token, and good for one use within a minute."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from tests.gateway_world import TOKEN, bare_parts, listening
from typer.testing import CliRunner

from gnomon.cli.app import app
from gnomon.contracts.clocks import HandClock, from_us
from gnomon.control_plane.parts import Parts
from gnomon.gateway.app import create_app
from gnomon.gateway.login_codes import VALID_S, LoginCodes
from gnomon.testing.memory_stores import MemoryStates

BEARER = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Parts:
    return bare_parts(tmp_path, monkeypatch)


def with_browsers(parts: Parts, folder: Path, use: Callable[..., Awaitable[None]], replicas: int = 1) -> None:
    """Use one browser per replica of the gateway; each has cookies of its own."""

    async def run() -> None:
        transports = [httpx.ASGITransport(create_app(parts, TOKEN, logs=folder)) for _ in range(replicas)]
        await use(*(httpx.AsyncClient(transport=transport, base_url="http://gateway") for transport in transports))

    asyncio.run(run())


async def new_code(browser: httpx.AsyncClient) -> str:
    answer = await browser.post("/api/v1/login-codes", headers=BEARER)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["code"])


def test_a_code_lets_a_browser_in_and_is_not_the_token(parts: Parts, tmp_path: Path) -> None:
    async def use(browser: httpx.AsyncClient) -> None:
        assert (await browser.get("/")).status_code == 401
        code = await new_code(browser)
        assert TOKEN not in code
        answer = await browser.get(f"/login/{code}")
        assert (answer.status_code, answer.headers["location"]) == (303, "/")
        cookie = answer.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        assert answer.headers["cache-control"] == "no-store"
        assert (await browser.get("/")).status_code == 200

    with_browsers(parts, tmp_path, use)


@pytest.mark.parametrize("wrong", ["nothing-that-was-made", TOKEN, "%00", "%E2%82%AC"])
def test_another_code_and_the_token_itself_let_nobody_in(parts: Parts, tmp_path: Path, wrong: str) -> None:
    async def use(browser: httpx.AsyncClient) -> None:
        answer = await browser.get(f"/login/{wrong}")
        assert (answer.status_code, "set-cookie" in answer.headers) == (401, False)
        assert "gnomon status --link" in answer.text
        assert answer.headers["content-type"].startswith("text/html")

    with_browsers(parts, tmp_path, use)


def test_a_code_is_good_once_whichever_replica_takes_it(parts: Parts, tmp_path: Path) -> None:
    async def use(one: httpx.AsyncClient, other: httpx.AsyncClient) -> None:
        code = await new_code(one)
        assert (await other.get(f"/login/{code}")).status_code == 303
        for browser in (one, other):
            again = await browser.get(f"/login/{code}")
            assert (again.status_code, "set-cookie" in again.headers) == (401, False)
            assert "gnomon status --link" in again.text

    with_browsers(parts, tmp_path, use, replicas=2)


def test_only_who_has_the_token_gets_a_code(parts: Parts, tmp_path: Path) -> None:
    async def use(browser: httpx.AsyncClient) -> None:
        assert (await browser.post("/api/v1/login-codes")).status_code == 401

    with_browsers(parts, tmp_path, use)


def test_the_command_prints_a_link_that_works_once(
    parts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with listening(parts, tmp_path) as port:
        url = f"http://127.0.0.1:{port}"
        monkeypatch.setenv("GNOMON_URL", url)
        monkeypatch.setenv("GNOMON_TOKEN", TOKEN)
        printed = CliRunner().invoke(app, ["status", "--link"])
        assert printed.exit_code == 0, printed.output
        link = printed.output.strip()
        assert link.startswith(f"{url}/login/")
        assert TOKEN not in link
        with httpx.Client(follow_redirects=True, trust_env=False) as browser:
            page = browser.get(link)
            assert (page.status_code, str(page.url)) == (200, f"{url}/")
        assert httpx.get(link, trust_env=False).status_code == 401


def test_codes_expire_and_are_forgotten(tmp_path: Path) -> None:
    clock, states = HandClock(tmp_path / "clock"), MemoryStates()
    codes = LoginCodes(states, clock)
    begun = from_us(clock.now_us())
    in_time, late, unused = codes.issue(), codes.issue(), codes.issue()
    clock.set(begun + timedelta(seconds=VALID_S) - timedelta(microseconds=1))
    assert codes.redeem(in_time)
    clock.set(begun + timedelta(seconds=VALID_S))
    assert not codes.redeem(late)
    assert len(states.all("login_code")) == 1
    codes.issue()
    assert len(states.all("login_code")) == 1, "the one that expired unused is gone"
    assert unused not in str(states.all("login_code")), "codes are kept hashed"
