/**
 * Publishing as a stranger does it, signed by the published `standardwebhooks`
 * package: accepted when it is right, and refused with a code of its own, and
 * counted, for each way of being wrong.
 */

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';

import { Certificate } from './harness/certificate.mjs';
import { newFolder } from './harness/folders.mjs';
import { Publisher } from './harness/publisher.mjs';
import { Sidecar } from './harness/sidecar.mjs';
import { Site } from './harness/site.mjs';

const FIVE_MINUTES = 300_000;

describe('a request signed by standardwebhooks', { timeout: 60_000 }, () => {
  let sidecar, publisher;
  const body = JSON.stringify({ channel: 'site', data: { hello: 'world' } });

  before(async () => {
    const folder = newFolder('publish');
    const site = await Site.provide(folder);
    sidecar = await Sidecar.start({
      folder,
      certificate: await Certificate.make(join(folder, 'certs')),
      publishSocket: site.socket,
      secretFile: site.secretFile,
      // No page is asked for here, so nothing listens there.
      backEnd: { fastcgi: join(folder, 'php-fpm.sock'), root: site.wordpress },
    });
    publisher = new Publisher(sidecar.publishSocket, site.secret);
    await acceptedAtLast();
  });
  after(() => sidecar?.stop());

  /** In its first second the sidecar refuses what may have been signed before it started. */
  async function acceptedAtLast() {
    for (let answer; ; ) {
      answer = await publisher.publish('site', { ready: true });
      if (answer.status === 200) return;
      assert.equal(answer.body.error.code, 1006, JSON.stringify(answer));
      await new Promise((resolve) => setTimeout(resolve, answer.body.error.not_before * 1000 - Date.now()));
    }
  }

  async function assertRefused({ status, code, reason }, post) {
    const before = await sidecar.refusals(reason);
    const answer = await post();
    assert.equal(answer.status, status, JSON.stringify(answer.body));
    assert.equal(answer.body.error.code, code);
    assert.equal(typeof answer.body.error.message, 'string');
    assert.equal(await sidecar.refusals(reason), before + 1, `the refusal is counted as ${reason}`);
  }

  test('is accepted, and says at which position it was published', async () => {
    const first = await publisher.post('publish', body, publisher.sign(body));
    assert.equal(first.status, 200, JSON.stringify(first.body));
    const second = await publisher.post('publish', body, publisher.sign(body));
    assert.equal(second.body.result.offset, first.body.result.offset + 1);
    assert.equal(second.body.result.epoch, first.body.result.epoch);
  });

  test('sent twice is published once and gets the first reply again', async () => {
    const headers = publisher.sign(body);
    const first = await publisher.post('publish', body, headers);
    const again = await publisher.post('publish', body, headers);
    assert.deepEqual(again, first);
    const next = await publisher.publish('site', { next: true });
    assert.equal(next.body.result.offset, first.body.result.offset + 1);
  });

  test('is refused with 1001 without any one of its headers', async () => {
    for (const name of ['webhook-id', 'webhook-timestamp', 'webhook-signature']) {
      const headers = publisher.sign(body);
      delete headers[name];
      await assertRefused({ status: 401, code: 1001, reason: 'missing_header' }, () => publisher.post('publish', body, headers));
    }
  });

  test('is refused with 1002 when its timestamp is too old or too new', async () => {
    for (const offset of [-FIVE_MINUTES - 5_000, FIVE_MINUTES + 5_000]) {
      const headers = publisher.sign(body, { at: new Date(Date.now() + offset) });
      await assertRefused({ status: 401, code: 1002, reason: 'timestamp' }, () => publisher.post('publish', body, headers));
    }
  });

  test('is refused with 1003 when it is signed with another secret', async () => {
    const stranger = new Publisher(sidecar.publishSocket, `whsec_${randomBytes(32).toString('base64')}`);
    await assertRefused({ status: 401, code: 1003, reason: 'signature' }, () => stranger.post('publish', body, stranger.sign(body)));
  });

  test('is refused with 1003 when its body was altered', async () => {
    const headers = publisher.sign(body);
    await assertRefused({ status: 401, code: 1003, reason: 'signature' }, () => publisher.post('publish', body.replace('world', 'W0rld'), headers));
  });

  test('is refused with 1004 when its id was used with another body', async () => {
    const headers = publisher.sign(body);
    assert.equal((await publisher.post('publish', body, headers)).status, 200);
    const other = body.replace('world', 'moon');
    const reused = publisher.sign(other, { id: headers['webhook-id'] });
    await assertRefused({ status: 409, code: 1004, reason: 'id_reused' }, () => publisher.post('publish', other, reused));
  });

  test('is refused with 1005 when its id names another method than the path', async () => {
    const headers = publisher.sign(body, { method: 'batch' });
    await assertRefused({ status: 400, code: 1005, reason: 'id_form' }, () => publisher.post('publish', body, headers));
  });

  test('a refused request uses up no id: the right one with the same id is accepted', async () => {
    const headers = publisher.sign(body);
    const forged = { ...headers, 'webhook-signature': `v1,${randomBytes(32).toString('base64')}` };
    assert.equal((await publisher.post('publish', body, forged)).status, 401);
    assert.equal((await publisher.post('publish', body, headers)).status, 200);
  });
});
