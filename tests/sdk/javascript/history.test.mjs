/** What is kept of a channel, asked for by a subscriber and by the publish API. */

import assert from 'node:assert/strict';
import { after, afterEach, before, describe, test } from 'node:test';

import { closeAll, connected, followed, fresh } from './harness/client.mjs';
import { Server } from './harness/server.mjs';

const refusal = (promise) => promise.then(() => assert.fail('it was not refused'), (error) => error.code);

describe('history by centrifuge-js', { timeout: 60_000 }, () => {
  let server, client;
  before(async () => (server = await Server.start('js-history')));
  afterEach(closeAll);
  after(() => server?.stop());

  /** A channel with the publications 1 to `count`, followed. */
  async function channelOf(count, prefix = 'news') {
    client = await connected(server);
    const channel = fresh(prefix);
    await server.publishAll(channel, Array.from({ length: count }, (_, n) => n + 1));
    return followed(client, channel);
  }
  const data = (history) => history.publications.map((publication) => publication.data);

  test('gives the position alone where nothing else is asked for', async () => {
    const news = await channelOf(4);
    const { publications, offset, epoch } = await news.history();
    assert.deepEqual([publications, offset], [[], 4]);
    assert.equal(epoch, news.first.streamPosition.epoch);
    assert.deepEqual((await news.history({ limit: 0 })).publications, []);
  });

  test('gives the oldest, all or as many as are asked for', async () => {
    const news = await channelOf(4);
    assert.deepEqual(data(await news.history({ limit: -1 })), [1, 2, 3, 4]);
    assert.deepEqual(data(await news.history({ limit: 3 })), [1, 2, 3]);
    assert.deepEqual(data(await news.history({ limit: 100 })), [1, 2, 3, 4]);
    const [first] = (await news.history({ limit: 1 })).publications;
    assert.equal(first.offset, 1);
  });

  test('gives the newest first in reverse', async () => {
    const news = await channelOf(4);
    assert.deepEqual(data(await news.history({ limit: 2, reverse: true })), [4, 3]);
    assert.deepEqual(data(await news.history({ limit: -1, reverse: true })), [4, 3, 2, 1]);
  });

  test('goes on from a position, forwards and backwards', async () => {
    const news = await channelOf(5);
    const { epoch } = news.first.streamPosition;
    const since = { offset: 3, epoch };
    assert.deepEqual(data(await news.history({ limit: -1, since })), [4, 5]);
    assert.deepEqual(data(await news.history({ limit: 1, since })), [4]);
    assert.deepEqual(data(await news.history({ limit: -1, since, reverse: true })), [2, 1]);
    assert.deepEqual(data(await news.history({ limit: -1, since: { offset: 5, epoch } })), []);
  });

  test('is refused with 112 from a position of another epoch', async () => {
    const news = await channelOf(2);
    assert.equal(await refusal(news.history({ limit: -1, since: { offset: 1, epoch: 'another' } })), 112);
  });

  test('is empty, with a position, where nothing was published', async () => {
    const news = await followed(await connected(server), fresh('news'));
    const { publications, offset, epoch } = await news.history({ limit: -1 });
    assert.deepEqual([publications, offset, epoch], [[], 0, news.first.streamPosition.epoch]);
  });

  test('keeps no more than its namespace says', async () => {
    const brief = await channelOf(8, 'brief');
    assert.deepEqual(data(await brief.history({ limit: -1 })), [4, 5, 6, 7, 8]);
  });

  test('holds tags', async () => {
    const channel = fresh('news');
    await server.publish(channel, 1, { tags: { kind: 'price' } });
    const news = await followed(await connected(server), channel);
    const [publication] = (await news.history({ limit: 1 })).publications;
    assert.deepEqual(publication.tags, { kind: 'price' });
  });

  test('is refused with 108 where none is kept', async () => {
    const fleeting = await followed(await connected(server), fresh('fleeting'));
    assert.equal(await refusal(fleeting.history({ limit: 1 })), 108);
  });

  test('is refused with 103 to whoever has not subscribed', async () => {
    assert.equal(await refusal((await connected(server)).history(fresh('news'), { limit: 1 })), 103);
  });

  test('is refused with 102 for a channel of no namespace', async () => {
    assert.equal(await refusal((await connected(server)).history(fresh('nowhere'), { limit: 1 })), 102);
  });

  test('is the same by the publish API, which may also remove it', async () => {
    const news = await channelOf(3);
    const { channel } = news;
    const kept = await server.call('history', { channel, limit: -1 });
    assert.deepEqual(kept.publications.map(({ data, offset }) => [data, offset]), [[1, 1], [2, 2], [3, 3]]);
    assert.deepEqual([kept.offset, kept.epoch], [3, news.first.streamPosition.epoch]);
    await server.call('history_remove', { channel });
    assert.deepEqual(data(await news.history({ limit: -1 })), []);
    await server.publish(channel, 4);
    assert.deepEqual(await news.seen.data(1), [4]);
  });
});
