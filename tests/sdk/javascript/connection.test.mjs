/** Connecting: with and without a token, renewing it in place, and each way of being refused. */

import assert from 'node:assert/strict';
import { after, afterEach, before, describe, test } from 'node:test';

import { closeAll, connected, fresh, followed, open, somebody } from './harness/client.mjs';
import { Server } from './harness/server.mjs';
import { WRONG_SECRET, expiredToken, token } from './harness/token.mjs';

describe('a connection of centrifuge-js', { timeout: 60_000 }, () => {
  let server;
  before(async () => (server = await Server.start('js-connection')));
  afterEach(closeAll);
  after(() => server?.stop());

  test('is made without a token', async () => {
    const client = open(server);
    const { client: id, transport } = await client.seen.next('connected');
    assert.match(id, /^[0-9a-f-]{36}$/);
    assert.equal(transport, 'websocket');
  });

  test('is made with data and a name that nobody asked for', async () => {
    await connected(server, { data: { page: '/' }, name: 'page', version: '1.2.3' });
  });

  test('is made with a token, whose user others see', async () => {
    const user = somebody();
    const client = await connected(server, { token: token({ sub: user, info: { name: 'Ada' } }) });
    const room = await followed(client, fresh('room'));
    const { clients } = await room.presence();
    assert.deepEqual(Object.keys(clients), [client.id]);
    const info = clients[client.id];
    assert.deepEqual([info.client, info.user, info.connInfo], [client.id, user, { name: 'Ada' }]);
  });

  test('is made with a token that getToken fetches', async () => {
    let calls = 0;
    await connected(server, { getToken: async () => (calls += 1) && token({ sub: somebody() }) });
    assert.equal(calls, 1);
  });

  const invalid = {
    'signed with another secret': () => token({ sub: 'u' }, { secret: WRONG_SECRET }),
    'that is no token': () => 'nonsense',
    'for a subscription': () => token({ sub: 'u', channel: 'edit:26' }),
    'without an end': () => token({ sub: 'u', exp: undefined }),
    'that lives longer than the site allows': () => token({ sub: 'u', life: 86_401 }),
  };
  for (const [name, make] of Object.entries(invalid)) {
    test(`with a token ${name} ends for good with 3500`, async () => {
      const client = open(server, { token: make() });
      const { code, reason } = await client.seen.next('disconnected');
      assert.deepEqual([code, reason], [3500, 'invalid token']);
      assert.equal(client.state, 'disconnected');
      assert.deepEqual(client.seen.all('connected'), []);
    });
  }

  test('with an expired token is made with the one that getToken fetches', async () => {
    let calls = 0;
    const user = somebody();
    const getToken = async () => (calls += 1) && token({ sub: user });
    const client = await connected(server, { token: expiredToken({ sub: user }), getToken });
    assert.equal(calls, 1);
    assert.equal((await client.seen.next('error')).error.code, 109);
    await followed(client, `user:${user}`);
  });

  test('with an expired token and nobody to fetch another ends as unauthorized', async () => {
    const client = open(server, { token: expiredToken({ sub: 'u' }) });
    assert.equal((await client.seen.next('disconnected')).code, 1);
  });

  test('renews its token in place before it ends, again and again', async () => {
    let calls = 0;
    const user = somebody();
    const getToken = async () => (calls += 1) && token({ sub: user, life: 2 });
    const client = await connected(server, { getToken });
    const own = await followed(client, `user:${user}`);
    const renewed = new Promise((resolve) => {
      const look = setInterval(() => calls >= 3 && resolve(clearInterval(look)), 20);
    });
    await renewed;
    await server.publish(`user:${user}`, 'still there');
    assert.deepEqual(await own.seen.data(1), ['still there']);
    assert.equal(client.seen.all('connected').length, 1);
    assert.equal(client.seen.all('connecting').length, 1);
    assert.deepEqual(client.seen.all('error'), []);
  });

  test('whose new token is another user’s ends for good with 3500', async () => {
    const client = await connected(server, { token: token({ sub: somebody(), life: 1 }), getToken: async () => token({ sub: somebody() }) });
    assert.equal((await client.seen.next('disconnected')).code, 3500);
  });

  test('whose new token has expired comes back with another', async () => {
    const user = somebody();
    const tokens = [token({ sub: user, life: 1 }), expiredToken({ sub: user }), token({ sub: user })];
    const client = await connected(server, { getToken: async () => tokens.shift() });
    await client.seen.next('connecting');
    assert.equal((await client.seen.next('connecting')).code, 3005);
    await client.seen.next('connected');
  });

  test('beyond the most that a user may have ends for good with 3504', async () => {
    const own = token({ sub: somebody() });
    for (let n = 0; n < 3; n += 1) await connected(server, { token: own });
    const client = open(server, { token: own });
    assert.equal((await client.seen.next('disconnected')).code, 3504);
  });

  test('that sends a message beyond the limit is ended by the SDK as too large', async () => {
    const client = await connected(server, { token: token({ sub: somebody() }) });
    client.publish(fresh('board'), 'x'.repeat(70_000)).catch(() => {});
    assert.equal((await client.seen.next('disconnected')).code, 3);
  });

  test('that sends too many commands a second is closed with 3013 and comes back', async () => {
    const client = await connected(server);
    client.startBatching();
    for (let n = 0; n < 200; n += 1) client.history('news:1').catch(() => {});
    client.stopBatching();
    await client.seen.next('connecting');
    assert.equal((await client.seen.next('connecting')).code, 3013);
    await client.seen.next('connected');
  });

  test('takes a message that wants no reply', async () => {
    const client = await connected(server);
    await client.send({ hello: 'world' });
    const refused = await client.rpc('anything', {}).catch((error) => error);
    assert.equal(refused.code, 108);
  });
});
