"""Logs are JSON lines that programs can read, and secrets never get into them."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest
import structlog

from gnomon.errors import NotFound
from gnomon.telemetry.logs import close, configure, hide_secrets, logger, read_logs

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
    with pytest.raises(NotFound, match="'prat'") as refused:
        read_logs(tmp_path, component="prat")
    assert "'part'" in refused.value.hint


def test_secrets_are_hidden(tmp_path: Path) -> None:
    configure("part", "info", tmp_path)
    logger().info("connecting", url=f"redis://:{TOKEN}@127.0.0.1/0", token=TOKEN, Authorization=f"Bearer {TOKEN}")
    text = (tmp_path / "part.jsonl").read_text()
    assert TOKEN not in text
    assert json.loads(text)["url"] == "redis://:***@127.0.0.1/0"


def test_secrets_are_hidden_at_any_depth_and_in_objects(tmp_path: Path) -> None:
    configure("part", "info", tmp_path)
    fields = {"db_password": TOKEN, "sent": [("header", f"Bearer {TOKEN}")], "urls": {"redis": f"redis://u:{TOKEN}@h"}}
    logger().info("calling", request=fields, error=ValueError(f"redis://:{TOKEN}@h/0"))
    line = (tmp_path / "part.jsonl").read_text()
    assert TOKEN not in line
    assert json.loads(line)["request"] == {
        "db_password": "***",
        "sent": [["header", "Bearer ***"]],
        "urls": {"redis": "redis://u:***@h"},
    }
    assert json.loads(line)["error"] == "redis://:***@h/0"


def test_the_text_of_an_exception_has_no_secrets(tmp_path: Path) -> None:
    configure("part", "info", tmp_path)
    try:
        raise ConnectionError("no answer from redis://:hunter2@h/0 with Bearer XYZ")
    except ConnectionError as error:
        logger().error("reading failed", exc_info=error)
    (line,) = read_logs(tmp_path)
    assert line["exception"][0]["exc_value"] == "no answer from redis://:***@h/0 with Bearer ***"


@pytest.mark.parametrize(
    "name",
    ["password", "db_password", "api_key", "access_token", "token", "authorization", "secret", "credential",
     "credentials", "clientSecret", "X-Api-Key", "secret_access_key", "db_pass"],
)  # fmt: skip
def test_fields_named_for_secrets_are_hidden(name: str) -> None:
    assert hide_secrets(None, "", {name: "x"}) == {name: "***"}


@pytest.mark.parametrize("name", ["passed", "tokens_per_s", "bypass", "token_file", "key"])
def test_fields_with_similar_names_are_kept(name: str) -> None:
    assert hide_secrets(None, "", {name: 3}) == {name: 3}


def test_lines_of_other_threads_name_the_component(tmp_path: Path) -> None:
    configure("part", "info", tmp_path)
    thread = threading.Thread(target=lambda: logger().info("from a thread"))
    thread.start()
    thread.join()
    assert [line["component"] for line in read_logs(tmp_path)] == ["part"]


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


def test_lines_come_back_from_older_files_too(tmp_path: Path) -> None:
    path = tmp_path / "part.jsonl"
    configure("part", "info", tmp_path)
    for number in range(3):
        logger().info("line", number=number)
        path.rename(tmp_path / f"part.jsonl.{3 - number}")  # the logger follows
    logger().info("line", number=3)
    assert [line["number"] for line in read_logs(tmp_path)] == [0, 1, 2, 3]
    assert [line["number"] for line in read_logs(tmp_path, component="part", lines=2)] == [2, 3]
    with pytest.raises(NotFound):
        read_logs(tmp_path, component="par")


def test_a_part_whose_newest_file_was_just_renamed_is_read(tmp_path: Path) -> None:
    configure("part", "info", tmp_path)
    logger().info("line", number=0)
    (tmp_path / "part.jsonl").rename(tmp_path / "part.jsonl.1")
    assert [line["number"] for line in read_logs(tmp_path)] == [0]
