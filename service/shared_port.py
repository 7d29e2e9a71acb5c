"""One port for several worker processes, each with a listening socket of its own."""

from __future__ import annotations

import socket
from typing import Any

import uvicorn
from uvicorn.supervisors import Multiprocess


class SharedPort(socket.socket):
    """A bound address. Sent to a worker process it opens there anew, so that each worker has its own queue of connections.

    Where workers take connections from one queue, whoever is awake takes them all, and they stay with it as long as
    clients keep them: of 16 clients at once often all were one worker's, and the other core did nothing. With a queue for
    each, Linux spreads connections by a hash of their addresses.
    """

    @classmethod
    def open(cls, family: int, host: str, port: int) -> SharedPort:
        """Bind, together with others that do the same. The socket does not listen yet."""
        sock = cls(family)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind((host, port))
        sock.set_inheritable(True)
        return sock

    def __reduce__(self) -> tuple[Any, ...]:
        host, port, *_ = self.getsockname()
        return SharedPort.open, (int(self.family), host, port)


def run_workers(config: uvicorn.Config) -> None:
    """Run as many worker processes as ``config`` says until they are told to end."""
    with config.bind_socket() as sock:  # alone: fails where another program has the port, which a shared one would not
        host, port, *_ = sock.getsockname()
        family = sock.family
    with SharedPort.open(family, host, port) as shared:
        Multiprocess(config, sockets=[shared]).run()
