/** Pings, a client that has gone silent, and a server that stops and starts. */

import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';

import { closeAll, connected, followed, fresh, somebody } from './harness/client.mjs';
import { Proxy } from './harness/proxy.mjs';
import { Server } from './harness/server.mjs';
import { token } from './harness/token.mjs';

describe('a long connection of centrifuge-js', { timeout: 60_000 }, () => {
  let server, proxy;
  before(async () => (server = await Server.start('js-liveness')));
  beforeEach(async () => (proxy = await Proxy.start(server)));
  afterEach(() => {
    closeAll();
    proxy.stop();
  });
  after(() => server?.stop());

  test('is kept by pings and pongs over several intervals, with nothing published', async () => {
    // Without pings the SDK would give the connection up after its interval and this: 3.5 s.
    const client = await connected(server, { maxServerPingDelay: 500 });
    const ended = await client.seen.next('connecting').then(() => client.seen.next('connecting', { within: 8_000 })).catch((error) => error);
    assert.match(String(ended), /no connecting within 8000 ms/);
    assert.equal(client.state, 'connected');
  });

  test('that answers no ping is closed with 3012, and comes back', async () => {
    const client = await connected(server, { url: proxy.url });
    const channel = fresh('news');
    const news = await followed(client, channel);
    await client.seen.next('connecting');
    proxy.holdBack();
    const { code, reason } = await client.seen.next('connecting');
    assert.deepEqual([code, reason], [3012, 'no pong']);
    await server.publish(channel, 'meanwhile');
    assert.equal((await news.seen.next('subscribed')).recovered, true);
    assert.deepEqual(await news.seen.data(1), ['meanwhile']);
  });

  test('survives a restart of the server, and is told that what it knew is gone', async () => {
    const own = fresh('news');
    const client = await connected(server, { url: proxy.url, token: token({ sub: somebody(), channels: [own] }) });
    await client.seen.next('subscribed');
    const channel = fresh('news');
    await server.publish(channel, 'before');
    const news = await followed(client, channel);
    await client.seen.next('connecting');
    const stopped = server.stop();
    const { code, reason } = await client.seen.next('connecting');
    assert.deepEqual([code, reason], [3001, 'shutdown']);
    assert.equal(await stopped, 'ended with 0');
    await server.start();
    for (const again of [await news.seen.next('subscribed'), await client.seen.next('subscribed')]) {
      assert.deepEqual([again.wasRecovering, again.recovered], [true, false]);
      assert.notEqual(again.streamPosition.epoch, news.first.streamPosition.epoch);
    }
    await server.publish(channel, 'after');
    assert.deepEqual(await news.seen.data(1), ['after']);
    await server.publish(own, 'after');
    assert.deepEqual(await client.seen.data(1), ['after']);
  });
});
