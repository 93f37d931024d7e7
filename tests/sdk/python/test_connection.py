"""Connecting: with and without a token, renewing it in place, and each way of being refused."""

import asyncio
import re

import pytest
from centrifuge import ClientState

from client import fresh, followed, refusal, somebody
from tokens import WRONG_SECRET, expired_token, token


def source(*tokens):
    """A get_token that gives these, the last again and again."""
    left = list(tokens)

    async def get_token(*_):
        get_token.calls += 1
        return left.pop(0) if len(left) > 1 else left[0]

    get_token.calls = 0
    return get_token


async def test_is_made_without_a_token(clients):
    client = await clients.open()
    connected = await client.seen.next("connected")
    assert re.fullmatch(r"[0-9a-f-]{36}", connected.client)
    assert connected.version.startswith("sidewire ")


async def test_is_made_with_data_and_a_name_that_nobody_asked_for(clients):
    await clients.connected(data={"page": "/"}, name="page", version="1.2.3")


async def test_is_made_with_a_token_whose_user_others_see(member):
    client = await member(info={"name": "Ada"})
    room = await followed(client, fresh("room"))
    presence = await room.presence()
    assert list(presence.clients) == [client.id]
    info = presence.clients[client.id]
    assert (info.client, info.user, info.conn_info) == (client.id, client.user, {"name": "Ada"})


async def test_is_made_with_a_token_that_get_token_fetches(clients):
    get_token = source(token(sub=somebody()))
    await clients.connected(get_token=get_token)
    assert get_token.calls == 1


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda: token(sub="u", secret=WRONG_SECRET), id="signed-with-another-secret"),
        pytest.param(lambda: "nonsense", id="that-is-no-token"),
        pytest.param(lambda: token(sub="u", channel="edit:26"), id="for-a-subscription"),
        pytest.param(lambda: token(sub="u", exp=None), id="without-an-end"),
        pytest.param(lambda: token(sub="u", life=86_401), id="that-lives-too-long"),
    ],
)
async def test_with_an_invalid_token_ends_for_good_with_3500(clients, make):
    client = await clients.open(token=make())
    ended = await client.seen.next("disconnected")
    assert (ended.code, ended.reason) == (3500, "invalid token")
    assert client.state == ClientState.DISCONNECTED
    assert client.seen.all("connected") == []


async def test_with_an_expired_token_is_made_with_the_one_that_get_token_fetches(clients):
    user = somebody()
    get_token = source(token(sub=user))
    client = await clients.connected(token=expired_token(sub=user), get_token=get_token)
    assert get_token.calls == 1
    assert (await client.seen.next("error")).error.code == 109
    await followed(client, f"user:{user}")


async def test_with_an_expired_token_and_nobody_to_fetch_another_ends_as_unauthorized(clients):
    client = await clients.open(token=expired_token(sub="u"))
    assert (await client.seen.next("disconnected")).code == 1


async def test_renews_its_token_in_place_before_it_ends_again_and_again(clients, server):
    user, renewals = somebody(), asyncio.Event()
    calls = 0

    async def get_token():
        nonlocal calls
        calls += 1
        if calls == 3:
            renewals.set()
        return token(sub=user, life=2)

    client = await clients.connected(get_token=get_token)
    own = await followed(client, f"user:{user}")
    async with asyncio.timeout(15):
        await renewals.wait()
    await server.publish(f"user:{user}", "still there")
    assert await own.seen.data(1) == ["still there"]
    assert len(client.seen.all("connected")) == 1
    assert len(client.seen.all("connecting")) == 1
    assert client.seen.all("error") == []


async def test_whose_new_token_is_another_users_ends_for_good_with_3500(clients):
    other = source(token(sub=somebody()))
    client = await clients.connected(token=token(sub=somebody(), life=1), get_token=other)
    assert (await client.seen.next("disconnected")).code == 3500


async def test_whose_new_token_has_expired_comes_back_with_another(clients):
    user = somebody()
    get_token = source(expired_token(sub=user), token(sub=user))
    client = await clients.connected(token=token(sub=user, life=1), get_token=get_token)
    codes = [context.code for context in await client.seen.take("connecting", 2)]
    assert codes == [0, 3005]
    await client.seen.next("connected")


async def test_beyond_the_most_that_a_user_may_have_ends_for_good_with_3504(clients):
    own = token(sub=somebody())
    for _ in range(3):
        await clients.connected(token=own)
    client = await clients.open(token=own)
    assert (await client.seen.next("disconnected")).code == 3504


async def test_that_sends_a_message_beyond_the_limit_is_told_so_and_comes_back(member):
    client = await member()
    publishing = asyncio.ensure_future(client.publish(fresh("board"), "x" * 70_000))
    # The SDK's own word for close code 1009.
    contexts = await client.seen.take("connecting", 2)
    assert [context.reason for context in contexts] == ["connect called", "message size limit"]
    await client.seen.next("connected")
    await asyncio.gather(publishing, return_exceptions=True)


async def test_that_sends_too_many_commands_a_second_is_closed_with_3013_and_comes_back(clients):
    client = await clients.connected()
    asking = [asyncio.ensure_future(client.history("news:1")) for _ in range(200)]
    codes = [context.code for context in await client.seen.take("connecting", 2)]
    assert codes == [0, 3013]
    await client.seen.next("connected")
    await asyncio.gather(*asking, return_exceptions=True)


async def test_has_no_remote_procedures(clients):
    assert await refusal((await clients.connected()).rpc("anything", {"a": 1})) == 108
