/** What is not renewed ends: 25 s after its token, so that a slow page is not cut off. */

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { closeAll, connected, followed, fresh, somebody } from './harness/client.mjs';
import { Server } from './harness/server.mjs';
import { token } from './harness/token.mjs';

const GRACE = 25_000;
const LONG = { within: GRACE + 10_000 };

/** Gives these, then never answers for one turn, then gives `last`. */
function slowly(first, last) {
  let calls = 0;
  return () => {
    calls += 1;
    if (calls === 2) return new Promise(() => {});
    return Promise.resolve(calls === 1 ? first : last());
  };
}

describe('a token of centrifuge-js that is not renewed', { timeout: 60_000, concurrency: true }, () => {
  let server;
  before(async () => (server = await Server.start('js-expiry')));
  after(() => {
    closeAll();
    return server?.stop();
  });

  test('ends its connection with 3005, and the SDK comes back with another', async () => {
    const sub = somebody();
    const getToken = slowly(token({ sub, life: 1 }), () => token({ sub }));
    const client = await connected(server, { getToken });
    const started = performance.now();
    await client.seen.next('connecting');
    const again = await client.seen.next('connecting', LONG);
    assert.deepEqual([again.code, again.reason], [3005, 'connection expired']);
    assert.ok(performance.now() - started >= GRACE, 'not before its time');
    await client.seen.next('connected');
    assert.notEqual(client.seen.all('connected')[1].client, client.id);
  });

  test('ends its subscription with 2501, and the SDK subscribes again and recovers', async () => {
    const sub = somebody();
    const client = await connected(server, { token: token({ sub }) });
    const channel = fresh('edit');
    const getToken = slowly(token({ sub, channel, life: 1 }), () => token({ sub, channel }));
    const edit = await followed(client, channel, { getToken });
    await edit.seen.next('subscribing');
    const again = await edit.seen.next('subscribing', LONG);
    assert.deepEqual([again.code, again.reason], [2501, 'expired']);
    await server.publish(channel, 'meanwhile');
    const { wasRecovering, recovered } = await edit.seen.next('subscribed');
    assert.deepEqual([wasRecovering, recovered], [true, true]);
    assert.deepEqual(await edit.seen.data(1), ['meanwhile']);
    assert.equal(client.seen.all('connected').length, 1);
  });
});
