"""`gnomon demo`, whole: it tells its story, stays within its memory, and leaves no process and no open port."""

from __future__ import annotations

import subprocess
import threading
import time
from pathlib import Path

import pytest
from tests.local_platform import BIN, LocalPlatform

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1800)]

MOST_BYTES = 3_000_000_000


def proportional_bytes(pids: list[int]) -> int:
    """Return the memory of processes, pages that several share counted once between them."""
    total = 0
    for pid in pids:
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue  # ended meanwhile
        total += sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
    return total


def all_processes() -> dict[tuple[int, int], int]:
    """Return all processes as (id, start time), which no later process shares, with their parents' ids."""
    found = {}
    for folder in Path("/proc").iterdir():
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split() if folder.name.isdigit() else []
        except (FileNotFoundError, ProcessLookupError):
            continue
        if fields and fields[0] != "Z":
            found[int(folder.name), int(fields[19])] = int(fields[1])
    return found


def descendants(root: int) -> set[tuple[int, int]]:
    """Return all processes below one, itself left out."""
    parents = all_processes()
    found, grown = {root}, True
    while grown:
        more = {pid for (pid, _), parent in parents.items() if parent in found} - found
        grown = bool(more)
        found |= more
    return {key for key in parents if key[0] in found and key[0] != root}


def listening() -> dict[int, int]:
    """Return all TCP sockets that listen, on IPv4 and IPv6, as their inode (no two live sockets share one) and port."""
    found = {}
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        rows = [line.split() for line in Path(table).read_text().splitlines()[1:]]
        found.update({int(row[9]): int(row[1].rpartition(":")[2], 16) for row in rows if row[3] == "0A"})
    return found


def listening_sockets_of(pids: list[int]) -> dict[int, int]:
    """Return the TCP sockets on which these processes listen, as inode and port."""
    inodes = set()
    for pid in pids:
        try:
            links = [str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir()]
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        inodes |= {int(link[8:-1]) for link in links if link.startswith("socket:[")}
    return {inode: port for inode, port in listening().items() if inode in inodes}


def test_demo(tmp_path: Path) -> None:
    home = tmp_path / "demo"
    world = LocalPlatform(home)
    home.rmdir()
    environment = {**world.environment, "HOME": str(tmp_path)}
    environment.pop("GNOMON_HOME")
    began = time.monotonic()
    demo = subprocess.Popen(
        [str(BIN / "gnomon"), "demo", "--home", str(home)], cwd=tmp_path, env=environment,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    peak, sockets, seen, over = [0], dict[int, int](), set[tuple[int, int]](), threading.Event()

    def watch() -> None:
        while not over.wait(0.5):
            tree = descendants(demo.pid)
            seen.update(tree)
            pids = [pid for pid, _ in tree]
            peak[0] = max(peak[0], proportional_bytes([demo.pid, *pids]))
            sockets.update(listening_sockets_of(pids))

    watcher = threading.Thread(target=watch)
    watcher.start()
    output, _ = demo.communicate(timeout=1700)
    over.set()
    watcher.join()
    print(output)
    took_s = time.monotonic() - began
    print(f"demo: {took_s:.0f} s, peak memory {peak[0] / 1e9:.2f} GB, {len(sockets)} ports while running")

    assert demo.returncode == 0, output
    for phrase in ("ROC AUC", "the control plane retrained", "not promoted", "promoted:", "serves", "Where to look"):
        assert phrase in output
    assert peak[0] <= MOST_BYTES, f"{peak[0] / 1e9:.2f} GB"
    assert len(seen) > 10, "the watcher saw the platform's processes"
    left = {key: Path(f"/proc/{key[0]}/cmdline").read_text() for key in seen & set(all_processes())}
    assert not left, "processes that the demo left"
    assert world.processes() == []
    assert sockets, "the watcher saw the platform's ports"
    open_still = {inode: port for inode, port in sockets.items() if inode in listening()}
    assert not open_still, "sockets that listen still, by inode and port"
