"""What is kept of a channel, asked for by a subscriber."""

import pytest
from centrifuge import StreamPosition

from client import followed, fresh, refusal


@pytest.fixture
def channel_of(clients, server):
    """Makes a channel with the publications 1 to `count`, followed."""

    async def channel_of(count, prefix="news"):
        channel = fresh(prefix)
        if count:
            await server.publish_all(channel, range(1, count + 1))
        return await followed(await clients.connected(), channel)

    return channel_of


async def kept(subscription, **options):
    return [publication.data for publication in (await subscription.history(**options)).publications]


async def test_gives_the_position_alone_where_nothing_else_is_asked_for(channel_of):
    news = await channel_of(4)
    history = await news.history()
    assert (history.publications, history.offset) == ([], 4)
    assert history.epoch == news.first.stream_position.epoch


async def test_gives_the_oldest_all_or_as_many_as_are_asked_for(channel_of):
    news = await channel_of(4)
    assert await kept(news, limit=-1) == [1, 2, 3, 4]
    assert await kept(news, limit=3) == [1, 2, 3]
    assert await kept(news, limit=100) == [1, 2, 3, 4]


async def test_gives_the_newest_first_in_reverse(channel_of):
    news = await channel_of(4)
    assert await kept(news, limit=2, reverse=True) == [4, 3]
    assert await kept(news, limit=-1, reverse=True) == [4, 3, 2, 1]


async def test_goes_on_from_a_position_forwards_and_backwards(channel_of):
    news = await channel_of(5)
    epoch = news.first.stream_position.epoch
    since = StreamPosition(offset=3, epoch=epoch)
    assert await kept(news, limit=-1, since=since) == [4, 5]
    assert await kept(news, limit=1, since=since) == [4]
    assert await kept(news, limit=-1, since=since, reverse=True) == [2, 1]
    assert await kept(news, limit=-1, since=StreamPosition(offset=5, epoch=epoch)) == []


async def test_is_refused_with_112_from_a_position_of_another_epoch(channel_of):
    news = await channel_of(2)
    since = StreamPosition(offset=1, epoch="another")
    assert await refusal(news.history(limit=-1, since=since)) == 112


async def test_is_empty_with_a_position_where_nothing_was_published(channel_of):
    news = await channel_of(0)
    history = await news.history(limit=-1)
    assert (history.publications, history.offset) == ([], 0)
    assert history.epoch == news.first.stream_position.epoch


async def test_keeps_no_more_than_its_namespace_says(channel_of):
    assert await kept(await channel_of(8, "brief"), limit=-1) == [4, 5, 6, 7, 8]


async def test_is_refused_where_there_is_none_or_none_for_this_client(clients):
    client = await clients.connected()
    assert await refusal((await followed(client, fresh("fleeting"))).history(limit=1)) == 108
    assert await refusal(client.history(fresh("news"), limit=1)) == 103, "has not subscribed"
    assert await refusal(client.history(fresh("nowhere"), limit=1)) == 102
