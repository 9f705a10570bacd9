"""Wire protocol version 1 as wire.md and the .proto files tell it: a hand-written protobuf codec for the fields that
these clients use, the JSON mapping, refusal and close codes by number, and a session on top of any transport."""

import asyncio
import base64
import http.client
import json
import os

PATIENCE = 30

# Message -> field number -> (name, kind). Kinds: u (varint), b (bytes), s (string), or a message; * repeats.
SCHEMA = {
    "ClientFrame": {1: ("request", "u64"), 2: ("hello", "Hello"), 3: ("publish", "Publish"),
                    4: ("subscribe", "Subscribe"), 5: ("unsubscribe", "Unsubscribe"), 6: ("recover", "Recover"),
                    7: ("cursor", "Cursor"), 8: ("typing", "Typing"), 9: ("presence", "Presence"),
                    10: ("watch", "Watch"), 11: ("ring", "Ring"), 12: ("refresh", "Refresh"), 13: ("ping", "Ping"),
                    14: ("signal", "Signal")},
    "Hello": {1: ("versions", "*u32"), 2: ("capabilities", "*s"), 3: ("token", "s"), 4: ("device", "b"),
              5: ("user_position", "Position"), 6: ("resume", "*Resume"), 7: ("agent", "s")},
    "Position": {1: ("generation", "u32"), 2: ("offset", "u64")},
    "Resume": {1: ("conversation", "b"), 2: ("after", "Position")},
    "Publish": {1: ("conversation", "b"), 2: ("publish_key", "b"), 3: ("kind", "u32"), 4: ("relates_to", "u64"),
                5: ("expires_in", "u32"), 6: ("expected_epoch", "u64"), 7: ("notify", "u32"), 9: ("body", "b")},
    "Subscribe": {1: ("conversation", "b"), 2: ("after", "Position")},
    "Unsubscribe": {1: ("conversation", "b")},
    "Recover": {1: ("conversation", "b"), 2: ("from", "u64"), 3: ("limit", "u32"), 4: ("backwards", "bool")},
    "Cursor": {1: ("conversation", "b"), 2: ("offset", "u64"), 3: ("share", "bool")},
    "Typing": {1: ("conversation", "b"), 2: ("active", "bool")},
    "Presence": {1: ("state", "u32")},
    "Watch": {1: ("conversations", "*b"), 2: ("users", "*b")},
    "Ring": {1: ("conversation", "b"), 2: ("publish_key", "b"), 3: ("body", "b")},
    "Refresh": {1: ("token", "s")},
    "Ping": {1: ("payload", "b")},
    "Signal": {1: ("conversation", "b"), 2: ("body", "b")},
    "ServerFrame": {1: ("answers", "u64"), 2: ("welcome", "Welcome"), 3: ("publish_ack", "PublishAck"),
                    4: ("delivery", "Delivery"), 5: ("gone", "Gone"), 6: ("rewound", "Rewound"),
                    7: ("user_event", "UserEvent"), 8: ("subscribed", "Subscribed"),
                    9: ("unsubscribed", "Unsubscribed"), 10: ("history_page", "HistoryPage"),
                    11: ("cursor_event", "CursorEvent"), 12: ("typing_event", "TypingEvent"),
                    13: ("presence_event", "PresenceEvent"), 14: ("refreshed", "Refreshed"),
                    15: ("notice", "Notice"), 16: ("refusal", "Refusal"), 17: ("done", "Empty"), 18: ("pong", "Ping"),
                    19: ("signal_event", "SignalEvent")},
    "Welcome": {1: ("version", "u32"), 2: ("capabilities", "*s"), 3: ("user", "b"), 4: ("device", "b"),
                5: ("generation", "u32"), 6: ("user_head", "u64"), 7: ("now", "u64"),
                8: ("token_expires_at", "u64"), 9: ("limits", "Limits")},
    "Limits": {1: ("max_frame", "u32"), 2: ("max_body", "u32"), 3: ("max_subscriptions", "u32"),
               4: ("max_page", "u32"), 5: ("publish_limit", "u32"), 6: ("publish_window_s", "u32")},
    "PublishAck": {1: ("conversation", "b"), 2: ("publish_key", "b"), 3: ("generation", "u32"),
                   4: ("offset", "u64"), 5: ("at", "u64"), 6: ("duplicate", "bool")},
    "Delivery": {1: ("conversation", "b"), 2: ("generation", "u32"), 3: ("offset", "u64"), 4: ("kind", "u32"),
                 5: ("sender", "b"), 6: ("device", "b"), 7: ("at", "u64"), 8: ("relates_to", "u64"),
                 9: ("expires_at", "u64"), 10: ("stamp", "b"), 11: ("body", "b"), 12: ("publish_key", "b")},
    "Gone": {1: ("conversation", "b"), 2: ("generation", "u32"), 3: ("from", "u64"), 4: ("to", "u64"),
             5: ("reason", "enum")},
    "Rewound": {1: ("conversation", "b"), 2: ("generation", "u32"), 3: ("head", "u64")},
    "UserEvent": {1: ("offset", "u64"), 2: ("generation", "u32"), 3: ("at", "u64")},
    "Subscribed": {1: ("conversation", "b"), 2: ("generation", "u32"), 3: ("head", "u64"), 4: ("first", "u64"),
                   5: ("epoch", "u64"), 6: ("cursor", "u64")},
    "Unsubscribed": {1: ("conversation", "b"), 2: ("code", "u32")},
    "HistoryPage": {1: ("conversation", "b"), 2: ("generation", "u32"), 3: ("items", "*HistoryItem"),
                    4: ("head", "u64"), 5: ("next", "u64")},
    "HistoryItem": {1: ("delivery", "Delivery"), 2: ("gone", "Gone")},
    "CursorEvent": {1: ("conversation", "b"), 2: ("user", "b"), 3: ("offset", "u64"), 4: ("count", "u32")},
    "TypingEvent": {1: ("conversation", "b"), 2: ("user", "b"), 3: ("active", "bool"), 4: ("count", "u32")},
    "PresenceEvent": {1: ("user", "b"), 2: ("state", "enum"), 3: ("seen_at", "u64")},
    "SignalEvent": {1: ("conversation", "b"), 2: ("sender", "b"), 3: ("device", "b"), 4: ("body", "b")},
    "Refreshed": {1: ("token_expires_at", "u64")},
    "Notice": {1: ("draining", "Draining"), 2: ("warning", "Empty")},
    "Draining": {1: ("reconnect_after_ms", "u32"), 2: ("alternate", "s")},
    "Refusal": {1: ("code", "u32"), 2: ("message", "s"), 3: ("retry_after_ms", "u32"), 4: ("conversation", "b"),
                5: ("publish_key", "b"), 6: ("head", "u64")},
    "Empty": {},
}
VARINTS = ("u32", "u64", "bool", "enum")
GONE_REASONS = {"GONE_REASON_DELETED": 1, "GONE_REASON_EXPIRED": 2, "GONE_REASON_ERASED": 3, "GONE_REASON_NOT_MEMBER": 4}


