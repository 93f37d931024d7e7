/**
 * The signature vectors that every language of the product reads, by Node's own
 * crypto and by the published Standard Webhooks package.
 */

import assert from 'node:assert/strict';
import { createHmac, timingSafeEqual } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { Webhook } from 'standardwebhooks';

/** @typedef {{ name: string, secret: string, id: string, timestamp: number, body: string, signature: string, valid: boolean }} Case */

/** @type {{ cases: Case[] }} */
const { cases } = JSON.parse(await readFile(new URL('../../tests/vectors/signatures.json', import.meta.url), 'utf8'));

/** @param {Case} vector */
function verifies({ secret, id, timestamp, body, signature }) {
  const key = Buffer.from(secret.slice('whsec_'.length), 'base64');
  const expected = Buffer.from(`v1,${createHmac('sha256', key).update(`${id}.${timestamp}.${body}`).digest('base64')}`);
  return signature.split(' ').some((one) => {
    const given = Buffer.from(one);
    return given.length === expected.length && timingSafeEqual(given, expected);
  });
}

test('the vectors hold both valid and invalid signatures', () => {
  assert.ok(cases.some(({ valid }) => valid) && cases.some(({ valid }) => !valid));
});

for (const vector of cases) {
  const { name, secret, id, timestamp, body, signature, valid } = vector;

  test(`node:crypto finds ${name} ${valid ? 'valid' : 'invalid'}`, () => {
    assert.equal(verifies(vector), valid);
  });

  test(`standardwebhooks finds ${name} ${valid ? 'valid' : 'invalid'}`, (t) => {
    // The package compares timestamps with the present, and these are of the past.
    t.mock.timers.enable({ apis: ['Date'], now: timestamp * 1000 });
    const headers = { 'webhook-id': id, 'webhook-timestamp': String(timestamp), 'webhook-signature': signature };
    const verify = () => new Webhook(secret).verify(body, headers);
    if (valid) assert.doesNotThrow(verify);
    else assert.throws(verify, { name: 'WebhookVerificationError' });
  });
}
