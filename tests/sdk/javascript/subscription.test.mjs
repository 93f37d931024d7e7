/** Client-side subscriptions: what lets one in, how it is renewed, and each error. */

import assert from 'node:assert/strict';
import { after, afterEach, before, describe, test } from 'node:test';

import { closeAll, connected, follow, followed, fresh, open, somebody } from './harness/client.mjs';
import { Server } from './harness/server.mjs';
import { WRONG_SECRET, expiredToken, token } from './harness/token.mjs';

describe('a subscription of centrifuge-js', { timeout: 60_000 }, () => {
  let server;
  before(async () => (server = await Server.start('js-subscription')));
  afterEach(closeAll);
  after(() => server?.stop());

  const member = async (claims = {}) => {
    const user = somebody();
    const client = await connected(server, { token: token({ sub: user, ...claims }) });
    client.user = user;
    return client;
  };

  async function assertRefused(subscription, code) {
    const refused = await subscription.seen.next('unsubscribed');
    assert.equal(refused.code, code, JSON.stringify(refused));
    assert.deepEqual(subscription.seen.all('subscribed'), []);
  }

  test('to a public channel needs no token and gets what is published', async () => {
    const channel = fresh('news');
    const news = await followed(await connected(server), channel);
    assert.deepEqual(
      { recoverable: news.first.recoverable, positioned: news.first.positioned, recovering: news.first.wasRecovering },
      { recoverable: true, positioned: true, recovering: false },
    );
    await server.publish(channel, { hello: 'world' });
    const { data, offset } = await news.seen.next('publication');
    assert.deepEqual([data, offset], [{ hello: 'world' }, 1]);
  });

  test('asked for before the connection is there is made with it', async () => {
    const channel = fresh('news');
    const client = open(server);
    const news = follow(client, channel);
    await news.seen.next('subscribed');
    await server.publish(channel, 1);
    assert.deepEqual(await news.seen.data(1), [1]);
  });

  test('that ended gets nothing more, and can be made anew', async () => {
    const channel = fresh('fleeting');
    const client = await connected(server);
    const news = await followed(client, channel);
    news.unsubscribe();
    // The answer comes after the end of the subscription: commands are answered in their order.
    await client.rpc('anything', {}).catch(() => {});
    await server.publish(channel, 'missed');
    news.subscribe();
    await news.seen.next('subscribed');
    await server.publish(channel, 'seen');
    assert.deepEqual(await news.seen.data(1), ['seen']);
  });

  test('to a channel of members needs a token of the connection', async () => {
    const channel = fresh('room');
    await assertRefused(follow(await connected(server), channel), 103);
    await followed(await member(), channel);
  });

  test('to a private channel is made with a token of its own', async () => {
    const channel = fresh('edit');
    const client = await member();
    const asked = [];
    const getToken = async (context) => asked.push(context.channel) && token({ sub: client.user, channel });
    const edit = await followed(client, channel, { getToken });
    assert.deepEqual(asked, [channel]);
    await server.publish(channel, 'secret');
    assert.deepEqual(await edit.seen.data(1), ['secret']);
  });

  test('to a private channel is made by somebody without a name, with a token for nobody', async () => {
    const channel = fresh('edit');
    await followed(await connected(server), channel, { token: token({ channel }) });
  });

  test('to a private channel is refused with 103 without a token', async () => {
    await assertRefused(follow(await member(), fresh('edit')), 103);
  });

  const wrong = {
    'signed with another secret': (sub, channel) => token({ sub, channel }, { secret: WRONG_SECRET }),
    'of another channel': (sub) => token({ sub, channel: 'edit:other' }),
    'of another user': (sub, channel) => token({ sub: 'other', channel }),
    'of another client': (sub, channel) => token({ sub, channel, client: '00000000-0000-4000-8000-000000000000' }),
    'that is the connection’s own': (sub) => token({ sub }),
    'that is no token': () => 'nonsense',
  };
  for (const [name, make] of Object.entries(wrong)) {
    test(`with a token ${name} is refused with 103`, async () => {
      const client = await member();
      const channel = fresh('edit');
      await assertRefused(follow(client, channel, { token: make(client.user, channel) }), 103);
    });
  }

  test('with an expired token is made with the one that getToken fetches', async () => {
    const client = await member();
    const channel = fresh('edit');
    const getToken = async () => token({ sub: client.user, channel });
    const edit = await followed(client, channel, { token: expiredToken({ sub: client.user, channel }), getToken });
    assert.equal((await edit.seen.next('error')).error.code, 109);
  });

  test('with an expired token and nobody to fetch another ends as unauthorized', async () => {
    const client = await member();
    const channel = fresh('edit');
    await assertRefused(follow(client, channel, { token: expiredToken({ sub: client.user, channel }) }), 1);
  });

  test('renews its token in place before it ends, again and again', async () => {
    const client = await member();
    const channel = fresh('edit');
    let calls = 0;
    const getToken = async () => (calls += 1) && token({ sub: client.user, channel, life: 2 });
    const edit = await followed(client, channel, { getToken });
    await new Promise((resolve) => {
      const look = setInterval(() => calls >= 3 && resolve(clearInterval(look)), 20);
    });
    await server.publish(channel, 'still there');
    assert.deepEqual(await edit.seen.data(1), ['still there']);
    assert.equal(edit.seen.all('subscribed').length, 1);
    assert.equal(edit.seen.all('subscribing').length, 1);
    assert.deepEqual(edit.seen.all('error'), []);
  });

  test('whose new token is of another user ends with 103', async () => {
    const client = await member();
    const channel = fresh('edit');
    const tokens = [token({ sub: client.user, channel, life: 1 }), token({ sub: 'other', channel })];
    const edit = await followed(client, channel, { getToken: async () => tokens.shift() });
    assert.equal((await edit.seen.next('unsubscribed')).code, 103);
  });

  test('to a user’s channel is that user’s alone', async () => {
    const client = await member();
    const own = await followed(client, `user:${client.user}`);
    await assertRefused(follow(await member(), `user:${client.user}`), 103);
    await assertRefused(follow(await connected(server), `user:${client.user}`), 103);
    await server.publish(`user:${client.user}`, 'for you');
    assert.deepEqual(await own.seen.data(1), ['for you']);
  });

  test('to a channel of no namespace is refused with 102', async () => {
    await assertRefused(follow(await connected(server), fresh('nowhere')), 102);
  });

  test('to what is no channel name is refused with 107', async () => {
    const client = await connected(server);
    for (const name of ['news:a b', 'news:ä', `news:${'x'.repeat(251)}`]) await assertRefused(follow(client, name), 107);
  });

  test('beyond the most that a connection may have is refused with 106', async () => {
    const client = await connected(server);
    for (let n = 0; n < 12; n += 1) await followed(client, fresh('news'));
    await assertRefused(follow(client, fresh('news')), 106);
  });

  test('to a map or a shared poll is refused with 108', async () => {
    const client = await connected(server);
    const map = client.newMapSubscription(fresh('news'));
    const refused = new Promise((resolve) => map.on('unsubscribed', resolve));
    map.on('error', () => {});
    map.subscribe();
    assert.equal((await refused).code, 108);
  });

  test('asks for delta compression in vain, and gets whole values', async () => {
    const channel = fresh('news');
    const news = await followed(await connected(server), channel, { delta: 'fossil' });
    for (const n of [1, 2]) await server.publish(channel, { n, text: 'x'.repeat(300) });
    assert.deepEqual((await news.seen.data(2)).map((data) => data.n), [1, 2]);
  });
});