def varint(n):
    out = bytearray()
    while n > 0x7F:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)


def read_varint(data, at):
    n = shift = 0
    while True:
        byte = data[at]
        at += 1
        n |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return n, at


def encode(message, value):
    """Protobuf bytes of a dict."""
    out = bytearray()
    for number, (name, kind) in SCHEMA[message].items():
        if name not in value:
            continue
        each = value[name] if kind.startswith("*") else [value[name]]
        kind = kind.lstrip("*")
        for item in each:
            if kind in VARINTS:
                out += varint(number << 3) + varint(int(item))
                continue
            data = item.encode() if kind == "s" else item if kind == "b" else encode(kind, item)
            out += varint(number << 3 | 2) + varint(len(data)) + data
    return bytes(out)


def decode(message, data):
    """A dict from protobuf bytes; absent fields have proto3's defaults, unknown ones are passed over."""
    value = {}
    for name, kind in SCHEMA[message].values():
        if kind.startswith("*"):
            value[name] = []
        elif kind in VARINTS:
            value[name] = 0
        elif kind in "bs":
            value[name] = b"" if kind == "b" else ""
    at = 0
    while at < len(data):
        tag, at = read_varint(data, at)
        number, wire_type = tag >> 3, tag & 7
        if wire_type == 0:
            item, at = read_varint(data, at)
        elif wire_type == 2:
            length, at = read_varint(data, at)
            item, at = data[at:at + length], at + length
        else:
            item, at = None, at + (8 if wire_type == 1 else 4)
        if number not in SCHEMA[message]:
            continue
        name, kind = SCHEMA[message][number]
        repeats, kind = kind.startswith("*"), kind.lstrip("*")
        if kind == "s":
            item = item.decode()
        elif kind not in VARINTS and kind != "b":
            item = decode(kind, item)
        if repeats:
            value[name].append(item)
        else:
            value[name] = item
    return value


def camel(name):
    first, *rest = name.split("_")
    return first + "".join(part.title() for part in rest)


