"""A network that can fail: passes TCP connections on, cuts them, or holds back what clients send."""

import asyncio


class Proxy:
    def __init__(self, target):
        """`target`: what has the port to connect to, asked at each new connection."""
        self.target = target
        self.broken = False
        self.writers = set()
        self.flows = asyncio.Event()
        self.flows.set()

    async def start(self):
        self.server = await asyncio.start_server(self._pass, "127.0.0.1", 0)
        port = self.server.sockets[0].getsockname()[1]
        self.url = f"wss://localhost:{port}/realtime"

    def cut(self):
        """Ends every connection without a word, and lets no new one through until `mend`."""
        self.broken = True
        for writer in list(self.writers):
            writer.transport.abort()

    def mend(self):
        self.broken = False

    def hold_back(self):
        """From now on nothing that clients send arrives, over the connections that are there."""
        self.flows.clear()
        self.flows = asyncio.Event()
        self.flows.set()

    def stop(self):
        self.cut()
        self.server.close()

    async def _pass(self, reader, writer):
        self.writers.add(writer)
        try:
            if self.broken:
                return
            there = await asyncio.open_connection("127.0.0.1", self.target.port)
            self.writers.add(there[1])
            try:
                forth = self._copy(reader, there[1], self.flows)
                back = self._copy(there[0], writer, None)
                await asyncio.gather(forth, back)
            finally:
                self.writers.discard(there[1])
                there[1].transport.abort()
        except OSError:
            pass
        finally:
            self.writers.discard(writer)
            writer.close()

    @staticmethod
    async def _copy(reader, writer, flows):
        try:
            while data := await reader.read(65_536):
                if flows is not None:
                    await flows.wait()
                writer.write(data)
                await writer.drain()
            writer.close()
        except OSError:
            writer.transport.abort()
