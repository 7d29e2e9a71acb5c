"""The cheapest HTTP server that Python can be: fixed bytes for every request. Shows what the load generator can reach."""

import asyncio
import sys

import uvloop

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 15\r\n\r\n" + b'{"answer":null}'


class Noop(asyncio.Protocol):
    """Counts the requests in what it receives by their request lines and answers each."""

    def connection_made(self, transport):
        """Remember where answers go."""
        self.transport = transport

    def data_received(self, data):
        """Answer every request that begins in ``data``."""
        self.transport.write(ANSWER * data.count(b" HTTP/1.1\r\n"))


async def main(port):
    """Serve until the process is ended."""
    server = await asyncio.get_running_loop().create_server(Noop, "127.0.0.1", port)
    await server.serve_forever()


with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
    runner.run(main(int(sys.argv[1])))
