"""The built program with the configuration of these tests, and its publish API.

The configuration is shared with the tests of the JavaScript SDK: ../sidewire.toml.
"""

import asyncio
import base64
import hashlib
import hmac
import http.client
import json
import os
import queue
import re
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time
import uuid
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[3]
CONFIGURATION = PROJECT / "tests/sdk/sidewire.toml"


def secret_of(heading):
    """The secret under a heading of the configuration."""
    section = CONFIGURATION.read_text().split(f"[[{heading}]]")[1]
    return re.search(r'^secret = "(.*)"$', section, re.MULTILINE)[1]


def key_of(secret):
    return base64.b64decode(secret.removeprefix("whsec_"))


TOKEN_SECRET = secret_of("site.token_key")
PUBLISH_SECRET = secret_of("site.publish_key")


def signature(secret, webhook_id, timestamp, body):
    """As Standard Webhooks define it; held against tests/vectors by `test_signature.py`."""
    signed = f"{webhook_id}.{timestamp}.".encode() + body
    tag = hmac.digest(key_of(secret), signed, hashlib.sha256)
    return "v1," + base64.b64encode(tag).decode()


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=5)
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Server:
    def __init__(self, folder):
        self.folder = Path(folder)
        self.program = os.environ.get("SIDEWIRE_BIN", str(PROJECT / "target/debug/sidewire"))
        self.certificate = self.folder / "localhost.crt"
        self.config = self.folder / "sidewire.toml"
        self.process = None
        arguments = ["certs", "dev", "--host", "localhost", "--out", str(self.folder)]
        subprocess.run([self.program, *arguments], check=True, capture_output=True, timeout=30)
        text = CONFIGURATION.read_text().replace("@FOLDER@", str(self.folder))
        self.config.write_text(text)
        self.tls = ssl.create_default_context(cafile=str(self.certificate))

    def start(self):
        """Starts the program, after a stop on another port, and waits until it takes requests."""
        command = [self.program, "run", "--config", str(self.config)]
        # The kernel ends it with us, however we end.
        guard = shutil.which("setpriv")
        self.process = subprocess.Popen(
            [guard, "--pdeathsig", "TERM", "--", *command] if guard else command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        lines = queue.Queue()
        threading.Thread(target=self._read, args=(self.process.stdout, lines), daemon=True).start()
        said = []
        while "sidewire: ready" not in said:
            line = lines.get(timeout=15)
            assert line is not None, "the program ended:\n" + "\n".join(said)
            said.append(line)
        ports = [re.match(r"sidewire: listening https \S*:(\d+)$", line) for line in said]
        self.port = int(next(filter(None, ports))[1])
        while True:
            status, reply = self.request("info", {})
            if status == 200:
                return
            # In its first second it refuses what may have been signed before it started.
            assert reply["error"]["code"] == 1006, reply
            time.sleep(max(0, reply["error"]["not_before"] - time.time()))

    @staticmethod
    def _read(stream, lines):
        for line in stream:
            lines.put(line.rstrip("\n"))
        lines.put(None)

    def stop(self):
        """How it ended; past the deadline it is made to."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait(timeout=15)

    @property
    def url(self):
        return f"wss://localhost:{self.port}/realtime"

    def request(self, method, body):
        """A signed request; its status and what it was answered with."""
        body = json.dumps(body).encode()
        webhook_id, timestamp = f"{method}_{uuid.uuid4()}", str(int(time.time()))
        headers = {
            "content-type": "application/json",
            "webhook-id": webhook_id,
            "webhook-timestamp": timestamp,
            "webhook-signature": signature(PUBLISH_SECRET, webhook_id, timestamp, body),
        }
        connection = UnixConnection(self.folder / "publish.sock")
        try:
            connection.request("POST", f"/api/{method}", body, headers)
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        finally:
            connection.close()

    async def call(self, method, **body):
        """The result of a method of the publish API."""
        status, reply = await asyncio.to_thread(self.request, method, body)
        assert status == 200 and "error" not in reply, f"{method} {body}: {status} {reply}"
        return reply.get("result", reply)

    async def publish(self, channel, data, **more):
        return await self.call("publish", channel=channel, data=data, **more)

    async def publish_all(self, channel, values):
        """Publishes each of `values`, in that order, in one request."""
        commands = [{"publish": {"channel": channel, "data": data}} for data in values]
        reply = await self.call("batch", commands=commands)
        failed = [one for one in reply["replies"] if "error" in one]
        assert not failed, failed
