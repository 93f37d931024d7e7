/** Who is in a channel, and who comes and goes. */

import assert from 'node:assert/strict';
import { after, afterEach, before, describe, test } from 'node:test';

import { closeAll, connected, follow, followed, fresh, somebody } from './harness/client.mjs';
import { Proxy } from './harness/proxy.mjs';
import { Server } from './harness/server.mjs';
import { token } from './harness/token.mjs';

const refusal = (promise) => promise.then(() => assert.fail('it was not refused'), (error) => error.code);

describe('presence by centrifuge-js', { timeout: 60_000 }, () => {
  let server;
  before(async () => (server = await Server.start('js-presence')));
  afterEach(closeAll);
  after(() => server?.stop());

  const member = async (claims = {}, options = {}) => {
    const user = claims.sub ?? somebody();
    const client = await connected(server, { token: token({ sub: user, ...claims }), ...options });
    client.user = user;
    return client;
  };

  test('lists every client, and counts clients and users', async () => {
    const channel = fresh('room');
    const ada = await member({ info: { name: 'Ada' } });
    const again = await member({ sub: ada.user });
    const ben = await member();
    const room = await followed(ada, channel);
    for (const client of [again, ben]) await followed(client, channel);
    const { clients } = await room.presence();
    assert.deepEqual(Object.keys(clients).sort(), [ada.id, again.id, ben.id].sort());
    assert.deepEqual([clients[ada.id].user, clients[ada.id].connInfo], [ada.user, { name: 'Ada' }]);
    assert.equal(clients[ben.id].user, ben.user);
    assert.deepEqual(await room.presenceStats(), { numClients: 3, numUsers: 2 });
  });

  test('shows the channel’s part of the info, as the subscription token gives it', async () => {
    const channel = fresh('room');
    const ada = await member();
    const room = await followed(ada, channel, { token: token({ sub: ada.user, channel, info: { role: 'editor' } }) });
    const { clients } = await room.presence();
    assert.deepEqual(clients[ada.id].chanInfo, { role: 'editor' });
  });

  test('is the same by the publish API', async () => {
    const channel = fresh('room');
    const ada = await member({ info: { name: 'Ada' } });
    await followed(ada, channel);
    const { presence } = await server.call('presence', { channel });
    assert.deepEqual(presence, { [ada.id]: { client: ada.id, user: ada.user, conn_info: { name: 'Ada' } } });
    assert.deepEqual(await server.call('presence_stats', { channel }), { num_clients: 1, num_users: 1 });
  });

  test('forgets whoever unsubscribes at once', async () => {
    const channel = fresh('room');
    const [ada, ben] = [await member(), await member()];
    const room = await followed(ada, channel, { joinLeave: true });
    const other = await followed(ben, channel);
    other.unsubscribe();
    const left = await room.seen.next('leave');
    assert.deepEqual([left.info.client, left.info.user], [ben.id, ben.user]);
    assert.deepEqual(Object.keys((await room.presence()).clients), [ada.id]);
  });

  test('is refused with 108 where none is kept, and with 103 to whoever has not subscribed', async () => {
    const client = await member();
    const news = await followed(client, fresh('news'));
    assert.equal(await refusal(news.presence()), 108);
    assert.equal(await refusal(news.presenceStats()), 108);
    assert.equal(await refusal(client.presence(fresh('room'))), 103);
    assert.equal(await refusal(client.presenceStats(fresh('room'))), 103);
    assert.equal(await refusal(client.presence(fresh('nowhere'))), 102);
  });

  test('tells who joins to those who asked to be told', async () => {
    const channel = fresh('room');
    const [ada, ben, eve] = [await member(), await member({ info: { name: 'Ben' } }), await member()];
    const asked = await followed(ada, channel, { joinLeave: true });
    const silent = await followed(eve, channel);
    await followed(ben, channel);
    const joins = await asked.seen.take('join', 3);
    assert.deepEqual(joins.map((join) => join.info.client), [ada.id, eve.id, ben.id]);
    assert.deepEqual(joins[2].info.connInfo, { name: 'Ben' });
    await server.publish(channel, 'after the joins');
    await silent.seen.data(1);
    assert.deepEqual(silent.seen.all('join'), []);
  });

  test('hides a cut within the grace period, and tells of a leave after it', async () => {
    const channel = fresh('room');
    const proxy = await Proxy.start(server);
    try {
      const [ada, eve] = [await member(), await member()];
      const ben = await member({}, { url: proxy.url });
      const room = await followed(ada, channel, { joinLeave: true });
      const cut = await followed(ben, channel);
      const other = await followed(eve, channel);
      await room.seen.take('join', 3);
      proxy.cut();
      await ben.seen.take('connecting', 2);
      proxy.mend();
      await cut.seen.next('subscribed');
      const { clients } = await room.presence();
      const again = ben.seen.all('connected')[1].client;
      assert.deepEqual(Object.keys(clients).sort(), [ada.id, eve.id, again].sort(), 'in its own place');
      // She leaves after the cut: had that been a leave, it would be told before hers.
      eve.disconnect();
      const left = await room.seen.next('leave');
      assert.equal(left.info.client, eve.id);
      assert.equal(other.state, 'subscribing');
      assert.equal(room.seen.all('leave').length, 1);
      assert.equal(room.seen.all('join').length, 3);
    } finally {
      proxy.stop();
    }
  });

  test('asked for right after a subscription shows it', async () => {
    const client = await member();
    const channel = fresh('room');
    client.startBatching();
    const room = follow(client, channel);
    const presence = room.presence();
    client.stopBatching();
    assert.deepEqual(Object.keys((await presence).clients), [client.id]);
  });
});
