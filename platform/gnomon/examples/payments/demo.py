"""The demo: eight weeks of the life of a fraud model, lived through in about two minutes by turning the clock by hand.

`gnomon demo` runs it. Everything is real but the payments, which the simulator makes up: Ray, the online store,
training on two workers, HTTP requests, monitoring and retraining. It prints what happened and stops what it started.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from gnomon.client import Client
from gnomon.contracts.clocks import HandClock
from gnomon.errors import Conflict
from gnomon.examples.payments.story import Story
from gnomon.runtime.local_platform import running_pid, start_platform, stop_platform
from gnomon.settings import load_settings

START = datetime(2026, 1, 5, tzinfo=UTC)
_MARK = ".made-by-gnomon-demo"


def run_demo(home: Path, *, keep: bool) -> None:
    """Run the demo.

    Args:
        home: Folder of the platform and its data; an earlier demo there is removed first.
        keep: Leave the platform running at the end.

    Raises:
        Conflict: The folder holds something that no demo made, or a platform runs in it.
    """
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
    began = time.monotonic()
    home = _fresh(home)
    clock = HandClock(home / "clock", START)
    os.environ |= {"GNOMON_HOME": str(home), "GNOMON_CLOCK_FILE": str(home / "clock")}
    os.environ.setdefault("GNOMON_PORT", "0")
    os.environ.setdefault("GNOMON_POLL_S", "0.2")  # many short operations one after another: do not make them wait
    with _platform(console, keep), Client.connect() as client:
        Story(client, clock, home, START, console).tell()
        console.print(f"\nall of this took {time.monotonic() - began:.0f} s, starting included")
        _where_to_look(console, home, client.url, keep)


@contextmanager
def _platform(console: Console, keep: bool) -> Iterator[None]:
    """Run the platform around the demo; without `keep` it ends with it, however that ends."""
    settings = load_settings()
    start_platform(settings, lambda step: console.print(f"[dim]· {step}[/]"))
    try:
        yield
    finally:
        if not keep:
            stop_platform(settings)
            console.print("[dim]stopped everything that was started[/]")


def _fresh(home: Path) -> Path:
    """Return the folder, empty, as an absolute path."""
    home = home.expanduser().resolve()
    if home.exists():
        if running_pid(home) is not None:
            raise Conflict(f"a platform runs in {home}", f"stop it first: GNOMON_HOME={home} gnomon down")
        if any(home.iterdir()) and not (home / _MARK).exists():
            raise Conflict(f"{home} holds files that no demo made", "choose another folder with --home")
        shutil.rmtree(home)
    home.mkdir(parents=True, mode=0o700)
    (home / _MARK).touch()
    return home


def _where_to_look(console: Console, home: Path, url: str, keep: bool) -> None:
    app_file = home / "payments.py"
    console.print("\n[bold]Where to look[/]")
    console.print(f"  the app file, all that a user wrote: {app_file}")
    console.print(f"  tables (Delta), artifacts, state, logs: {home}")
    console.print("[bold]How to go on[/]")
    prefix = f"GNOMON_HOME={home} GNOMON_CLOCK_FILE={home / 'clock'}"
    if keep:
        console.print(f"  it runs at {url}: export {prefix}; gnomon status --link")
        console.print("  stop it: gnomon down")
    else:
        console.print(f"  export {prefix}; gnomon up; gnomon status")
    console.print("  with data of your own: the tutorial in platform/docs/tutorial.md")
