"""Ports for programs of our own."""

from __future__ import annotations

import socket

from gnomon.runtime.processes import free_ports, port_is_free


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
