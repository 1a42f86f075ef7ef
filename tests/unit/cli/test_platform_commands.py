"""Staying in the foreground, with real signals and a real process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from gnomon.cli.platform_commands import stay

_SUPERVISOR = """
import signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
print("ready", flush=True)
while True:
    signal.pause()
"""


@pytest.mark.parametrize("kind", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_reaches_the_supervisor_whose_status_is_returned(kind: signal.Signals) -> None:
    before = signal.getsignal(kind)

    def send() -> None:
        while signal.getsignal(kind) is before:
            time.sleep(0.01)
        time.sleep(0.1)  # both handlers are in place, and the wait has begun
        os.kill(os.getpid(), kind)

    with subprocess.Popen([sys.executable, "-c", _SUPERVISOR], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        sender = threading.Thread(target=send)
        sender.start()
        assert stay(process) == 7
        sender.join()
    assert signal.getsignal(kind) is before
