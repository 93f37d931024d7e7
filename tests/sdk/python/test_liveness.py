"""Pings, a client that has gone silent, and a server that stops and starts."""

import asyncio

import pytest
from centrifuge import ClientState

from client import Clients, followed, fresh, somebody
from proxy import Proxy
from server import Server
from tokens import token


async def test_is_kept_by_pings_and_pongs_over_several_intervals_with_nothing_published(clients):
    # Without pings the SDK would give the connection up after its interval and this: 3.5 s.
    client = await clients.connected(max_server_ping_delay=0.5)
    await client.seen.next("connecting")
    with pytest.raises(AssertionError, match="no connecting within 8 s"):
        await client.seen.next("connecting", within=8)
    assert client.state == ClientState.CONNECTED


async def test_that_answers_no_ping_is_closed_with_3012_and_comes_back(clients, server, proxy):
    client, channel = await clients.connected(url=proxy.url), fresh("news")
    news = await followed(client, channel)
    await client.seen.next("connecting")
    proxy.hold_back()
    again = await client.seen.next("connecting")
    assert (again.code, again.reason) == (3012, "no pong")
    await server.publish(channel, "meanwhile")
    assert (await news.seen.next("subscribed")).recovered
    assert await news.seen.data(1) == ["meanwhile"]


async def test_survives_a_restart_of_the_server_and_is_told_that_what_it_knew_is_gone(tmp_path):
    server = Server(tmp_path)
    server.start()
    proxy, clients = Proxy(server), Clients(server)
    await proxy.start()
    try:
        own, channel = fresh("news"), fresh("news")
        client = await clients.connected(url=proxy.url, token=token(sub=somebody(), channels=[own]))
        await client.seen.next("subscribed")
        await server.publish(channel, "before")
        news = await followed(client, channel)
        await client.seen.next("connecting")
        stopping = asyncio.ensure_future(asyncio.to_thread(server.stop))
        again = await client.seen.next("connecting")
        assert (again.code, again.reason) == (3001, "shutdown")
        assert await stopping == 0
        await asyncio.to_thread(server.start)
        for context in (await news.seen.next("subscribed"), await client.seen.next("subscribed")):
            assert (context.was_recovering, context.recovered) == (True, False)
            assert context.stream_position.epoch != news.first.stream_position.epoch
        await server.publish(channel, "after")
        assert await news.seen.data(1) == ["after"]
        await server.publish(own, "after")
        assert await client.seen.data(1) == ["after"]
    finally:
        await clients.close()
        proxy.stop()
        server.stop()
