"""Client-side subscriptions: what lets one in, how it is renewed, and each error."""

import asyncio

import pytest
from centrifuge import DeltaType

from client import follow, followed, fresh, settle
from tokens import WRONG_SECRET, expired_token, token


async def assert_refused(subscription, code):
    refused = await subscription.seen.next("unsubscribed")
    assert refused.code == code, refused
    assert subscription.seen.all("subscribed") == []


async def test_to_a_public_channel_needs_no_token_and_gets_what_is_published(clients, server):
    channel = fresh("news")
    news = await followed(await clients.connected(), channel)
    assert (news.first.recoverable, news.first.positioned, news.first.was_recovering) == (True, True, False)
    await server.publish(channel, {"hello": "world"})
    publication = (await news.seen.next("publication")).pub
    assert (publication.data, publication.offset) == ({"hello": "world"}, 1)


async def test_asked_for_before_the_connection_is_there_is_made_with_it(clients, server):
    channel = fresh("news")
    client = await clients.open()
    news = await follow(client, channel)
    await news.seen.next("subscribed")
    await server.publish(channel, 1)
    assert await news.seen.data(1) == [1]


async def test_that_ended_gets_nothing_more_and_can_be_made_anew(clients, server):
    channel = fresh("fleeting")
    client = await clients.connected()
    news = await followed(client, channel)
    await news.unsubscribe()
    await settle(client)
    await server.publish(channel, "missed")
    await news.subscribe()
    await news.seen.next("subscribed")
    await server.publish(channel, "seen")
    assert await news.seen.data(1) == ["seen"]


async def test_to_a_channel_of_members_needs_a_token_of_the_connection(clients, member):
    channel = fresh("room")
    await assert_refused(await follow(await clients.connected(), channel), 103)
    await followed(await member(), channel)


async def test_to_a_private_channel_is_made_with_a_token_of_its_own(member, server):
    channel, asked = fresh("edit"), []
    client = await member()

    async def get_token(name):
        asked.append(name)
        return token(sub=client.user, channel=name)

    edit = await followed(client, channel, get_token=get_token)
    assert asked == [channel]
    await server.publish(channel, "secret")
    assert await edit.seen.data(1) == ["secret"]


async def test_to_a_private_channel_is_refused_with_103_without_a_token(member):
    await assert_refused(await follow(await member(), fresh("edit")), 103)


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda sub, channel: token(sub=sub, channel=channel, secret=WRONG_SECRET), id="signed-with-another-secret"),
        pytest.param(lambda sub, channel: token(sub=sub, channel="edit:other"), id="of-another-channel"),
        pytest.param(lambda sub, channel: token(sub="other", channel=channel), id="of-another-user"),
        pytest.param(lambda sub, channel: token(sub=sub), id="that-is-the-connections-own"),
        pytest.param(lambda sub, channel: "nonsense", id="that-is-no-token"),
    ],
)
async def test_with_a_token_that_is_not_for_it_is_refused_with_103(member, make):
    client, channel = await member(), fresh("edit")
    await assert_refused(await follow(client, channel, token=make(client.user, channel)), 103)


async def test_with_an_expired_token_is_made_with_the_one_that_get_token_fetches(member):
    client, channel = await member(), fresh("edit")

    async def get_token(name):
        return token(sub=client.user, channel=name)

    expired = expired_token(sub=client.user, channel=channel)
    edit = await followed(client, channel, token=expired, get_token=get_token)
    assert (await edit.seen.next("error")).error.code == 109


async def test_with_an_expired_token_and_nobody_to_fetch_another_ends_as_unauthorized(member):
    client, channel = await member(), fresh("edit")
    expired = expired_token(sub=client.user, channel=channel)
    await assert_refused(await follow(client, channel, token=expired), 1)


async def test_renews_its_token_in_place_before_it_ends_again_and_again(member, server):
    client, channel = await member(), fresh("edit")
    calls, renewals = 0, asyncio.Event()

    async def get_token(name):
        nonlocal calls
        calls += 1
        if calls == 3:
            renewals.set()
        return token(sub=client.user, channel=name, life=2)

    edit = await followed(client, channel, get_token=get_token)
    async with asyncio.timeout(15):
        await renewals.wait()
    await server.publish(channel, "still there")
    assert await edit.seen.data(1) == ["still there"]
    assert len(edit.seen.all("subscribed")) == 1
    assert len(edit.seen.all("subscribing")) == 1
    assert edit.seen.all("error") == []


async def test_whose_new_token_is_of_another_user_ends_with_103(member):
    client, channel = await member(), fresh("edit")
    tokens = [token(sub=client.user, channel=channel, life=1), token(sub="other", channel=channel)]

    async def get_token(_):
        return tokens.pop(0)

    edit = await followed(client, channel, get_token=get_token)
    assert (await edit.seen.next("unsubscribed")).code == 103


async def test_to_a_users_channel_is_that_users_alone(clients, member, server):
    client = await member()
    channel = f"user:{client.user}"
    own = await followed(client, channel)
    await assert_refused(await follow(await member(), channel), 103)
    await assert_refused(await follow(await clients.connected(), channel), 103)
    await server.publish(channel, "for you")
    assert await own.seen.data(1) == ["for you"]


async def test_to_a_channel_of_no_namespace_is_refused_with_102(clients):
    await assert_refused(await follow(await clients.connected(), fresh("nowhere")), 102)


async def test_to_what_is_no_channel_name_is_refused_with_107(clients):
    client = await clients.connected()
    for name in ["news:a b", "news:ä", "news:" + "x" * 251]:
        await assert_refused(await follow(client, name), 107)


async def test_beyond_the_most_that_a_connection_may_have_is_refused_with_106(clients):
    client = await clients.connected()
    for _ in range(12):
        await followed(client, fresh("news"))
    await assert_refused(await follow(client, fresh("news")), 106)


async def test_asks_for_delta_compression_in_vain_and_gets_whole_values(clients, server):
    channel = fresh("news")
    news = await followed(await clients.connected(), channel, delta=DeltaType.FOSSIL)
    for n in (1, 2):
        await server.publish(channel, {"n": n, "text": "x" * 300})
    assert [data["n"] for data in await news.seen.data(2)] == [1, 2]
