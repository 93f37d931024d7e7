"""What is not renewed ends: 25 s after its token, so that a slow page is not cut off."""

import asyncio
import time

from client import followed, fresh, somebody
from tokens import token

GRACE = 25


async def test_what_is_not_renewed_ends_25_seconds_past_its_end(clients, member, server):
    """Connection and subscription in one test: both wait for the same 25 s."""

    def slowly(first, last):
        calls = 0

        async def get_token(*_):
            nonlocal calls
            calls += 1
            if calls == 2:
                await asyncio.Event().wait()
            return first if calls == 1 else last()

        return get_token

    async def connection():
        sub = somebody()
        client = await clients.connected(get_token=slowly(token(sub=sub, life=1), lambda: token(sub=sub)))
        started = time.monotonic()
        await client.seen.next("connecting")
        again = await client.seen.next("connecting", within=GRACE + 10)
        assert (again.code, again.reason) == (3005, "connection expired")
        assert time.monotonic() - started >= GRACE
        assert (await client.seen.next("connected")).client != client.id

    async def subscription():
        client = await member()
        claims = {"sub": client.user, "channel": fresh("edit")}
        edit = await followed(client, claims["channel"], get_token=slowly(token(life=1, **claims), lambda: token(**claims)))
        await edit.seen.next("subscribing")
        again = await edit.seen.next("subscribing", within=GRACE + 10)
        assert (again.code, again.reason) == (2501, "expired")
        await server.publish(claims["channel"], "meanwhile")
        subscribed = await edit.seen.next("subscribed")
        assert (subscribed.was_recovering, subscribed.recovered) == (True, True)
        assert await edit.seen.data(1) == ["meanwhile"]
        assert len(client.seen.all("connected")) == 1

    await asyncio.gather(connection(), subscription())
