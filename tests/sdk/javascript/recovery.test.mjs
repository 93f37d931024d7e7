/** Coming back: what was missed arrives once and in order, or the SDK is told that it can't. */

import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';

import { closeAll, connected, follow, followed, fresh } from './harness/client.mjs';
import { Proxy } from './harness/proxy.mjs';
import { Server } from './harness/server.mjs';

describe('recovery by centrifuge-js', { timeout: 60_000 }, () => {
  let server, proxy;
  before(async () => (server = await Server.start('js-recovery')));
  beforeEach(async () => (proxy = await Proxy.start(server)));
  afterEach(() => {
    closeAll();
    proxy.stop();
  });
  after(() => server?.stop());

  /** Cuts the connection, does `meanwhile`, and lets it come back. */
  async function cut(client, meanwhile = () => {}) {
    const before = client.seen.all('connecting').length;
    proxy.cut();
    while (client.seen.all('connecting').length === before) await client.seen.next('connecting');
    await meanwhile();
    proxy.mend();
  }

  test('brings what was published during a cut, once and in order', async () => {
    const client = await connected(server, { url: proxy.url });
    const channel = fresh('news');
    const news = await followed(client, channel);
    await server.publishAll(channel, [1, 2, 3]);
    await news.seen.data(3);
    await cut(client, () => server.publishAll(channel, [4, 5, 6]));
    const again = await news.seen.next('subscribed');
    assert.deepEqual([again.wasRecovering, again.recovered, again.hasRecoveredPublications], [true, true, true]);
    await server.publishAll(channel, [7, 8]);
    assert.deepEqual(await news.seen.data(5), [4, 5, 6, 7, 8]);
    assert.equal(news.seen.all('publication').length, 8);
  });

  test('loses and doubles nothing over many cuts while others publish', async () => {
    const client = await connected(server, { url: proxy.url });
    const channel = fresh('news');
    const news = await followed(client, channel);
    let published = 0;
    for (let round = 0; round < 10; round += 1) {
      const batch = Array.from({ length: 20 }, () => (published += 1));
      const publishing = server.publishAll(channel, batch);
      await cut(client);
      await publishing;
      await news.seen.next('subscribed');
    }
    await server.publish(channel, 'end');
    const expected = [...Array.from({ length: published }, (_, n) => n + 1), 'end'];
    assert.deepEqual(await news.seen.data(expected.length), expected);
    assert.ok(news.seen.all('subscribed').slice(1).every((context) => context.recovered));
  });

  test('brings nothing, and says recovered, where nothing was missed', async () => {
    const client = await connected(server, { url: proxy.url });
    const channels = [fresh('news'), fresh('news')];
    await server.publish(channels[1], 'before');
    const subscriptions = [];
    for (const channel of channels) subscriptions.push(await followed(client, channel));
    await cut(client);
    for (const subscription of subscriptions) {
      const again = await subscription.seen.next('subscribed');
      assert.deepEqual([again.wasRecovering, again.recovered, again.hasRecoveredPublications], [true, true, false]);
      assert.deepEqual(again.streamPosition, subscription.first.streamPosition);
      assert.deepEqual(subscription.seen.all('publication'), []);
    }
  });

  test('brings the first publications of a channel that had none', async () => {
    const client = await connected(server, { url: proxy.url });
    const channel = fresh('news');
    const news = await followed(client, channel);
    await cut(client, () => server.publishAll(channel, [1, 2]));
    assert.equal((await news.seen.next('subscribed')).recovered, true);
    assert.deepEqual(await news.seen.data(2), [1, 2]);
  });

  test('says so where more was missed than is kept, and goes on from now', async () => {
    const client = await connected(server, { url: proxy.url });
    const channel = fresh('brief');
    const brief = await followed(client, channel);
    await server.publish(channel, 1);
    await brief.seen.data(1);
    await cut(client, () => server.publishAll(channel, [2, 3, 4, 5, 6, 7]));
    const again = await brief.seen.next('subscribed');
    assert.deepEqual([again.wasRecovering, again.recovered, again.hasRecoveredPublications], [true, false, false]);
    assert.equal(again.streamPosition.offset, 7);
    await server.publish(channel, 8);
    assert.deepEqual(await brief.seen.data(1), [8]);
  });

  test('brings all that is kept where exactly that was missed', async () => {
    const client = await connected(server, { url: proxy.url });
    const channel = fresh('brief');
    const brief = await followed(client, channel);
    await cut(client, () => server.publishAll(channel, [1, 2, 3, 4, 5]));
    assert.equal((await brief.seen.next('subscribed')).recovered, true);
    assert.deepEqual(await brief.seen.data(5), [1, 2, 3, 4, 5]);
  });

  test('is not tried where the channel keeps no history', async () => {
    const client = await connected(server, { url: proxy.url });
    const channel = fresh('fleeting');
    const fleeting = await followed(client, channel);
    await cut(client, () => server.publish(channel, 'lost'));
    const again = await fleeting.seen.next('subscribed');
    assert.deepEqual([again.wasRecovering, again.recovered], [false, false]);
    await server.publish(channel, 'seen');
    assert.deepEqual(await fleeting.seen.data(1), ['seen']);
  });

  test('starts from a position that a page carries, of a channel never followed before', async () => {
    const channel = fresh('news');
    const { epoch } = await server.publish(channel, 1);
    await server.publishAll(channel, [2, 3]);
    const news = await followed(await connected(server), channel, { since: { offset: 1, epoch } });
    assert.deepEqual([news.first.wasRecovering, news.first.recovered], [true, true]);
    await server.publish(channel, 4);
    assert.deepEqual(await news.seen.data(3), [2, 3, 4]);
  });

  test('starts from a position at which nothing had been published yet', async () => {
    const channel = fresh('news');
    const { offset, epoch } = await server.call('history', { channel });
    assert.equal(offset, 0);
    await server.publishAll(channel, [1, 2]);
    const news = await followed(await connected(server), channel, { since: { offset, epoch } });
    assert.equal(news.first.recovered, true);
    assert.deepEqual(await news.seen.data(2), [1, 2]);
  });

  test('says so where a page’s position is of another epoch, or ahead of the channel', async () => {
    const channel = fresh('news');
    const { epoch } = await server.publish(channel, 1);
    for (const since of [{ offset: 1, epoch: 'another' }, { offset: 5, epoch }]) {
      const news = await followed(await connected(server), channel, { since });
      assert.deepEqual([news.first.wasRecovering, news.first.recovered], [true, false], JSON.stringify(since));
      assert.deepEqual(news.first.streamPosition, { offset: 1, epoch });
    }
  });

  test('asks for the state again where a position can’t be recovered from', async () => {
    const channel = fresh('brief');
    const { epoch } = await server.publish(channel, 1);
    await server.publishAll(channel, [2, 3, 4, 5, 6, 7, 8]);
    const positions = [{ offset: 1, epoch }, { offset: 6, epoch }];
    const asked = [];
    const getState = async () => {
      asked.push(positions[0]);
      return positions.shift();
    };
    const client = await connected(server, { url: proxy.url });
    const brief = await followed(client, channel, { getState });
    assert.equal(asked.length, 2, 'the first was refused with 112');
    assert.equal(brief.first.recovered, true);
    assert.deepEqual(await brief.seen.data(2), [7, 8]);
    positions.push({ offset: 14, epoch });
    await cut(client, () => server.publishAll(channel, [9, 10, 11, 12, 13, 14, 15]));
    await brief.seen.next('subscribed');
    assert.equal(asked.length, 3);
    assert.deepEqual(await brief.seen.data(1), [15]);
  });

  test('gives the newest of a cached channel at every subscribe', async () => {
    const channel = fresh('latest');
    await server.publishAll(channel, [1, 2, 3]);
    const client = await connected(server, { url: proxy.url });
    const latest = await followed(client, channel);
    assert.deepEqual(await latest.seen.data(1), [3]);
    await cut(client, () => server.publishAll(channel, [4, 5]));
    const again = await latest.seen.next('subscribed');
    assert.deepEqual([again.wasRecovering, again.recovered], [true, true]);
    assert.deepEqual(await latest.seen.data(1), [5]);
    await server.publish(channel, 6);
    assert.deepEqual(await latest.seen.data(1), [6]);
  });

  test('of a cached channel that holds nothing brings nothing', async () => {
    const channel = fresh('latest');
    const latest = await followed(await connected(server), channel);
    await server.publish(channel, 1);
    assert.deepEqual(await latest.seen.data(1), [1]);
  });

  test('follows an end that the subscriber asked for, too', async () => {
    const channel = fresh('news');
    const client = await connected(server);
    const news = await followed(client, channel);
    news.unsubscribe();
    await client.rpc('anything', {}).catch(() => {});
    await server.publish(channel, 1);
    news.subscribe();
    const again = await news.seen.next('subscribed');
    assert.equal(again.recovered, true);
    assert.deepEqual(await news.seen.data(1), [1]);
  });

  test('of many subscriptions at once brings each its own', async () => {
    const client = await connected(server, { url: proxy.url });
    const all = [];
    for (let n = 0; n < 10; n += 1) all.push(await followed(client, fresh('news')));
    await cut(client, () => Promise.all(all.map(({ channel }) => server.publishAll(channel, [channel, 'end']))));
    for (const one of all) assert.deepEqual(await one.seen.data(2), [one.channel, 'end']);
  });

  test('is refused with 107 where an offset comes without its epoch', async () => {
    const news = follow(await connected(server), fresh('news'), { since: { offset: 3 } });
    assert.equal((await news.seen.next('unsubscribed')).code, 107);
  });
});
