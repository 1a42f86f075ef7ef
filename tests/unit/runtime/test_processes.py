"""Ports for programs of our own, and an end for whatever they have started."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from gnomon.runtime.processes import free_ports, pid_alive, port_is_free


def test_free_ports_differ_and_lie_below_those_of_outgoing_connections() -> None:
    ports = free_ports(50)
    assert len(set(ports)) == 50
    assert all(20_000 <= port < 32_768 for port in ports)
    assert all(port_is_free(port) for port in ports)


def test_taken_port_is_not_free() -> None:
    (port,) = free_ports(1)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", port))
        listener.listen()
        assert not port_is_free(port)
        assert port not in free_ports(1000)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux hands orphans to who asks for them")
def test_grandchildren_whose_parent_has_ended_are_waited_for_and_then_ended(tmp_path: Path) -> None:
    program = """
import subprocess, sys
from gnomon.runtime.processes import adopt_orphans, end_children
adopt_orphans()
parent = "(trap '' TERM; echo $BASHPID > stays; sleep 600) & (sleep 0.3; echo done > quick) & wait $!; exit"
subprocess.run(["bash", "-c", parent], check=True)  # ends, and leaves the first of its two children behind
end_children(grace_s=float(sys.argv[1]))
"""
    subprocess.run([sys.executable, "-c", program, "1"], cwd=tmp_path, check=True, timeout=60)
    assert (tmp_path / "quick").read_text() == "done\n"
    assert not pid_alive(int((tmp_path / "stays").read_text()))


@pytest.mark.skipif(sys.platform != "linux", reason="children are found in /proc, which only Linux has")
def test_the_spared_child_is_left_alone_when_the_others_are_ended() -> None:
    program = """
import subprocess
from gnomon.runtime.processes import end_children, pid_alive
spared, other = (subprocess.Popen(["sleep", "600"]) for _ in range(2))
end_children(0.0, spared=spared.pid)
print(pid_alive(spared.pid), pid_alive(other.pid))
spared.kill()
spared.wait()
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert ran.stdout == "True False\n"
