"""Coming back: what was missed arrives once and in order, or the SDK is told that it can't."""

import asyncio

from centrifuge import StreamPosition

from client import cut, followed, fresh, settle


def recovery(context):
    return (context.was_recovering, context.recovered)


async def test_brings_what_was_published_during_a_cut_once_and_in_order(clients, server, proxy):
    client, channel = await clients.connected(url=proxy.url), fresh("news")
    news = await followed(client, channel)
    await server.publish_all(channel, [1, 2, 3])
    await news.seen.data(3)
    await cut(proxy, client, server.publish_all(channel, [4, 5, 6]))
    assert recovery(await news.seen.next("subscribed")) == (True, True)
    await server.publish_all(channel, [7, 8])
    assert await news.seen.data(5) == [4, 5, 6, 7, 8]
    assert len(news.seen.all("publication")) == 8


async def test_loses_and_doubles_nothing_over_many_cuts_while_others_publish(clients, server, proxy):
    client, channel = await clients.connected(url=proxy.url), fresh("news")
    news = await followed(client, channel)
    for turn in range(10):
        batch = range(turn * 20, turn * 20 + 20)
        publishing = asyncio.ensure_future(server.publish_all(channel, batch))
        await cut(proxy, client)
        await publishing
        assert recovery(await news.seen.next("subscribed")) == (True, True)
    await server.publish(channel, "end")
    assert await news.seen.data(201) == [*range(200), "end"]


async def test_brings_nothing_and_says_recovered_where_nothing_was_missed(clients, server, proxy):
    client, channels = await clients.connected(url=proxy.url), [fresh("news"), fresh("news")]
    await server.publish(channels[1], "before")
    subscriptions = [await followed(client, channel) for channel in channels]
    await cut(proxy, client)
    for subscription in subscriptions:
        again = await subscription.seen.next("subscribed")
        assert recovery(again) == (True, True)
        assert again.stream_position == subscription.first.stream_position
    await settle(client)
    assert all(one.seen.all("publication") == [] for one in subscriptions)


async def test_brings_the_first_publications_of_a_channel_that_had_none(clients, server, proxy):
    client, channel = await clients.connected(url=proxy.url), fresh("news")
    news = await followed(client, channel)
    await cut(proxy, client, server.publish_all(channel, [1, 2]))
    assert recovery(await news.seen.next("subscribed")) == (True, True)
    assert await news.seen.data(2) == [1, 2]


async def test_says_so_where_more_was_missed_than_is_kept_and_goes_on_from_now(clients, server, proxy):
    client, channel = await clients.connected(url=proxy.url), fresh("brief")
    brief = await followed(client, channel)
    await server.publish(channel, 1)
    await brief.seen.data(1)
    await cut(proxy, client, server.publish_all(channel, [2, 3, 4, 5, 6, 7]))
    again = await brief.seen.next("subscribed")
    assert recovery(again) == (True, False)
    assert again.stream_position.offset == 7
    await server.publish(channel, 8)
    assert await brief.seen.data(1) == [8]


async def test_is_not_tried_where_the_channel_keeps_no_history(clients, server, proxy):
    client, channel = await clients.connected(url=proxy.url), fresh("fleeting")
    fleeting = await followed(client, channel)
    await cut(proxy, client, server.publish(channel, "lost"))
    assert recovery(await fleeting.seen.next("subscribed")) == (False, False)
    await server.publish(channel, "seen")
    assert await fleeting.seen.data(1) == ["seen"]


async def test_starts_from_a_position_that_the_page_knows_and_asks_again_where_it_cant(clients, server, proxy):
    """`get_state` is how this SDK takes a position that it never received a message at."""
    channel = fresh("brief")
    epoch = (await server.publish(channel, 1))["epoch"]
    await server.publish_all(channel, range(2, 9))
    positions = [StreamPosition(1, epoch), StreamPosition(6, epoch), StreamPosition(14, epoch)]
    asked = []

    async def get_state(_):
        asked.append(positions[len(asked)])
        return asked[-1]

    client = await clients.connected(url=proxy.url)
    brief = await followed(client, channel, get_state=get_state)
    assert len(asked) == 2, "the first was refused with 112"
    assert recovery(brief.first) == (True, True)
    assert await brief.seen.data(2) == [7, 8]
    await cut(proxy, client, server.publish_all(channel, range(9, 16)))
    assert recovery(await brief.seen.next("subscribed")) == (True, True)
    assert len(asked) == 3
    assert await brief.seen.data(1) == [15]


async def test_starts_from_a_position_at_which_nothing_had_been_published_yet(clients, server):
    channel = fresh("news")
    position = await server.call("history", channel=channel)
    assert position["offset"] == 0
    await server.publish_all(channel, [1, 2])

    async def get_state(_):
        return StreamPosition(position["offset"], position["epoch"])

    news = await followed(await clients.connected(), channel, get_state=get_state)
    assert recovery(news.first) == (True, True)
    assert await news.seen.data(2) == [1, 2]


async def test_gives_the_newest_of_a_cached_channel_at_every_subscribe(clients, server, proxy):
    channel = fresh("latest")
    await server.publish_all(channel, [1, 2, 3])
    client = await clients.connected(url=proxy.url)
    latest = await followed(client, channel)
    assert await latest.seen.data(1) == [3]
    await cut(proxy, client, server.publish_all(channel, [4, 5]))
    assert recovery(await latest.seen.next("subscribed")) == (True, True)
    assert await latest.seen.data(1) == [5]
    await server.publish(channel, 6)
    assert await latest.seen.data(1) == [6]


async def test_follows_an_end_that_the_subscriber_asked_for_too(clients, server):
    client, channel = await clients.connected(), fresh("news")
    news = await followed(client, channel)
    await news.unsubscribe()
    await settle(client)
    await server.publish(channel, 1)
    await news.subscribe()
    assert recovery(await news.seen.next("subscribed")) == (True, True)
    assert await news.seen.data(1) == [1]


async def test_of_many_subscriptions_at_once_brings_each_its_own(clients, server, proxy):
    client = await clients.connected(url=proxy.url)
    channels = [fresh("news") for _ in range(10)]
    subscriptions = [await followed(client, channel) for channel in channels]
    await cut(proxy, client, server.call("broadcast", channels=channels, data="missed"))
    for subscription in subscriptions:
        assert recovery(await subscription.seen.next("subscribed")) == (True, True)
        assert await subscription.seen.data(1) == ["missed"]
