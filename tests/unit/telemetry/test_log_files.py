"""A log file on a full disk drops lines instead of failing, and goes on when there is room."""

from __future__ import annotations

from pathlib import Path

import pytest

from gnomon.telemetry.log_files import LogFile


def test_lines_are_appended(tmp_path: Path) -> None:
    for text in ("first\n", "sécond\n"):
        file = LogFile(tmp_path / "logs" / "part.jsonl")
        assert file.write(text) == len(text)
        file.close()
        assert file.closed
    assert (tmp_path / "logs" / "part.jsonl").read_text(encoding="utf-8") == "first\nsécond\n"


def test_a_full_disk_is_survived() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    file = LogFile(Path("/dev/full"))
    assert file.write("lost\n") == 5
    file.write("lost too\n")
    assert file.dropped == 2
    file.close()
