"""A real platform for tests: started by `gnomon up` in a home of its own, stopped by `gnomon down`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gnomon.client import Client
from gnomon.runtime.platform_record import PlatformRecord, read_record

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent


class LocalPlatform:
    """A platform in a home.

    Args:
        home: Its home; also HOME of every command, so that nothing of the person who runs the tests is touched.
        variables: Further environment.
    """

    def __init__(self, home: Path, variables: Mapping[str, str] | None = None) -> None:
        self.home = home
        home.mkdir(parents=True, exist_ok=True)
        inherited = {n: v for n, v in os.environ.items() if not n.startswith(("RAY_", "GNOMON_"))}
        inherited.pop("PYTHONDONTWRITEBYTECODE", None)
        self.environment = {
            **inherited, "HOME": str(home), "GNOMON_HOME": str(home), "GNOMON_PORT": "0", "GNOMON_DASHBOARD_PORT": "0",
            "PATH": f"{BIN}{os.pathsep}{inherited['PATH']}", **(variables or {}),
        }  # fmt: skip

    def run(
        self, *command: str, timeout_s: float = 300.0, folder: Path | None = None
    ) -> subprocess.CompletedProcess[str]:  # fmt: skip
        """Run `gnomon` with arguments; return its status and output."""
        return self.program("gnomon", *command, timeout_s=timeout_s, folder=folder)

    def program(
        self, name: str, *arguments: str, timeout_s: float = 300.0, folder: Path | None = None,
        variables: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:  # fmt: skip
        """Run a program of the environment's `bin`."""
        return subprocess.run(
            [str(BIN / name), *arguments], env={**self.environment, **(variables or {})}, cwd=folder or self.home,
            capture_output=True, text=True, timeout=timeout_s, check=False,
        )  # fmt: skip

    def done(self, *command: str, **options: Any) -> str:
        """Run `gnomon`, require success, return its standard output."""
        finished = self.run(*command, **options)
        assert finished.returncode == 0, f"gnomon {' '.join(command)}: {finished.stderr}\n{finished.stdout}"
        return finished.stdout

    def json(self, *command: str, **options: Any) -> Any:
        """Run `gnomon … --output json`, require success, return the parsed answer."""
        return json.loads(self.done(*command, "--output", "json", **options))

    def up(self) -> None:
        """Start it."""
        self.done("up", timeout_s=600)

    def down(self) -> None:
        """Stop it."""
        self.done("down", timeout_s=120)

    def record(self) -> PlatformRecord:
        """Return where it is."""
        return read_record(self.home)

    def client(self) -> Client:
        """Return a connected client."""
        return Client(self.record().url, (self.home / "token").read_text().strip())

    def processes(self) -> list[int]:
        """Return the ids of all processes that run for this home: those whose environment names it."""
        marker = f"GNOMON_HOME={self.home}".encode()
        found = []
        for folder in Path("/proc").iterdir():
            if not folder.name.isdigit():
                continue
            try:
                if marker in (folder / "environ").read_bytes().split(b"\0"):
                    found.append(int(folder.name))
            except (PermissionError, FileNotFoundError, ProcessLookupError):
                continue  # not ours, or gone meanwhile
        return found
