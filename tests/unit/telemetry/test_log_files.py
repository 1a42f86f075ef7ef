"""A log file is renamed when it is full, by whichever process finds it so; on a full disk it drops lines."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest

from gnomon.telemetry.log_files import KEPT, LogFile, generations

LIMIT_BYTES = 1000


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


def numbered(numbers: range, of: str = "") -> list[str]:
    return [f"{of}line {number:05}\n" for number in numbers]


def kept_lines(path: Path) -> list[str]:
    """Return the lines of all generations, oldest first."""
    files = [file for file in generations(path) if file.exists()]
    assert all(file.stat().st_size <= LIMIT_BYTES for file in files)
    return [line for file in files[::-1] for line in file.read_text().splitlines(keepends=True)]


def test_a_full_file_is_renamed_and_the_oldest_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "part.jsonl"
    file = LogFile(path, LIMIT_BYTES)
    written = numbered(range(1000))
    for line in written:
        file.write(line)
    file.close()
    kept = kept_lines(path)
    assert kept == written[-len(kept) :]
    assert len("".join(kept)) > KEPT * (LIMIT_BYTES - len(written[0]))
    assert len(list(tmp_path.iterdir())) == 1 + KEPT


def test_a_line_larger_than_a_file_is_kept_whole(tmp_path: Path) -> None:
    file = LogFile(tmp_path / "part.jsonl", LIMIT_BYTES)
    long = "x" * (3 * LIMIT_BYTES) + "\n"
    for text in ("short\n", long, "after\n"):
        file.write(text)
    file.close()
    assert [f.read_text() for f in generations(file.path) if f.exists()] == ["after\n", long, "short\n"]


def test_a_writer_follows_a_file_that_was_renamed_or_removed(tmp_path: Path) -> None:
    one, other = (LogFile(tmp_path / "part.jsonl", LIMIT_BYTES) for _ in range(2))
    long = "x" * LIMIT_BYTES
    for file, text in ((one, "first\n"), (one, long), (other, "second\n")):
        file.write(text)
    assert [f.read_text() for f in generations(one.path) if f.exists()] == ["second\n", long, "first\n"]
    one.path.unlink()
    other.write("third\n")
    assert one.path.read_text() == "third\n"
    one.close()
    other.close()


def test_a_folder_that_takes_no_new_file_loses_no_line(tmp_path: Path) -> None:
    file = LogFile(tmp_path / "part.jsonl", LIMIT_BYTES)
    for generation in list(generations(file.path))[1:]:
        (generation / "in the way").mkdir(parents=True)  # a folder that is not empty cannot be replaced
    written = numbered(range(200))
    for line in written:
        file.write(line)
    assert file.dropped == 0
    file.close()
    assert file.path.read_text() == "".join(written)


def _write_many(path: Path, of: str, lines: int) -> None:
    file = LogFile(path, 10 * LIMIT_BYTES)
    for line in numbered(range(lines), of):
        file.write(line)
    file.close()


def test_processes_that_share_a_file_lose_and_tear_no_line(tmp_path: Path) -> None:
    path, lines = tmp_path / "part.jsonl", 500
    names = ["a ", "b ", "c "]
    spawning = multiprocessing.get_context("spawn")
    writers = [spawning.Process(target=_write_many, args=(path, name, lines)) for name in names]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    found = [line for file in generations(path) if file.exists() for line in file.read_text().splitlines(keepends=True)]
    assert sorted(found) == sorted(line for name in names for line in numbered(range(lines), name))
    assert path.with_name("part.jsonl.1").exists()
