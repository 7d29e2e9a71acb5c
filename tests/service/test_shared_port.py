"""Tests of service/shared_port.py."""

from __future__ import annotations

import pickle
import socket
import sys
from contextlib import ExitStack

import pytest

from service.shared_port import SharedPort

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="ports are shared evenly on Linux only")
CLIENTS = 200


def test_connections_are_spread_over_those_that_listen() -> None:
    """What a worker gets is another socket on the same port; each has a fair share, not whoever is awake all."""
    with ExitStack() as stack:
        first = stack.enter_context(SharedPort.open(socket.AF_INET, "127.0.0.1", 0))
        second = stack.enter_context(pickle.loads(pickle.dumps(first)))  # our own bytes
        for sock in (first, second):
            sock.listen(CLIENTS)
        for _ in range(CLIENTS):
            stack.enter_context(socket.create_connection(first.getsockname()))
        shares = [_taken(sock, stack) for sock in (first, second)]

    assert sum(shares) == CLIENTS
    assert min(shares) > CLIENTS // 4


def _taken(sock: SharedPort, stack: ExitStack) -> int:
    sock.setblocking(False)
    taken = 0
    try:
        while True:
            stack.enter_context(sock.accept()[0])
            taken += 1
    except BlockingIOError:
        return taken
