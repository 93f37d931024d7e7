"""Who is in a channel, and who comes and goes."""

from client import cut, followed, fresh, refusal
from tokens import token


async def test_lists_every_client_and_counts_clients_and_users(member):
    channel = fresh("room")
    ada = await member(info={"name": "Ada"})
    again, ben = await member(sub=ada.user), await member()
    room = await followed(ada, channel)
    for client in (again, ben):
        await followed(client, channel)
    members = (await room.presence()).clients
    assert set(members) == {ada.id, again.id, ben.id}
    assert (members[ada.id].user, members[ada.id].conn_info) == (ada.user, {"name": "Ada"})
    stats = await room.presence_stats()
    assert (stats.num_clients, stats.num_users) == (3, 2)


async def test_shows_the_channels_part_of_the_info_as_the_subscription_token_gives_it(member):
    channel, ada = fresh("room"), await member()
    own = token(sub=ada.user, channel=channel, info={"role": "editor"})
    room = await followed(ada, channel, token=own)
    assert (await room.presence()).clients[ada.id].chan_info == {"role": "editor"}


async def test_forgets_whoever_unsubscribes_at_once(member):
    channel, ada, ben = fresh("room"), await member(), await member()
    room = await followed(ada, channel, join_leave=True)
    await (await followed(ben, channel)).unsubscribe()
    left = (await room.seen.next("leave")).info
    assert (left.client, left.user) == (ben.id, ben.user)
    assert list((await room.presence()).clients) == [ada.id]


async def test_is_refused_where_there_is_none_or_none_for_this_client(member):
    client = await member()
    news = await followed(client, fresh("news"))
    assert await refusal(news.presence()) == 108
    assert await refusal(news.presence_stats()) == 108
    assert await refusal(client.presence(fresh("room"))) == 103
    assert await refusal(client.presence_stats(fresh("room"))) == 103
    assert await refusal(client.presence(fresh("nowhere"))) == 102


async def test_tells_who_joins_to_those_who_asked_to_be_told(member, server):
    channel = fresh("room")
    ada, ben, eve = await member(), await member(info={"name": "Ben"}), await member()
    asked = await followed(ada, channel, join_leave=True)
    silent = await followed(eve, channel)
    await followed(ben, channel)
    joins = [context.info for context in await asked.seen.take("join", 3)]
    assert [info.client for info in joins] == [ada.id, eve.id, ben.id]
    assert joins[2].conn_info == {"name": "Ben"}
    await server.publish(channel, "after the joins")
    await silent.seen.data(1)
    assert silent.seen.all("join") == []


async def test_hides_a_cut_within_the_grace_period_and_tells_of_a_leave_after_it(member, proxy):
    channel = fresh("room")
    ada, eve, ben = await member(), await member(), await member(url=proxy.url)
    room = await followed(ada, channel, join_leave=True)
    back = await followed(ben, channel)
    await followed(eve, channel)
    await room.seen.take("join", 3)
    await cut(proxy, ben)
    await back.seen.next("subscribed")
    again = ben.seen.all("connected")[1].client
    members = (await room.presence()).clients
    assert set(members) == {ada.id, eve.id, again}, "in its own place"
    # She leaves after the cut: had that been a leave, it would be told before hers.
    await eve.disconnect()
    assert (await room.seen.next("leave")).info.client == eve.id
    assert len(room.seen.all("leave")) == 1
    assert len(room.seen.all("join")) == 3
