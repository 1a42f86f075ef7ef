"""Logs are JSON lines that programs can read, and secrets never get into them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import structlog

from gnomon.telemetry.logs import close, configure, logger, read_logs

TOKEN = "Gm4UZDWdNZxt-a-secret"


@pytest.fixture(autouse=True)
def _reset() -> object:
    yield
    close()
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def test_lines_come_back_in_order_and_torn_ones_are_skipped(tmp_path: Path) -> None:
    configure("part", "info", tmp_path)
    logger().info("first", rows=3)
    logger().debug("too quiet")
    logger().warning("second")
    with (tmp_path / "part.jsonl").open("a") as file:
        file.write('{"event": "torn')
    lines = read_logs(tmp_path)
    assert [(line["event"], line["level"], line["component"]) for line in lines] == [
        ("first", "info", "part"),
        ("second", "warning", "part"),
    ]
    assert lines[0]["rows"] == 3
    assert read_logs(tmp_path, component="other") == []


def test_secrets_are_hidden(tmp_path: Path) -> None:
    configure("part", "info", tmp_path)
    logger().info("connecting", url=f"redis://:{TOKEN}@127.0.0.1/0", token=TOKEN, Authorization=f"Bearer {TOKEN}")
    text = (tmp_path / "part.jsonl").read_text()
    assert TOKEN not in text
    assert json.loads(text)["url"] == "redis://:***@127.0.0.1/0"


def test_a_traceback_has_no_local_variables(tmp_path: Path) -> None:
    configure("part", "info", tmp_path)

    def answer(headers: dict[str, str]) -> float:
        return 1 / (len(headers) - 1)

    try:
        answer({"authorization": f"Bearer {TOKEN}"})
    except ZeroDivisionError as error:
        logger().error("request failed", exc_info=error)
    text = (tmp_path / "part.jsonl").read_text()
    assert TOKEN not in text
    assert "ZeroDivisionError" in text
    assert "answer" in text, "the frames are there"
