"""Python environments of contestants: ours, or a virtual environment of pinned packages outside the repository.

Used by the harness. An environment is named for its requirement file and the hash of its pins, so that a changed pin
makes a new one; a half-made one is made again.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

_INSTALL_TIMEOUT_S = 1800.0


class MissingEnvironmentError(Exception):
    """An environment cannot be made; the message says why."""


def cache_folder() -> Path:
    """Return where environments are kept: `$XDG_CACHE_HOME/gnomon-benchmarks`, or the same below `~/.cache`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gnomon-benchmarks"


@dataclass(frozen=True)
class OurEnvironment:
    """The environment that the harness runs in."""

    def python(self, cache: Path) -> Path:
        """Return the interpreter; the cache is not needed."""
        return Path(sys.executable)


@dataclass(frozen=True)
class PinnedEnvironment:
    """A virtual environment made from a requirement file.

    Attributes:
        requirements: File with exact pins.
    """

    requirements: Path

    def python(self, cache: Path) -> Path:
        """Return the interpreter, after making the environment where it is not there yet.

        Args:
            cache: Folder of environments.

        Raises:
            MissingEnvironmentError: A package cannot be installed, or there is no requirement file.
        """
        try:
            pins = self.requirements.read_bytes()
        except OSError as error:
            raise MissingEnvironmentError(f"{self.requirements} cannot be read: {error.strerror}") from error
        digest = hashlib.sha256(pins + sys.version.encode()).hexdigest()[:12]
        folder = cache / f"{self.requirements.stem}-{digest}"
        python, ready = folder / "bin" / "python", folder / "ready"
        cache.mkdir(parents=True, exist_ok=True)
        with (cache / f"{folder.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not ready.exists():
                shutil.rmtree(folder, ignore_errors=True)
                _run([sys.executable, "-m", "venv", str(folder)])
                _run([str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
                      "--requirement", str(self.requirements)])  # fmt: skip
                ready.touch()
        return python


Environment = OurEnvironment | PinnedEnvironment


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_INSTALL_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MissingEnvironmentError(str(error)) from error
    if done.returncode:
        last_words = [line for line in done.stderr.splitlines() if line.strip()][-2:]
        raise MissingEnvironmentError(" / ".join(last_words) or f"{command[2]} ended with status {done.returncode}")
