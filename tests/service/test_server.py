"""What connections are like."""

import asyncio
import socket

import pytest

from taskodec.service.server import listening


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_answers_are_sent_at_once(host):
    """Nagle's algorithm and a client's delayed acknowledgement would keep the second part back for 40 ms."""
    found = []

    async def connected(reader, writer):
        accepted = writer.get_extra_info("socket")
        found.append(accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        writer.close()

    async def connect(listener):
        async with await asyncio.start_server(connected, sock=listener):
            reader, writer = await asyncio.open_connection(*listener.getsockname()[:2])
            await reader.read()
            writer.close()

    with listening(host, 0) as listener:
        asyncio.run(connect(listener))
    assert [bool(value) for value in found] == [True]
