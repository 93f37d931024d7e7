/** Publications: from the publish API and from clients, as subscribers get them. */

import assert from 'node:assert/strict';
import { after, afterEach, before, describe, test } from 'node:test';

import { closeAll, connected, followed, fresh, somebody } from './harness/client.mjs';
import { Server } from './harness/server.mjs';
import { token } from './harness/token.mjs';

const refusal = (promise) => promise.then(() => assert.fail('it was not refused'), (error) => error.code);

describe('a publication to centrifuge-js', { timeout: 60_000 }, () => {
  let server;
  before(async () => (server = await Server.start('js-publication')));
  afterEach(closeAll);
  after(() => server?.stop());

  const member = async (claims = {}) => {
    const user = somebody();
    const client = await connected(server, { token: token({ sub: user, ...claims }) });
    client.user = user;
    return client;
  };

  test('is any JSON value, unchanged', async () => {
    const channel = fresh('news');
    const news = await followed(await connected(server), channel);
    const values = [0, -1.5, '', 'Grüße – 価格 🙂\n\r\u2028', null, true, [], {}, [1, [2]], { a: { b: '"\\' } }];
    for (const value of values) await server.publish(channel, value);
    assert.deepEqual(await news.seen.data(values.length), values);
  });

  test('may have been written with line breaks between its tokens', async () => {
    const channel = fresh('news');
    const news = await followed(await connected(server), channel);
    const body = `{\r\n "channel": "${channel}",\n "data": {\n  "a": [\r\n1,\n2]\n}\n}`;
    const { status } = await server.publisher.post('publish', body, server.publisher.sign(body));
    assert.equal(status, 200);
    assert.deepEqual(await news.seen.data(1), [{ a: [1, 2] }]);
  });

  test('has the tags and the key that it was given', async () => {
    const channel = fresh('news');
    const news = await followed(await connected(server), channel);
    await server.publish(channel, 1, { tags: { kind: 'price' } });
    await server.publish(channel, 2, { tags: { kind: 'price' }, key: '26:price' });
    await server.publish(channel, 3);
    const tags = (await news.seen.take('publication', 3)).map((publication) => publication.tags);
    assert.deepEqual(tags, [{ kind: 'price' }, { kind: 'price', key: '26:price' }, undefined]);
  });

  test('arrives where no history is kept, too', async () => {
    const channel = fresh('fleeting');
    const news = await followed(await connected(server), channel);
    assert.deepEqual([news.first.recoverable, news.first.wasRecovering], [false, false]);
    await server.publishAll(channel, [1, 2, 3]);
    assert.deepEqual(await news.seen.data(3), [1, 2, 3]);
  });

  test('of a batch of 1,000 arrives exactly once, in order', async () => {
    const channel = fresh('news');
    const subscribers = [];
    for (let n = 0; n < 5; n += 1) subscribers.push(await followed(await connected(server), channel));
    const numbers = Array.from({ length: 1_000 }, (_, n) => n);
    await server.publishAll(channel, numbers);
    await server.publish(channel, 'end');
    for (const subscriber of subscribers) {
      const publications = await subscriber.seen.take('publication', 1_001);
      assert.deepEqual(publications.map(({ data }) => data), [...numbers, 'end']);
      assert.deepEqual(publications.map(({ offset }) => offset), [...numbers, 1_000].map((n) => n + 1));
      assert.equal(subscriber.seen.all('publication').length, 1_001);
    }
  });

  test('by broadcast reaches every channel that it names, and no other', async () => {
    const client = await connected(server);
    const channels = [fresh('news'), fresh('news'), fresh('brief')];
    const subscriptions = [];
    for (const channel of channels) subscriptions.push(await followed(client, channel));
    const { responses } = await server.call('broadcast', { channels: channels.slice(0, 2), data: 'all' });
    assert.equal(responses.length, 2);
    for (const channel of channels) await server.publish(channel, 'end');
    assert.deepEqual(await subscriptions[0].seen.data(2), ['all', 'end']);
    assert.deepEqual(await subscriptions[1].seen.data(2), ['all', 'end']);
    assert.deepEqual(await subscriptions[2].seen.data(1), ['end']);
  });

  test('of a channel that conflates arrives, the newest last', async () => {
    const channel = fresh('meter');
    const meter = await followed(await connected(server), channel);
    for (let n = 0; n < 20; n += 1) await server.publish(channel, n, { key: 'watts' });
    const seen = [];
    while (seen.at(-1) !== 19) seen.push(...(await meter.seen.data(1)));
    assert.deepEqual(seen, seen.toSorted((a, b) => a - b));
  });

  test('of a client tells others who published', async () => {
    const channel = fresh('board');
    const ada = await member({ info: { name: 'Ada' } });
    const board = await followed(await member(), channel);
    await ada.publish(channel, { hello: 'world' });
    const { data, info, offset } = await board.seen.next('publication');
    assert.deepEqual([data, offset], [{ hello: 'world' }, 1]);
    assert.deepEqual([info.client, info.user, info.connInfo], [ada.id, ada.user, { name: 'Ada' }]);
  });

  test('of a subscriber comes back to it too', async () => {
    const channel = fresh('room');
    const room = await followed(await member(), channel);
    await room.publish('to all of us');
    assert.deepEqual(await room.seen.data(1), ['to all of us']);
  });

  test('of a client is refused with 103 where the channel takes none', async () => {
    const client = await member();
    await followed(client, 'news:1');
    assert.equal(await refusal(client.publish('news:1', 1)), 103);
    assert.equal(await refusal(client.publish('site', 1)), 103);
  });

  test('of a client is refused with 103 where it has not subscribed and must have', async () => {
    assert.equal(await refusal((await member()).publish(fresh('room'), 1)), 103);
  });

  test('of a client without a token is refused with 103', async () => {
    assert.equal(await refusal((await connected(server)).publish(fresh('board'), 1)), 103);
  });

  test('of a client to a channel of no namespace is refused with 102, to no channel with 107', async () => {
    const client = await member();
    assert.equal(await refusal(client.publish(fresh('nowhere'), 1)), 102);
    assert.equal(await refusal(client.publish('board:a b', 1)), 107);
  });

  test('is answered in its order when commands are sent as one batch', async () => {
    const channel = fresh('room');
    const client = await member();
    const room = await followed(client, channel);
    const numbers = Array.from({ length: 20 }, (_, n) => n);
    const answered = [];
    client.startBatching();
    const commands = numbers.map((n) => room.publish(n).then(() => answered.push(n)));
    const presence = room.presenceStats();
    const refused = refusal(client.rpc('anything', {}));
    client.stopBatching();
    await Promise.all(commands);
    assert.deepEqual(answered, numbers);
    assert.equal((await presence).numClients, 1);
    assert.equal(await refused, 108);
    assert.deepEqual(await room.seen.data(20), numbers);
  });

  test('follows subscriptions that were sent as one batch', async () => {
    const client = await connected(server);
    const channels = Array.from({ length: 10 }, () => fresh('news'));
    client.startBatching();
    const subscribing = channels.map((channel) => followed(client, channel));
    client.stopBatching();
    const subscriptions = await Promise.all(subscribing);
    await server.call('broadcast', { channels, data: 1 });
    for (const subscription of subscriptions) assert.deepEqual(await subscription.seen.data(1), [1]);
  });

  test('with a version that is not newer reaches nobody', async () => {
    const channel = fresh('news');
    const news = await followed(await connected(server), channel);
    for (const [data, version] of [['two', 2], ['one', 1], ['two again', 2], ['three', 3]]) {
      await server.publish(channel, data, { key: 'k', version });
    }
    assert.deepEqual(await news.seen.data(2), ['two', 'three']);
  });
});
