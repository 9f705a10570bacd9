"""A client over QUIC on the `aioquic` library; talks to itself and to the WebSocket client. Argument: the product's
ready line."""

import asyncio
import json
import sys

from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ConnectionTerminated, DatagramFrameReceived, StreamDataReceived

import ws_client
from journey import two_people_talk
from wire import Closed, Session, decode, encode

CONTROL = 0


def length(n):
    """A QUIC variable-length integer (RFC 9000, section 16), shortest form."""
    if n < 1 << 6:
        return n.to_bytes(1, "big")
    if n < 1 << 14:
        return (n | 1 << 14).to_bytes(2, "big")
    return (n | 2 << 30).to_bytes(4, "big")


class Quic(QuicConnectionProtocol):
    """Frames behind their lengths on the control stream; deliveries on the relay's streams."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.buffers, self.frames = {}, asyncio.Queue()

    def quic_event_received(self, event):
        if isinstance(event, StreamDataReceived):
            # Bidirectional streams of the client end in 0, unidirectional ones of the server in 3.
            assert event.stream_id == CONTROL or event.stream_id % 4 == 3, event.stream_id
            buffer = self.buffers.setdefault(event.stream_id, bytearray())
            buffer += event.data
            self.split(buffer, event.stream_id)
        elif isinstance(event, DatagramFrameReceived):
            self.frames.put_nowait(decode("ServerFrame", event.data))
        elif isinstance(event, ConnectionTerminated):
            self.frames.put_nowait(Closed(event.error_code, event.reason_phrase))

    def split(self, buffer, stream):
        while buffer:
            prefix = 1 << (buffer[0] >> 6)
            if len(buffer) < prefix:
                return
            size = int.from_bytes(buffer[:prefix], "big") & ((1 << 8 * prefix - 2) - 1)
            assert len(length(size)) == prefix, "the shortest form"
            if len(buffer) < prefix + size:
                return
            frame = decode("ServerFrame", bytes(buffer[prefix:prefix + size]))
            assert stream != CONTROL or "delivery" not in frame, "deliveries have their own streams"
            self.frames.put_nowait(frame)
            del buffer[:prefix + size]

    async def send_bytes(self, data):
        self._quic.send_stream_data(CONTROL, data)
        self.transmit()

    async def send(self, frame):
        data = encode("ClientFrame", frame)
        await self.send_bytes(length(len(data)) + data)

    async def send_garbage(self):
        await self.send_bytes(length(2) + b"\x0f\xff")

    async def receive(self):
        frame = await self.frames.get()
        if isinstance(frame, Closed):
            raise frame
        return frame


# Contexts of open connections; they end with the program.
open_connections = []


async def quic(ready):
    host, port = ready["relay_quic"].rsplit(":", 1)
    configuration = QuicConfiguration(
        is_client=True, alpn_protocols=["relay/1"], cafile=ready["ca"], max_datagram_frame_size=65536
    )
    context = connect(host, int(port), configuration=configuration, create_protocol=Quic)
    protocol = await context.__aenter__()
    open_connections.append(context)
    assert protocol._quic.get_next_available_stream_id() == CONTROL
    return protocol


async def violations(ready):
    for data, code, name in (
        (b"\x00", 4500, "PROTOCOL_ERROR"),
        (b"\x40\x01\x00", 4500, "PROTOCOL_ERROR"),
        (length(98_305), 4501, "FRAME_TOO_LARGE"),
    ):
        transport = await quic(ready)
        await transport.send_bytes(data)
        assert await Session(transport).closed() == (code, name), data


async def main(ready):
    await two_people_talk(ready, quic, quic)
    await two_people_talk(ready, quic, ws_client.proto)
    await two_people_talk(ready, ws_client.as_json, quic)
    await violations(ready)


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
