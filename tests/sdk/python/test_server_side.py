"""What the server's side does to a connection: subscribe it, unsubscribe it, end it."""

import time
import uuid

from centrifuge import ClientState

from client import cut, follow, followed, fresh, settle, somebody
from tokens import token


async def test_subscribes_a_connection_to_the_channels_of_its_token(member, server):
    channels = [fresh("news"), fresh("edit")]
    client = await member(channels=channels)
    subscribed = await client.seen.take("subscribed", 2)
    assert {context.channel for context in subscribed} == set(channels)
    assert all(context.recoverable and context.positioned for context in subscribed)
    for channel in channels:
        await server.publish(channel, channel)
    publications = await client.seen.take("publication", 2)
    assert [(context.channel, context.pub.data) for context in publications] == [(c, c) for c in channels]


async def test_subscribes_it_to_the_subs_of_its_token_with_their_data_and_info(member):
    channel = fresh("room")
    client = await member(subs={channel: {"info": {"role": "host"}, "data": {"title": "Tea"}}})
    assert (await client.seen.next("subscribed")).data == {"title": "Tea"}
    assert (await client.presence(channel)).clients[client.id].chan_info == {"role": "host"}


async def test_refuses_another_subscription_to_the_same_channel_with_105(member, server):
    channel = fresh("news")
    client = await member(channels=[channel])
    await client.seen.next("subscribed")
    twice = await follow(client, channel)
    assert (await twice.seen.next("unsubscribed")).code == 105
    await server.publish(channel, 1)
    assert await client.seen.data(1) == [1]


async def test_recovers_the_tokens_subscriptions_after_a_cut(member, server, proxy):
    channel = fresh("news")
    client = await member(url=proxy.url, channels=[channel])
    await client.seen.next("subscribed")
    await server.publish(channel, 1)
    await client.seen.next("publication")
    await cut(proxy, client, server.publish_all(channel, [2, 3]))
    again = await client.seen.next("subscribed")
    assert (again.was_recovering, again.recovered) == (True, True)
    await server.publish(channel, 4)
    assert await client.seen.data(3) == [2, 3, 4]


async def test_says_so_where_the_tokens_subscriptions_missed_more_than_is_kept(member, server, proxy):
    channel = fresh("brief")
    client = await member(url=proxy.url, channels=[channel])
    await client.seen.next("subscribed")
    await cut(proxy, client, server.publish_all(channel, [1, 2, 3, 4, 5, 6]))
    again = await client.seen.next("subscribed")
    assert (again.was_recovering, again.recovered) == (True, False)
    await server.publish(channel, 7)
    assert await client.seen.data(1) == [7]


async def test_tells_who_joins_and_leaves_in_a_channel_of_the_token(member):
    channel = fresh("room")
    client, other = await member(channels=[channel]), await member()
    await (await followed(other, channel)).unsubscribe()
    joins = await client.seen.take("join", 2)
    assert [context.info.client for context in joins] == [client.id, other.id]
    assert (await client.seen.next("leave")).info.client == other.id


async def test_subscribes_a_user_by_the_publish_api_on_each_of_its_connections(member, server):
    channel = fresh("news")
    first, other = await member(), await member()
    second = await member(sub=first.user)
    await server.call("subscribe", user=first.user, channel=channel)
    for client in (first, second):
        subscribed = await client.seen.next("subscribed")
        assert (subscribed.channel, subscribed.recoverable) == (channel, True)
    await server.publish(channel, 1)
    for client in (first, second):
        assert await client.seen.data(1) == [1]
    await settle(other)
    assert other.seen.all("subscribed") == []


async def test_subscribes_one_client_by_the_publish_api_and_unsubscribes_it(member, server):
    channel = fresh("news")
    client = await member()
    one = {"user": client.user, "client": client.id, "channel": channel}
    await server.call("subscribe", **one)
    await client.seen.next("subscribed")
    await server.call("unsubscribe", **one)
    assert (await client.seen.next("unsubscribed")).channel == channel
    await server.publish(channel, "missed")
    await server.call("subscribe", **one)
    await client.seen.next("subscribed")
    await server.publish(channel, "seen")
    assert await client.seen.data(1) == ["seen"]


async def test_unsubscribes_a_user_by_the_publish_api_for_good(member, server):
    channel, client = fresh("room"), await member()
    room = await followed(client, channel)
    await server.call("unsubscribe", user=client.user, channel=channel)
    ended = await room.seen.next("unsubscribed")
    assert (ended.code, ended.reason) == (2000, "server unsubscribe")
    assert client.state == ClientState.CONNECTED
    await room.subscribe()
    assert (await room.seen.next("unsubscribed")).code == 103, "its token was issued before"
    await server.publish(channel, "secret")
    await settle(client)
    assert room.seen.all("publication") == []


async def test_disconnects_a_user_by_the_publish_api_for_good_on_each_connection(member, server):
    first, other = await member(), await member()
    second = await member(sub=first.user)
    await server.call("disconnect", user=first.user)
    for client in (first, second):
        ended = await client.seen.next("disconnected")
        assert (ended.code, ended.reason) == (3503, "force disconnect")
        assert client.state == ClientState.DISCONNECTED
    await settle(other)


async def test_disconnects_one_client_by_the_publish_api_and_not_the_user(clients, member, server):
    first = await member()
    second = await member(sub=first.user)
    await server.call("disconnect", client=first.id)
    assert (await first.seen.next("disconnected")).code == 3503
    await settle(second)
    await clients.connected(token=token(sub=first.user))


async def test_disconnects_a_session_by_the_publish_api_for_good_and_no_other_of_the_user(clients, member, server):
    sid = uuid.uuid4().hex[:16]
    session = await member(sid=sid)
    other = await member(sub=session.user, sid=uuid.uuid4().hex[:16])
    await server.call("disconnect", sid=sid)
    assert (await session.seen.next("disconnected")).code == 3503
    await settle(other)
    newer = token(sub=session.user, sid=sid, iat=int(time.time()) + 1)
    back = await clients.open(token=newer)
    assert (await back.seen.next("disconnected")).code == 1


async def test_disconnects_with_a_code_of_its_own_after_which_the_sdk_comes_back_or_not(member, server):
    client = await member()
    await server.call("disconnect", client=client.id, disconnect={"code": 4000, "reason": "move on"})
    again = (await client.seen.take("connecting", 2))[1]
    assert (again.code, again.reason) == (4000, "move on")
    back = (await client.seen.next("connected")).client
    await server.call("disconnect", client=back, disconnect={"code": 4500, "reason": "go away"})
    ended = await client.seen.next("disconnected")
    assert (ended.code, ended.reason) == (4500, "go away")


async def test_ends_a_connection_by_the_publish_apis_refresh_and_it_comes_back(clients, server):
    sub = somebody()
    client = await clients.connected(token=token(sub=sub))
    await server.call("refresh", user=sub, expired=True)
    codes = [context.code for context in await client.seen.take("connecting", 2)]
    assert codes == [0, 3005]
    await client.seen.next("connected")


async def test_gives_a_connection_another_end_by_the_publish_apis_refresh_without_ending_it(member, server):
    channel, client = fresh("room"), await member()
    room = await followed(client, channel)
    await server.call("refresh", user=client.user, expire_at=int(time.time()) + 600)
    await server.publish(channel, 1)
    assert await room.seen.data(1) == [1]
    assert client.state == ClientState.CONNECTED
