"""The state database under SIGKILL, a power cut and a full disk: everything acknowledged is there, and it opens."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import text

from gnomon.contracts.clocks import SystemClock
from gnomon.errors import OutOfSpace
from gnomon.governance.audit_trail import SqlAuditTrail
from gnomon.storage.sql import open_database, sqlite_url, transaction
from gnomon.storage.sql_operations import SqlOperations
from gnomon.testing.postgresql_server import find_postgresql, postgresql_server

pytestmark = pytest.mark.failure

WRITER = """
import sys
from gnomon.contracts.clocks import SystemClock
from gnomon.governance.audit_trail import SqlAuditTrail
from gnomon.storage.sql import open_database
from gnomon.storage.sql_operations import SqlOperations

engine = open_database(sys.argv[1])
operations, trail = SqlOperations(engine, SystemClock()), SqlAuditTrail(engine, SystemClock())
while True:
    made = operations.submit("train", "fraud", {"text": "x" * 500}, actor="writer")
    operations.lease(made.id, 0)
    operations.finish(made.id, 1, result={"of": made.id})
    print(made.id, trail.record("writer", "end", made.id, {}).number, flush=True)
"""
KILLS = 20


@contextmanager
def writer(url: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen([sys.executable, "-c", WRITER, url], stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def run_and_kill(url: str, after_s: float) -> list[tuple[str, int]]:
    """Let a writer write for a while after its first acknowledgement, kill it, and return what it acknowledged."""
    with writer(url) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        time.sleep(after_s)
        process.send_signal(signal.SIGKILL)
        rest = process.stdout.read()
    lines = [line.split() for line in (first + rest).splitlines(keepends=True) if line.endswith("\n")]
    return [(identity, int(number)) for identity, number in lines]


def check(url: str, acknowledged: list[tuple[str, int]]) -> None:
    engine = open_database(url)
    operations, trail = SqlOperations(engine, SystemClock()), SqlAuditTrail(engine, SystemClock())
    stored = {o.id: o for o in operations.list(limit=1_000_000)}
    for identity, _ in acknowledged:
        assert stored[identity].state == "succeeded"
        assert stored[identity].result == {"of": identity}
    targets = {e.number: e.target for e in trail.entries(limit=1_000_000)}
    assert all(targets[number] == identity for identity, number in acknowledged)
    assert trail.verify() >= len(acknowledged)
    if engine.dialect.name == "sqlite":
        with transaction(engine) as connection:
            assert connection.execute(text("PRAGMA integrity_check")).scalar() == "ok"
    engine.dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield sqlite_url(tmp_path / "state.db")
        return
    programs = find_postgresql()
    if programs is None:
        pytest.skip("PostgreSQL is not installed (Debian's package `postgresql`)")
    with postgresql_server(programs) as url:
        yield url


def test_killed_writers_lose_nothing_acknowledged(database_url: str) -> None:
    moments = random.Random(20260301)
    acknowledged: list[tuple[str, int]] = []
    for _ in range(KILLS):
        acknowledged += run_and_kill(database_url, moments.uniform(0, 0.25))
        check(database_url, acknowledged)
    assert len(acknowledged) >= KILLS


@contextmanager
def mounted(*arguments: str, at: Path) -> Iterator[Path]:
    at.mkdir(exist_ok=True)
    done = subprocess.run(["mount", *arguments, str(at)], check=False, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"this user may not mount {arguments[1]}: {done.stderr.strip()}")
    try:
        yield at
    finally:
        subprocess.run(["umount", "--lazy", str(at)], check=True)  # a failed test may hold a file open


def test_power_cut_loses_nothing_acknowledged(tmp_path: Path) -> None:
    """The image of the disk is copied while the writer stands still: what is only in memory is not in the copy."""
    image, copy = tmp_path / "disk.img", tmp_path / "copy.img"
    with image.open("wb") as file:
        file.truncate(64 << 20)
    if shutil.which("mkfs.ext4") is None:
        pytest.skip("mkfs.ext4 is not installed (Debian's package `e2fsprogs`)")
    subprocess.run(["mkfs.ext4", "-q", "-F", str(image)], check=True)
    for after_s in (0.0, 0.3, 1.0):
        with mounted("-o", "loop", str(image), at=tmp_path / "disk") as disk:
            url = sqlite_url(disk / f"home-{after_s}" / "state" / "state.db")
            with writer(url) as process:
                assert process.stdout is not None
                first = process.stdout.readline()
                time.sleep(after_s)
                process.send_signal(signal.SIGSTOP)
                shutil.copyfile(image, copy)
                process.send_signal(signal.SIGKILL)
                lines = (first + process.stdout.read()).splitlines()
        acknowledged = [(identity, int(number)) for identity, number in map(str.split, lines)]
        with mounted("-o", "loop", str(copy), at=tmp_path / "recovered") as recovered:
            check(sqlite_url(recovered / f"home-{after_s}" / "state" / "state.db"), acknowledged)


def fill(operations: SqlOperations, acknowledged: list[str]) -> None:
    while len(acknowledged) < 1000:
        acknowledged.append(operations.submit("train", "fraud", {"text": "x" * 20_000}, actor="ann").id)


def test_full_disk_refuses_and_keeps_what_it_has(tmp_path: Path) -> None:
    with mounted("-t", "tmpfs", "-o", "size=4m", "none", at=tmp_path / "small") as small:
        url = sqlite_url(small / "state.db")
        ballast = small / "ballast"
        ballast.write_bytes(os.urandom(1 << 20))
        engine = open_database(url)
        operations = SqlOperations(engine, SystemClock())
        acknowledged: list[str] = []
        with pytest.raises(OutOfSpace, match="full"):
            fill(operations, acknowledged)
        assert len(acknowledged) > 10
        assert [o.id for o in operations.list(limit=2000)] == acknowledged[::-1]
        ballast.unlink()
        acknowledged.append(operations.submit("train", "fraud", {}, actor="ann").id)
        engine.dispose()
        again = open_database(url)
        assert [o.id for o in SqlOperations(again, SystemClock()).list(limit=2000)] == acknowledged[::-1]
        again.dispose()
