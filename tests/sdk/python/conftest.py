"""What the tests are given: the server, a network in front of it, clients that end with the test."""

import pytest
import pytest_asyncio

from client import Clients, somebody
from tokens import token
from proxy import Proxy
from server import Server


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("sidewire"))
    server.start()
    yield server
    server.stop()


@pytest_asyncio.fixture
async def clients(server):
    clients = Clients(server)
    yield clients
    await clients.close()


@pytest_asyncio.fixture
async def proxy(server):
    proxy = Proxy(server)
    await proxy.start()
    yield proxy
    proxy.stop()


@pytest.fixture
def member(clients):
    """Makes a client that is connected with a token; `user` is whose."""

    async def member(sub=None, url=None, **claims):
        user = sub or somebody()
        client = await clients.connected(url=url, token=token(sub=user, **claims))
        client.user = user
        return client

    return member