def to_json(message, value):
    """The protobuf JSON mapping of a dict."""
    out = {}
    for name, kind in SCHEMA[message].values():
        if name not in value:
            continue
        bare = kind.lstrip("*")

        def one(item):
            if bare == "b":
                return base64.b64encode(item).decode()
            if bare == "u64":
                return str(item)
            return item if bare in VARINTS or bare == "s" else to_json(bare, item)

        out[camel(name)] = [one(i) for i in value[name]] if kind.startswith("*") else one(value[name])
    return out


def from_json(message, given):
    """A dict like `decode` gives from the JSON mapping."""
    value = decode(message, b"")
    names = {camel(name): (name, kind) for name, kind in SCHEMA[message].values()}
    for key, item in given.items():
        if key not in names:
            continue
        name, kind = names[key]
        bare = kind.lstrip("*")

        def one(item):
            if bare == "b":
                return base64.b64decode(item)
            if bare == "enum":
                return GONE_REASONS.get(item, item)
            return int(item) if bare in VARINTS else item if bare == "s" else from_json(bare, item)

        value[name] = [one(i) for i in item] if kind.startswith("*") else one(item)
    return value


class Closed(Exception):
    """The relay ended the connection."""

    def __init__(self, code, reason):
        super().__init__(f"{code} {reason}")
        self.code, self.reason = code, reason


class Refused(Exception):
    """The answer was a refusal."""

    def __init__(self, refusal):
        super().__init__(f"{refusal['code']} {refusal['message']}")
        self.code, self.refusal = refusal["code"], refusal


def body_of(frame):
    """Name and value of a ServerFrame's body; `None` for one this client does not know."""
    for name, value in frame.items():
        if name != "answers":
            return name, value
    return None, None


class Session:
    """Requests and answers over a transport that has `send(frame)`, `send_bytes(bytes)`, `receive()` and `close()`."""

    def __init__(self, transport):
        self.transport, self.requests, self.unasked, self.welcome = transport, 0, [], None

    async def hello(self, token, resume=(), versions=(1,), **more):
        hello = {"versions": list(versions), "token": token, "agent": "python", **more}
        hello["resume"] = [{"conversation": c, "after": {"generation": 1, "offset": o}} for c, o in resume]
        self.welcome = await self.ask("hello", hello)
        return self.welcome

    async def send(self, name, value):
        self.requests += 1
        await self.transport.send({"request": self.requests, name: value})
        return self.requests

    async def receive(self):
        return await asyncio.wait_for(self.transport.receive(), PATIENCE)

    async def ask(self, name, value):
        request = await self.send(name, value)
        while True:
            frame = await self.receive()
            if frame["answers"] != request:
                self.unasked.append(frame)
                continue
            kind, body = body_of(frame)
            if kind == "refusal":
                raise Refused(body)
            return body

    async def next(self, *kinds):
        """The next frame of these kinds, with its `answers`; others are passed over."""
        while True:
            frame = self.unasked.pop(0) if self.unasked else await self.receive()
            kind, body = body_of(frame)
            if kind in kinds:
                return {"kind_of_frame": kind, "answers": frame["answers"], **body}

    async def publish(self, conversation, body, key=None, **more):
        key = key or os.urandom(16)
        publish = {"conversation": conversation, "publish_key": key, "body": body, **more}
        ack = await self.ask("publish", publish)
        assert ack["publish_key"] == key and ack["conversation"] == conversation
        return ack

    async def closed(self):
        """Reads to the end."""
        try:
            while True:
                await self.receive()
        except Closed as end:
            return end.code, end.reason


class Api:
    """The account API."""

    def __init__(self, ready):
        self.at = ready["api"].removeprefix("http://")

    def call(self, method, path, body=None, token=None):
        connection = http.client.HTTPConnection(self.at, timeout=PATIENCE)
        headers = {"Content-Type": "application/json"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        connection.request(method, path, json.dumps(body) if body is not None else None, headers)
        answer = connection.getresponse()
        text = answer.read().decode()
        assert answer.status < 300, f"{method} {path}: {answer.status} {text}"
        return json.loads(text)

    def person(self, name):
        """Registers and logs in."""
        email, password = f"{name}.{os.urandom(4).hex()}@python.example", os.urandom(12).hex()
        new = {"email": email, "name": name, "password": password}
        assert self.call("POST", "/api/v1/auth/register", new)["next"] == "active"
        login = {"email": email, "password": password, "device": "python"}
        return self.call("POST", "/api/v1/auth/login", login)


def raw_id(text):
    return bytes.fromhex(text.replace("-", ""))
