"""What the supervisor's process leaves in the log of a home in which a platform runs already."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path


def test_a_refused_second_start_writes_nothing_into_the_running_platforms_log(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    log = tmp_path / "logs" / "supervisor.jsonl"
    with (tmp_path / "run" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        ended = subprocess.run(
            [sys.executable, "-m", "gnomon.cli.supervise"], env={**os.environ, "GNOMON_HOME": str(tmp_path)},
            capture_output=True, text=True, timeout=120,
        )  # fmt: skip
    assert ended.returncode == 2
    assert json.loads(ended.stdout)["error"]["code"] == "conflict"
    assert log.read_text() == ""
