"""Tests of `storage.durable_files`."""

import errno
import os
from pathlib import Path

import pytest

from gnomon.errors import Forbidden, OutOfSpace
from gnomon.storage.durable_files import (
    disk_errors,
    make_folder,
    remove_temporary_files,
    temporary,
    write_file,
    write_once,
)


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_name_is_given_once(tmp_path: Path) -> None:
    assert write_once(tmp_path / "a", b"first")
    assert not write_once(tmp_path / "a", b"second")
    assert (tmp_path / "a").read_bytes() == b"first"
    assert _names(tmp_path) == ["a"]


def test_write_file_replaces(tmp_path: Path) -> None:
    write_file(tmp_path / "a", b"first")
    write_file(tmp_path / "a", b"second")
    assert (tmp_path / "a").read_bytes() == b"second"
    assert _names(tmp_path) == ["a"]


def test_folders_are_made_with_those_above(tmp_path: Path) -> None:
    make_folder(tmp_path / "a" / "b" / "c")
    make_folder(tmp_path / "a" / "b" / "c")
    assert (tmp_path / "a" / "b" / "c").is_dir()


@pytest.mark.parametrize("fault", [RuntimeError, KeyboardInterrupt])
def test_an_interrupted_write_leaves_nothing(tmp_path: Path, fault: type[BaseException]) -> None:
    def interrupted() -> None:
        with temporary(tmp_path / "a") as temp:
            temp.write_bytes(b"half")
            raise fault

    with pytest.raises(fault):
        interrupted()
    assert _names(tmp_path) == []


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (errno.ENOSPC, OutOfSpace), (errno.EDQUOT, OutOfSpace),
        (errno.EACCES, Forbidden), (errno.EROFS, Forbidden), (errno.EIO, OSError),
    ],
)  # fmt: skip
def test_system_errors_say_what_to_do(tmp_path: Path, number: int, expected: type[Exception]) -> None:
    with pytest.raises(expected, match=str(tmp_path)), disk_errors(tmp_path):
        raise OSError(number, os.strerror(number), str(tmp_path))


def test_only_old_temporary_files_are_removed(tmp_path: Path) -> None:
    for name, age_s in ((".old.tmp", 100), (".young.tmp", 0), ("kept.tmp", 100), (".kept", 100)):
        (tmp_path / name).write_bytes(b"")
        now_s = (tmp_path / name).stat().st_mtime
        os.utime(tmp_path / name, (now_s - age_s, now_s - age_s))
    assert remove_temporary_files(tmp_path, older_than_s=50) == 1
    assert _names(tmp_path) == [".kept", ".young.tmp", "kept.tmp"]
