"""The SDK as it comes, told which certificate to trust, and everything it says written down."""

import asyncio
import uuid

import pytest
from centrifuge import Client, ClientEventHandler, ReplyError, SubscriptionEventHandler


class Recorder:
    """What a client or a subscription said, to be asked for in its order."""

    def __init__(self):
        self.events = []
        self.taken = {}
        self.news = asyncio.Event()

    def record(self, name, context):
        self.events.append((name, context))
        self.news.set()

    def all(self, name):
        """The contexts of all events of this name."""
        return [context for event, context in self.events if event == name]

    async def next(self, name, within=10):
        """The next event of this name that was not given out yet: none is passed over."""
        place = self.taken.get(name, 0)
        try:
            async with asyncio.timeout(within):
                while len(self.all(name)) <= place:
                    self.news.clear()
                    await self.news.wait()
        except TimeoutError:
            raise AssertionError(f"no {name} within {within} s; there were {self.events}") from None
        self.taken[name] = place + 1
        return self.all(name)[place]

    async def take(self, name, count):
        """The next `count` events of this name."""
        return [await self.next(name) for _ in range(count)]

    async def data(self, count):
        """As `take`, the data of publications alone."""
        return [context.pub.data for context in await self.take("publication", count)]


def recording(base):
    """A handler of the SDK whose every callback records what it is told."""

    def __init__(self):
        self.seen = Recorder()

    def callback(name):
        async def record(self, context):
            self.seen.record(name.removeprefix("on_"), context)

        return record

    names = [name for name in dir(base) if name.startswith("on_")]
    return type(f"Recording{base.__name__}", (base,), {"__init__": __init__} | {n: callback(n) for n in names})


RecordingClient = recording(ClientEventHandler)
RecordingSubscription = recording(SubscriptionEventHandler)


class Clients:
    """The clients of one test."""

    def __init__(self, server):
        self.server = server
        self.opened = []

    async def open(self, url=None, **options):
        """A client with a `seen` of what it said, connecting."""
        events = RecordingClient()
        address = url or self.server.url
        options = {"min_reconnect_delay": 0.02, "max_reconnect_delay": 0.2, **options}
        client = Client(address, events=events, ssl_context=self.server.tls, proxy=None, **options)
        client.seen = events.seen
        self.opened.append(client)
        await client.connect()
        return client

    async def connected(self, **options):
        """As `open`, connected."""
        client = await self.open(**options)
        client.id = (await client.seen.next("connected")).client
        return client

    async def close(self):
        for client in self.opened:
            await client.disconnect()


async def follow(client, channel, **options):
    """A subscription with a `seen` of what it said, subscribing."""
    events = RecordingSubscription()
    options = {"min_resubscribe_delay": 0.02, "max_resubscribe_delay": 0.2, **options}
    subscription = client.new_subscription(channel, events=events, **options)
    subscription.seen = events.seen
    await subscription.subscribe()
    return subscription


async def followed(client, channel, **options):
    """As `follow`, subscribed; `first` is how."""
    subscription = await follow(client, channel, **options)
    subscription.first = await subscription.seen.next("subscribed")
    return subscription


async def refusal(awaitable):
    """The code with which a command is refused."""
    with pytest.raises(ReplyError) as refused:
        await awaitable
    return refused.value.code


async def settle(client):
    """All that was sent to the client before now has arrived: replies keep their order."""
    assert await refusal(client.rpc("anything", {})) == 108


async def cut(proxy, client, meanwhile=None):
    """Cuts the connection, awaits `meanwhile`, and lets it come back."""
    before = len(client.seen.all("connecting"))
    proxy.cut()
    while len(client.seen.all("connecting")) == before:
        await client.seen.next("connecting")
    if meanwhile is not None:
        await meanwhile
    proxy.mend()


def fresh(prefix):
    """A channel that no other test uses."""
    return f"{prefix}:{uuid.uuid4()}"


def somebody():
    """A user whom no other test knows: revocations last."""
    return f"u-{uuid.uuid4()}"
