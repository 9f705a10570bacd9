"""A client over TLS WebSocket on the `websockets` library, in both subprotocols. Argument: the product's ready line."""

import asyncio
import json
import ssl
import sys

import websockets

from journey import two_people_talk
from wire import Closed, decode, encode, from_json, to_json


class WebSocket:
    """Frames as messages of one subprotocol."""

    def __init__(self, socket, is_json):
        self.socket, self.is_json = socket, is_json

    @classmethod
    async def connect(cls, ready, subprotocol="relay.v1.proto"):
        trust = ssl.create_default_context(cafile=ready["ca"])
        offered = [subprotocol] if subprotocol else None
        socket = await websockets.connect(
            ready["relay_wss"], ssl=trust, subprotocols=offered, compression=None, max_size=None
        )
        assert socket.subprotocol == subprotocol, socket.subprotocol
        return cls(socket, subprotocol == "relay.v1.json")

    async def send(self, frame):
        if self.is_json:
            await self.socket.send(json.dumps(to_json("ClientFrame", frame)))
        else:
            await self.socket.send(encode("ClientFrame", frame))

    async def send_garbage(self):
        await self.socket.send("[1, 2" if self.is_json else b"\x0f\xff")

    async def receive(self):
        try:
            message = await self.socket.recv()
        except websockets.ConnectionClosed as end:
            raise Closed(end.rcvd.code if end.rcvd else None, end.rcvd.reason if end.rcvd else "") from None
        if self.is_json:
            assert isinstance(message, str)
            return from_json("ServerFrame", json.loads(message))
        assert isinstance(message, bytes)
        return decode("ServerFrame", message)

    def close(self):
        self.closing = asyncio.ensure_future(self.socket.close())


def proto(ready):
    return WebSocket.connect(ready, "relay.v1.proto")


def as_json(ready):
    return WebSocket.connect(ready, "relay.v1.json")


def unnamed(ready):
    return WebSocket.connect(ready, None)


async def refused_upgrades(ready):
    trust = ssl.create_default_context(cafile=ready["ca"])
    for url, offered, status in (
        (ready["relay_wss"] + "/other", None, 404),
        (ready["relay_wss"], ["chat"], 400),
    ):
        try:
            await websockets.connect(url, ssl=trust, subprotocols=offered)
        except websockets.InvalidStatus as no:
            assert no.response.status_code == status, no
        else:
            raise AssertionError(f"{url} was not refused")


async def main(ready):
    await two_people_talk(ready, proto, as_json)
    await two_people_talk(ready, as_json, unnamed)
    await refused_upgrades(ready)


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
