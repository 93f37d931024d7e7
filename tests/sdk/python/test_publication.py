"""Publications: from the publish API and from clients, as subscribers get them."""

import asyncio

from client import followed, fresh, refusal


async def test_is_any_json_value_unchanged(clients, server):
    channel = fresh("news")
    news = await followed(await clients.connected(), channel)
    values = [0, -1.5, "", "Grüße – 価格 🙂\n\r\u2028", None, True, [], {}, [1, [2]], {"a": {"b": '"\\'}}]
    for value in values:
        await server.publish(channel, value)
    assert await news.seen.data(len(values)) == values


async def test_has_the_tags_and_the_key_that_it_was_given(clients, server):
    channel = fresh("news")
    news = await followed(await clients.connected(), channel)
    await server.publish(channel, 1, tags={"kind": "price"})
    await server.publish(channel, 2, tags={"kind": "price"}, key="26:price")
    await server.publish(channel, 3)
    tags = [context.pub.tags for context in await news.seen.take("publication", 3)]
    assert tags == [{"kind": "price"}, {"kind": "price", "key": "26:price"}, {}]


async def test_of_a_batch_of_1000_arrives_exactly_once_in_order(clients, server):
    channel = fresh("news")
    subscribers = [await followed(await clients.connected(), channel) for _ in range(3)]
    numbers = list(range(1_000))
    await server.publish_all(channel, numbers)
    await server.publish(channel, "end")
    for subscriber in subscribers:
        publications = [context.pub for context in await subscriber.seen.take("publication", 1_001)]
        assert [publication.data for publication in publications] == [*numbers, "end"]
        assert [publication.offset for publication in publications] == list(range(1, 1_002))
        assert len(subscriber.seen.all("publication")) == 1_001


async def test_by_broadcast_reaches_every_channel_that_it_names(clients, server):
    client = await clients.connected()
    channels = [fresh("news"), fresh("brief")]
    subscriptions = [await followed(client, channel) for channel in channels]
    reply = await server.call("broadcast", channels=channels, data="all")
    assert len(reply["responses"]) == 2
    for subscription in subscriptions:
        assert await subscription.seen.data(1) == ["all"]


async def test_of_a_channel_that_conflates_arrives_the_newest_last(clients, server):
    channel = fresh("meter")
    meter = await followed(await clients.connected(), channel)
    for n in range(20):
        await server.publish(channel, n, key="watts")
    seen = []
    while seen[-1:] != [19]:
        seen += await meter.seen.data(1)
    assert seen == sorted(seen)


async def test_of_a_client_tells_others_who_published(member):
    channel = fresh("board")
    ada = await member(info={"name": "Ada"})
    board = await followed(await member(), channel)
    await ada.publish(channel, {"hello": "world"})
    publication = (await board.seen.next("publication")).pub
    assert (publication.data, publication.offset) == ({"hello": "world"}, 1)
    info = publication.info
    assert (info.client, info.user, info.conn_info) == (ada.id, ada.user, {"name": "Ada"})


async def test_of_a_subscriber_comes_back_to_it_too(member):
    room = await followed(await member(), fresh("room"))
    await room.publish("to all of us")
    assert await room.seen.data(1) == ["to all of us"]


async def test_of_a_client_is_refused_with_103_where_it_may_not(clients, member):
    client = await member()
    await followed(client, "news:1")
    assert await refusal(client.publish("news:1", 1)) == 103, "nobody may"
    assert await refusal(client.publish(fresh("room"), 1)) == 103, "subscribers only"
    assert await refusal((await clients.connected()).publish(fresh("board"), 1)) == 103, "no token"


async def test_of_a_client_to_no_namespace_is_refused_with_102_and_to_no_channel_with_107(member):
    client = await member()
    assert await refusal(client.publish(fresh("nowhere"), 1)) == 102
    assert await refusal(client.publish("board:a b", 1)) == 107


async def test_is_answered_in_its_order_when_many_are_under_way(member):
    room = await followed(await member(), fresh("room"))
    numbers, answered = list(range(20)), []

    async def publish(n):
        await room.publish(n)
        answered.append(n)

    await asyncio.gather(*(publish(n) for n in numbers))
    assert answered == numbers
    assert await room.seen.data(20) == numbers
