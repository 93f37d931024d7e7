/**
 * The certificate is replaced while things go on: what is open stays open, what
 * comes new gets the new one, and a pair that doesn't fit changes nothing.
 */

import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';

import { Centrifuge } from 'centrifuge';
import WebSocket from 'ws';

import { Certificate, servedFingerprint } from './harness/certificate.mjs';
import { HttpsClient } from './harness/https_client.mjs';
import { until } from './harness/process.mjs';
import { Stack } from './harness/stack.mjs';

const DOWNLOAD_BYTES = 96 * 1024 * 1024;
/** The best of all replacements has to be this quick, in ms; on a busy machine each gets five times that. */
const GOAL = 2_000;
const SLACK = 5;

describe('a certificate replaced under load', { timeout: 90_000 }, () => {
  let stack, first, second;
  const replacements = [];

  before(async () => {
    stack = await Stack.start('certs');
    // The pair in service is a copy that will be replaced; `first` stays as it is.
    first = await Certificate.make(join(stack.folder, 'first'));
    second = await Certificate.make(join(stack.folder, 'second'));
    await replaceAndWait(first);
  });
  after(() => stack?.stop());

  const served = () => servedFingerprint(stack.sidecar.port);

  async function replaceAndWait(pair) {
    const another = (await served()) !== pair.fingerprint;
    stack.certificate.replaceBy(pair);
    const start = performance.now();
    await until('the new certificate to be served', async () => (await served()) === pair.fingerprint, { within: GOAL * SLACK });
    const took = performance.now() - start;
    if (another) replacements.push(took);
    return took;
  }

  test('goes to new connections, while an open WebSocket and a running download go on', async (t) => {
    const bytes = randomBytes(DOWNLOAD_BYTES);
    writeFileSync(join(stack.site.wordpress, 'wp-content/uploads/film.mp4'), bytes);
    const client = new HttpsClient(stack.origin, first.pem);
    const { centrifuge, subscription, events } = await connected(first.pem);
    try {
      const download = await client.open('/wp-content/uploads/film.mp4');
      assert.equal(download.statusCode, 200);
      const hash = createHash('sha256');
      let received = 0;
      const take = (chunk) => {
        hash.update(chunk);
        received += chunk.length;
      };
      download.once('data', (chunk) => {
        take(chunk);
        // Nothing more is read until the certificate is another one.
        download.pause();
      });
      await once(download, 'pause');

      const took = await replaceAndWait(second);
      t.diagnostic(`a new connection had the new certificate after ${took.toFixed(0)} ms (goal: ${GOAL} ms)`);
      assert.ok(received < DOWNLOAD_BYTES, 'the download was still running');

      download.on('data', take);
      download.resume();
      await once(download, 'end', { signal: AbortSignal.timeout(30_000) });
      assert.equal(received, DOWNLOAD_BYTES);
      assert.equal(hash.digest('hex'), createHash('sha256').update(bytes).digest('hex'));

      const published = once(subscription, 'publication', { signal: AbortSignal.timeout(10_000) });
      await stack.site.setPrice('47.00');
      const [{ data }] = await published;
      assert.equal(data.meta_value, '47.00');
      assert.deepEqual(events, ['connecting', 'connected'], 'the WebSocket was never closed');
    } finally {
      centrifuge.disconnect();
      client.close();
    }
  });

  test('changes nothing when the key does not fit, and says so in the log', async () => {
    await replaceAndWait(second);
    const mark = stack.sidecar.process.lineCount;
    const failures = async () => (await stack.sidecar.metrics()).get('sidewire_tls_certificate_reload_failures_total');
    const before = await failures();
    stack.certificate.replaceBy({ certificateFile: first.certificateFile, keyFile: second.keyFile });
    await stack.sidecar.process.line(/localhost\.(crt|key)/, { within: GOAL * SLACK, after: mark });
    await until('the failure to be counted', async () => (await failures()) > before, { within: GOAL * SLACK });
    assert.equal(await served(), second.fingerprint);
    const { centrifuge } = await connected(second.pem);
    centrifuge.disconnect();
  });

  test('is served once the pair fits again', async () => {
    await replaceAndWait(first);
    const client = new HttpsClient(stack.origin, first.pem);
    assert.equal((await client.get('/')).status, 200);
    client.close();
  });

  test('was there within two seconds, in the best of three replacements', (t) => {
    t.diagnostic(`replacements took ${replacements.map((took) => took.toFixed(0)).join(', ')} ms`);
    assert.equal(replacements.length, 3);
    assert.ok(Math.min(...replacements) <= GOAL, `the best took ${Math.min(...replacements).toFixed(0)} ms`);
  });

  /** A client that trusts `pem` alone, subscribed to the page's channel, and what its connection went through. */
  async function connected(pem) {
    class TrustingWebSocket extends WebSocket {
      constructor(address, protocols) {
        super(address, protocols, { ca: pem });
      }
    }
    const centrifuge = new Centrifuge(`wss://localhost:${stack.sidecar.port}/realtime`, { websocket: TrustingWebSocket });
    const subscription = centrifuge.newSubscription(`post:${stack.site.pageId}`);
    const events = [];
    centrifuge.on('state', ({ newState }) => events.push(newState));
    const subscribed = once(subscription, 'subscribed', { signal: AbortSignal.timeout(10_000) });
    subscription.subscribe();
    centrifuge.connect();
    await subscribed;
    return { centrifuge, subscription, events };
  }
});
