"""Logged predictions through the REST API and the client, page by page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.gateway_world import TOKEN, listening, payments_parts

from gnomon import history_client
from gnomon.connection import Connection
from gnomon.control_plane.parts import Parts
from gnomon.errors import InvalidInput
from gnomon.history_client import History
from gnomon.testing.prediction_log_contract import record

ROWS = 25


@pytest.fixture
def parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Parts:
    """The platform's own parts, with deployment `fraud` and its predictions `p00` to `p24`, ten at each moment."""
    made = payments_parts(tmp_path, monkeypatch)
    ago_us = made.clock.now_us() - 60_000_000
    made.predictions.append("fraud", [record(f"p{n:02}", ago_us + n // 10) for n in range(ROWS)], "b1")
    return made


@pytest.fixture
def connection(parts: Parts, tmp_path: Path) -> Iterator[Connection]:
    """A connection to a gateway that listens on a port."""
    with listening(parts, tmp_path) as port:
        connected = Connection(f"http://127.0.0.1:{port}", TOKEN, 10.0)
        yield connected
        connected.close()


def asked(connection: Connection, **query: Any) -> Any:
    return connection.call("GET", "/api/v1/deployments/fraud/predictions", params=query)


def ids(found: Any) -> list[str]:
    return [row["prediction_id"] for row in found]


NEWEST_FIRST = [f"p{n:02}" for n in range(ROWS)][::-1]


def test_the_cursor_leads_through_the_period(connection: Connection) -> None:
    found, cursor = [], {}
    for rows in (10, 10, 5):
        page = asked(connection, limit=10, **cursor)
        assert (len(page["predictions"]), page["total"]) == (rows, ROWS)
        found += ids(page["predictions"])
        cursor = {"cursor": page["next"]}
    assert cursor == {"cursor": None}
    assert found == NEWEST_FIRST


def test_without_a_limit_a_page_is_bounded(parts: Parts, connection: Connection) -> None:
    now_us = parts.clock.now_us()
    parts.predictions.append("fraud", [record(f"q{n}", now_us) for n in range(1000)], "b2")
    page = asked(connection)
    assert (len(page["predictions"]), page["total"]) == (1000, 1000 + ROWS)
    assert page["next"] is not None


@pytest.mark.parametrize(
    "query",
    [{"limit": 10_001}, {"limit": -1}, {"cursor": "x"}, {"cursor": "1,2"}, {"cursor": f"1,{10**30},p"}],
    ids=str,
)
def test_what_is_no_page_is_refused(connection: Connection, query: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        asked(connection, **query)


@pytest.mark.parametrize("limit", [0, 1, 7, 14, ROWS, 1000])
def test_the_client_goes_through_pages(connection: Connection, limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history_client, "_PAGE_ROWS", 7)
    history = History(connection)
    found = history.predictions("fraud", limit=limit)
    assert (ids(found["predictions"]), found["total"]) == (NEWEST_FIRST[:limit], ROWS)
    assert ids(history.each_prediction("fraud")) == NEWEST_FIRST


def test_a_page_needs_the_token(connection: Connection) -> None:
    assert httpx.get(f"{connection.url}/api/v1/deployments/fraud/predictions").status_code == 401
