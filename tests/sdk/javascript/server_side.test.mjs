/** What the server's side does to a connection: subscribe it, unsubscribe it, end it. */

import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';

import { closeAll, connected, follow, followed, fresh, open, somebody } from './harness/client.mjs';
import { Proxy } from './harness/proxy.mjs';
import { Server } from './harness/server.mjs';
import { token } from './harness/token.mjs';

const SID = '0123456789abcdef';

describe('the server’s side of centrifuge-js', { timeout: 60_000 }, () => {
  let server, proxy;
  before(async () => (server = await Server.start('js-server-side')));
  beforeEach(async () => (proxy = await Proxy.start(server)));
  afterEach(() => {
    closeAll();
    proxy.stop();
  });
  after(() => server?.stop());

  const member = async (claims = {}, options = {}) => {
    const user = claims.sub ?? somebody();
    const client = await connected(server, { url: proxy.url, token: token({ sub: user, ...claims }), ...options });
    client.user = user;
    return client;
  };

  async function cut(client, meanwhile = () => {}) {
    const before = client.seen.all('connecting').length;
    proxy.cut();
    while (client.seen.all('connecting').length === before) await client.seen.next('connecting');
    await meanwhile();
    proxy.mend();
  }

  test('subscribes a connection to the channels of its token', async () => {
    const channels = [fresh('news'), fresh('edit')];
    const client = await member({ channels });
    const subscribed = await client.seen.take('subscribed', 2);
    assert.deepEqual(subscribed.map(({ channel }) => channel).sort(), channels.toSorted());
    assert.ok(subscribed.every(({ recoverable, positioned }) => recoverable && positioned));
    for (const channel of channels) await server.publish(channel, channel);
    const publications = await client.seen.take('publication', 2);
    assert.deepEqual(publications.map(({ channel, data }) => [channel, data]), channels.map((channel) => [channel, channel]));
  });

  test('subscribes it to the subs of its token, with their data and info', async () => {
    const channel = fresh('room');
    const client = await member({ subs: { [channel]: { info: { role: 'host' }, data: { title: 'Tea' } } } });
    const { data } = await client.seen.next('subscribed');
    assert.deepEqual(data, { title: 'Tea' });
    const { clients } = await client.presence(channel);
    assert.deepEqual(clients[client.id].chanInfo, { role: 'host' });
  });

  test('passes over channels of the token that no namespace has', async () => {
    const [right, wrong] = [fresh('news'), fresh('nowhere')];
    const client = await member({ channels: [wrong, right] });
    await client.seen.next('subscribed');
    await server.publish(right, 1);
    await client.seen.next('publication');
    assert.deepEqual(client.seen.all('subscribed').map(({ channel }) => channel), [right]);
  });

  test('refuses another subscription to the same channel with 105', async () => {
    const channel = fresh('news');
    const client = await member({ channels: [channel] });
    const twice = follow(client, channel);
    assert.equal((await twice.seen.next('unsubscribed')).code, 105);
    await server.publish(channel, 1);
    assert.equal((await client.seen.next('publication')).data, 1);
  });

  test('recovers the token’s subscriptions after a cut', async () => {
    const channel = fresh('news');
    const client = await member({ channels: [channel] });
    await client.seen.next('subscribed');
    await server.publish(channel, 1);
    await client.seen.next('publication');
    await cut(client, () => server.publishAll(channel, [2, 3]));
    const again = await client.seen.next('subscribed');
    assert.deepEqual([again.wasRecovering, again.recovered], [true, true]);
    await server.publish(channel, 4);
    assert.deepEqual(await client.seen.data(3), [2, 3, 4]);
  });

  test('says so where the token’s subscriptions missed more than is kept', async () => {
    const channel = fresh('brief');
    const client = await member({ channels: [channel] });
    await client.seen.next('subscribed');
    await cut(client, () => server.publishAll(channel, [1, 2, 3, 4, 5, 6]));
    const again = await client.seen.next('subscribed');
    assert.deepEqual([again.wasRecovering, again.recovered], [true, false]);
    await server.publish(channel, 7);
    assert.deepEqual(await client.seen.data(1), [7]);
  });

  test('tells who joins and leaves in a channel of the token', async () => {
    const channel = fresh('room');
    const client = await member({ channels: [channel] });
    const other = await member();
    const room = await followed(other, channel);
    room.unsubscribe();
    const joins = await client.seen.take('join', 2);
    assert.deepEqual(joins.map(({ info }) => info.client), [client.id, other.id]);
    assert.equal((await client.seen.next('leave')).info.client, other.id);
  });

  test('subscribes a user by the publish API, on each of its connections', async () => {
    const channel = fresh('news');
    const first = await member();
    const second = await member({ sub: first.user });
    const other = await member();
    await server.call('subscribe', { user: first.user, channel });
    for (const client of [first, second]) {
      const { channel: name, recoverable } = await client.seen.next('subscribed');
      assert.deepEqual([name, recoverable], [channel, true]);
    }
    await server.publish(channel, 1);
    for (const client of [first, second]) assert.deepEqual(await client.seen.data(1), [1]);
    assert.deepEqual(other.seen.all('subscribed'), []);
  });

  test('subscribes one client by the publish API, and unsubscribes it', async () => {
    const channel = fresh('news');
    const first = await member();
    const second = await member({ sub: first.user });
    await server.call('subscribe', { user: first.user, client: first.id, channel });
    await first.seen.next('subscribed');
    assert.deepEqual(second.seen.all('subscribed'), []);
    await server.call('unsubscribe', { user: first.user, client: first.id, channel });
    assert.equal((await first.seen.next('unsubscribed')).channel, channel);
    await server.publish(channel, 'missed');
    await server.call('subscribe', { user: first.user, client: first.id, channel });
    await first.seen.next('subscribed');
    await server.publish(channel, 'seen');
    assert.deepEqual(await first.seen.data(1), ['seen']);
  });

  test('drops the publish API’s subscriptions with their connection', async () => {
    const channel = fresh('news');
    const client = await member();
    await server.call('subscribe', { user: client.user, channel });
    await client.seen.next('subscribed');
    await cut(client);
    assert.equal((await client.seen.next('unsubscribed')).channel, channel);
  });

  test('unsubscribes a user by the publish API, for good', async () => {
    const channel = fresh('room');
    const client = await member();
    const room = await followed(client, channel);
    await server.call('unsubscribe', { user: client.user, channel });
    const { code, reason } = await room.seen.next('unsubscribed');
    assert.deepEqual([code, reason], [2000, 'server unsubscribe']);
    assert.equal(client.state, 'connected');
    room.subscribe();
    assert.equal((await room.seen.next('unsubscribed')).code, 103, 'its token was issued before');
    await server.publish(channel, 'secret');
    await client.rpc('anything', {}).catch(() => {});
    assert.deepEqual(room.seen.all('publication'), []);
  });

  test('disconnects a user by the publish API, for good, on each connection', async () => {
    const first = await member();
    const second = await member({ sub: first.user });
    const other = await member();
    await server.call('disconnect', { user: first.user });
    for (const client of [first, second]) {
      const { code, reason } = await client.seen.next('disconnected');
      assert.deepEqual([code, reason], [3503, 'force disconnect']);
      assert.equal(client.state, 'disconnected');
    }
    assert.equal(other.state, 'connected');
  });

  test('lets a disconnected user in again with a newer token only', async () => {
    const sub = somebody();
    const client = await member({ sub, iat: Math.floor(Date.now() / 1000) - 60 });
    await server.call('disconnect', { user: sub });
    await client.seen.next('disconnected');
    client.connect();
    assert.equal((await client.seen.next('disconnected')).code, 1, 'no way to fetch another');
    const revokedAt = Math.floor(Date.now() / 1000);
    const iat = revokedAt + 1;
    await connected(server, { token: token({ sub, iat }) });
  });

  test('disconnects one client by the publish API, and not the user', async () => {
    const first = await member();
    const second = await member({ sub: first.user });
    await server.call('disconnect', { client: first.id });
    assert.equal((await first.seen.next('disconnected')).code, 3503);
    assert.equal(second.state, 'connected');
    await connected(server, { token: token({ sub: first.user }) });
  });

  test('disconnects a session by the publish API, for good, and no other of the user', async () => {
    const sid = somebody().replace(/\D/g, '').padEnd(16, '0').slice(0, 16);
    const session = await member({ sid });
    const other = await member({ sub: session.user, sid: SID });
    await server.call('disconnect', { sid });
    assert.equal((await session.seen.next('disconnected')).code, 3503);
    assert.equal(other.state, 'connected');
    const back = open(server, { token: token({ sub: session.user, sid, iat: Math.floor(Date.now() / 1000) + 1 }) });
    assert.equal((await back.seen.next('disconnected')).code, 1);
  });

  test('disconnects with a code of its own, after which the SDK comes back or not', async () => {
    const client = await member();
    await server.call('disconnect', { client: client.id, disconnect: { code: 4000, reason: 'move on' } });
    await client.seen.next('connecting');
    const again = await client.seen.next('connecting');
    assert.deepEqual([again.code, again.reason], [4000, 'move on']);
    const { client: id } = (await client.seen.take('connected', 1))[0];
    await server.call('disconnect', { client: id, disconnect: { code: 4500, reason: 'go away' } });
    const end = await client.seen.next('disconnected');
    assert.deepEqual([end.code, end.reason], [4500, 'go away']);
  });

  test('ends a connection by the publish API’s refresh, and it comes back with another token', async () => {
    const sub = somebody();
    let calls = 0;
    const client = await connected(server, { getToken: async () => (calls += 1) && token({ sub }) });
    await server.call('refresh', { user: sub, expired: true });
    await client.seen.next('connecting');
    assert.equal((await client.seen.next('connecting')).code, 3005);
    await client.seen.next('connected');
  });

  test('gives a connection another end by the publish API’s refresh, without ending it', async () => {
    const channel = fresh('room');
    const client = await member();
    const room = await followed(client, channel);
    await server.call('refresh', { user: client.user, expire_at: Math.floor(Date.now() / 1000) + 600 });
    await server.publish(channel, 1);
    assert.deepEqual(await room.seen.data(1), [1]);
    assert.equal(client.state, 'connected');
  });

  test('lists the channels that are followed', async () => {
    const channel = fresh('news');
    await followed(await connected(server), channel);
    await followed(await connected(server), channel);
    const { channels } = await server.call('channels', { pattern: channel });
    assert.deepEqual(channels, { [channel]: { num_clients: 2 } });
  });
});
