"""What two people do through the relay, whatever carries their frames: each step checked against wire.md."""

import os

from wire import Api, Refused, Session, raw_id

NOT_MEMBER, TOO_LARGE, NOT_GREETED, MALFORMED, TOKEN_INVALID, VERSION_UNSUPPORTED = 300, 105, 101, 100, 200, 102
NO_SUCH_MESSAGE, NOT_ALLOWED = 303, 302


async def refused(code, asking):
    try:
        answer = await asking
    except Refused as no:
        assert no.code == code, f"{no} instead of {code}"
        assert no.refusal["message"]
        return no.refusal
    raise AssertionError(f"{answer} instead of refusal {code}")


async def two_people_talk(ready, connect_ada, connect_bob):
    api = Api(ready)
    ada, bob = api.person("ada"), api.person("bob")
    begun = api.call("POST", "/api/v1/conversations", {"kind": "direct", "peer": bob["user"]}, ada["access_token"])
    conversation = raw_id(begun["id"])

    a, b = Session(await connect_ada(ready)), Session(await connect_bob(ready))
    welcome = await a.hello(ada["access_token"], device=raw_id(ada["device"]))
    assert (welcome["version"], welcome["user"]) == (1, raw_id(ada["user"])), welcome
    assert welcome["limits"]["max_body"] == 65536 and welcome["limits"]["max_page"] == 200
    await b.hello(bob["access_token"])
    start = {"generation": welcome["generation"], "offset": 0}
    subscribed = await b.ask("subscribe", {"conversation": conversation, "after": start})
    assert (subscribed["head"], subscribed["first"]) == (0, 1), subscribed
    await a.ask("subscribe", {"conversation": conversation})

    await publish_and_retry(a, b, ada, conversation)
    await answer(a, b, conversation)
    await delete_and_page(a, b, conversation)
    b = await resume(a, b, bob, conversation, ready, connect_bob)
    await small_requests(api, a, ada, conversation)
    await refusals(a, conversation)
    await ends(api, ready, a, ada, connect_ada)
    b.transport.close()


async def publish_and_retry(a, b, ada, conversation):
    key = os.urandom(16)
    first = await a.publish(conversation, b"one", key, kind=16)
    assert (first["offset"], first["generation"], first["duplicate"]) == (1, 1, 0), first
    again = await a.publish(conversation, b"one", key, kind=16)
    assert (again["offset"], again["at"], again["duplicate"]) == (1, first["at"], 1), again
    for offset, text in ((2, b"two"), (3, b"three")):
        assert (await a.publish(conversation, text))["offset"] == offset
    got = await b.next("delivery")
    assert (got["offset"], got["kind"], got["body"], got["publish_key"]) == (1, 16, b"one", key), got
    assert (got["sender"], got["device"]) == (raw_id(ada["user"]), raw_id(ada["device"]))
    assert got["at"] == first["at"] and got["answers"] == 0
    assert [(await b.next("delivery"))["offset"] for _ in range(2)] == [2, 3]


async def answer(a, b, conversation):
    await b.publish(conversation, b"\x00\xff any bytes")
    got = await a.next("delivery", "gone")
    # The own messages 1 to 3 are not delivered to the publishing session.
    assert (got["kind_of_frame"], got["offset"], got["body"]) == ("delivery", 4, b"\x00\xff any bytes"), got


async def delete_and_page(a, b, conversation):
    delete = {"kind": 1, "relates_to": 1}
    await refused(NOT_ALLOWED, b.publish(conversation, b"", **delete))
    assert (await a.publish(conversation, b"", **delete))["offset"] == 5
    await refused(NO_SUCH_MESSAGE, a.publish(conversation, b"", kind=1, relates_to=77))
    got = await b.next("delivery")
    assert (got["offset"], got["kind"], got["relates_to"]) == (5, 1, 1), got
    page = await b.ask("recover", {"conversation": conversation, "from": 1, "limit": 2})
    gone, two = page["items"]
    assert (gone["gone"]["from"], gone["gone"]["to"], gone["gone"]["reason"]) == (1, 1, 1), gone
    assert (two["delivery"]["offset"], page["next"], page["head"]) == (2, 3, 5), page
    page = await b.ask("recover", {"conversation": conversation, "from": 5, "limit": 200, "backwards": True})
    offsets = [i["delivery"]["offset"] if "delivery" in i else -i["gone"]["to"] for i in page["items"]]
    assert (offsets, page["next"]) == ([5, 4, 3, 2, -1], 0), page


async def resume(a, b, bob, conversation, ready, connect):
    b.transport.close()
    for text in (b"six", b"seven"):
        await a.publish(conversation, text)
    b = Session(await connect(ready))
    await b.hello(bob["access_token"], resume=[(conversation, 5), (os.urandom(16), 0)])
    seen, answers = [], []
    while len(seen) < 2 or len(answers) < 2:
        got = await b.next("delivery", "subscribed", "refusal")
        if got["kind_of_frame"] == "delivery":
            seen.append((got["offset"], got["body"]))
        else:
            assert got["answers"] == 1, "it answers Hello"
            answers.append(got.get("head") if got["kind_of_frame"] == "subscribed" else got["code"])
    # Over QUIC the two answers travel on streams of their own.
    assert (seen, sorted(answers)) == ([(6, b"six"), (7, b"seven")], [7, NOT_MEMBER]), (seen, answers)
    return b


async def small_requests(api, a, ada, conversation):
    await a.ask("cursor", {"conversation": conversation, "offset": 4, "share": True})
    assert (await a.ask("subscribe", {"conversation": conversation}))["cursor"] == 4
    assert (await a.ask("ping", {"payload": b"?"}))["payload"] == b"?"
    await a.ask("watch", {"conversations": [conversation]})
    fresh = api.call("POST", "/api/v1/auth/refresh", {"refresh_token": ada["refresh_token"]})
    refreshed = await a.ask("refresh", {"token": fresh["access_token"]})
    assert refreshed["token_expires_at"] >= a.welcome["token_expires_at"]
    ada.update(fresh)
    ended = await a.ask("unsubscribe", {"conversation": conversation})
    assert ended["code"] == 0


async def refusals(a, conversation):
    await refused(NOT_MEMBER, a.publish(os.urandom(16), b"?"))
    await refused(TOO_LARGE, a.publish(conversation, bytes(65537)))
    await refused(MALFORMED, a.ask("subscribe", {"conversation": b"short"}))
    await refused(NOT_GREETED, a.ask("hello", {"versions": [1]}))
    await a.transport.send_garbage()
    got = await a.next("refusal")
    assert (got["code"], got["answers"]) == (MALFORMED, 0), got


async def ends(api, ready, a, ada, connect):
    newcomer = Session(await connect(ready))
    await refused(NOT_GREETED, newcomer.ask("ping", {}))
    await refused(TOKEN_INVALID, newcomer.hello("e30.e30.e30"))
    assert await newcomer.closed() == (4502, "UNAUTHENTICATED")
    newcomer = Session(await connect(ready))
    await refused(VERSION_UNSUPPORTED, newcomer.hello(ada["access_token"], versions=(2, 9)))
    assert await newcomer.closed() == (4507, "VERSION_UNSUPPORTED")
    newer = Session(await connect(ready))
    await newer.hello(ada["access_token"])
    assert await a.closed() == (4004, "REPLACED")
    api.call("POST", "/api/v1/auth/logout", {}, ada["access_token"])
    assert await newer.closed() == (4503, "DEVICE_REVOKED")
