/** The SDK against a real WebSocket server on the loopback: the protocol's frames, losses and refusals. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { WebSocket } from 'ws';
import { createPeer, listen } from './peer.js';
import { metaEvent, stage, until } from './stage.js';

const BODY = '<b data-sidewire-meta="26:price">1</b>';

/** @param {import('node:test').TestContext} t */
async function live(t) {
  const peer = createPeer();
  const server = await listen(peer);
  t.after(() => server.close());
  const s = stage(t, BODY, { peer, WebSocket, url: `http://127.0.0.1:${server.port}/lamp/` });
  /** @type {string[]} */
  const states = [];
  const observer = new s.window.MutationObserver(() => states.push(String(s.state())));
  observer.observe(s.document.documentElement, { attributes: true, attributeFilter: ['data-sidewire-state'] });
  /** @type {any[]} */
  const gaps = [];
  s.document.addEventListener('sidewire:gap', (event) => gaps.push(/** @type {CustomEvent} */ (event).detail));
  return { ...s, gaps, states, server };
}

test('a publication to post:26 becomes the text of its element', async (t) => {
  const s = await live(t);
  await s.start();
  s.peer.publish('post:26', metaEvent({ meta_value: '42.50' }), { offset: 1, tags: { key: '26:price' } });
  await until('the element shows 42.50', () => s.text('b') === '42.50');
  const [connect, subscribe] = s.peer.commands;
  assert.deepEqual(connect, { connect: { name: 'sidewire' }, id: 1 });
  assert.equal(subscribe.subscribe.channel, 'post:26');
  assert.deepEqual(s.faults, []);
});

test('the page is connecting, then live, and offline once closed', async (t) => {
  const s = await live(t);
  s.page.connect({ path: '/realtime' });
  s.page.bind();
  assert.equal(s.state(), 'connecting');
  await until('the page is live', () => s.state() === 'live');
  s.page.close();
  assert.equal(s.state(), 'offline');
});

test('the page is not called live while one of its channels is still unanswered', async (t) => {
  const s = await live(t);
  s.document.body.insertAdjacentHTML('beforeend', '<i data-sidewire-meta="7:price">1</i>');
  s.peer.answers.set('post:7', { error: { code: 100, message: 'internal server error', temporary: true } });
  s.page.connect({ path: '/realtime' });
  s.page.bind();
  await until('post:7 was asked for', () => s.peer.asked().includes('post:7'));
  await s.deliver('post:26', metaEvent({ meta_value: '2' }));
  assert.equal(s.text('b'), '2');
  assert.equal(s.state(), 'connecting');
  s.peer.answers.clear();
  await until('the page is live', () => s.state() === 'live');
  assert.deepEqual(s.peer.asked(), ['post:26', 'post:7', 'post:7']);
  assert.deepEqual(s.faults, []);
});

test('a server that can not be reached makes the page offline, and it goes live when the server is back', async (t) => {
  const s = await live(t);
  let reachable = false;
  // A constructor that dials nowhere until the server is back.
  const closed = `ws://127.0.0.1:${s.server.port}/elsewhere`;
  class Dialler extends WebSocket {
    /** @param {string} address */
    constructor(address) {
      super(reachable ? address : closed);
    }
  }
  const other = stage(t, BODY, { peer: s.peer, WebSocket: Dialler, url: `http://127.0.0.1:${s.server.port}/` });
  other.page.connect({ path: '/realtime' });
  other.page.bind();
  await until('the page is offline', () => other.state() === 'offline');
  reachable = true;
  await until('the page is live', () => other.state() === 'live');
  assert.deepEqual(other.faults, []);
});

test('what was published during an outage is shown, without a gap, when the server recovers it', async (t) => {
  const s = await live(t);
  s.peer.answers.set('post:26', { result: { recoverable: true, epoch: 'ab', offset: 1 } });
  await s.start();
  const missedEvent = metaEvent({ meta_value: 'missed' });
  s.peer.answers.set('post:26', {
    result: { recoverable: true, epoch: 'ab', offset: 2, was_recovering: true, recovered: true, publications: [{ data: missedEvent, offset: 2 }] },
  });
  s.peer.closeAll(3001, 'shutdown');
  await until('the missed event is shown', () => s.text('b') === 'missed');
  const { recover, epoch, offset } = s.peer.commands.filter(({ subscribe }) => subscribe)[1].subscribe;
  assert.deepEqual({ recover, epoch, offset }, { recover: true, epoch: 'ab', offset: 1 });
  assert.deepEqual(s.gaps, []);
});

test('an outage that the server can not recover is a gap: the page is told, older values stay out, and later elements keep their text', async (t) => {
  const s = await live(t);
  s.peer.answers.set('post:26', { result: { recoverable: true, epoch: 'ab', offset: 1 } });
  await s.start();
  const older = metaEvent({ meta_value: 'older' });
  await s.deliver('post:26', metaEvent({ meta_value: '2' }));
  s.peer.answers.set('post:26', { result: { recoverable: true, epoch: 'cd', offset: 9, was_recovering: true, recovered: false } });
  s.peer.closeAll(3001, 'shutdown');
  await until('the page is told of the gap', () => s.gaps.length > 0);
  await until('the page is live again', () => s.state() === 'live');
  await s.deliver('post:26', older);
  // Markup fetched after the gap may be newer than the last event seen before it.
  s.document.body.insertAdjacentHTML('beforeend', '<i data-sidewire-meta="26:price">fresh</i>');
  await s.deliver('post:26');
  assert.deepEqual(s.gaps, [{ channel: 'post:26', reason: 'recovery' }]);
  assert.equal(s.text('b'), '2');
  assert.equal(s.text('i'), 'fresh');
});

test('a refused channel is reported with its code, and the other values stay live', async (t) => {
  const s = await live(t);
  s.document.body.insertAdjacentHTML('beforeend', '<i data-sidewire-meta="7:price">1</i>');
  s.peer.answers.set('post:7', { error: { code: 103, message: 'permission denied' } });
  await s.start();
  await until('the refusal is reported', () => s.faults.length === 1);
  assert.equal(s.faults[0], 'the server refused channel post:7: permission denied (103); its values are not live');
  await s.deliver('post:26', metaEvent({ meta_value: '2' }));
  assert.equal(s.text('b'), '2');
});

test('a page whose only channel is refused is offline, not live', async (t) => {
  const s = await live(t);
  s.peer.answers.set('post:26', { error: { code: 103, message: 'permission denied' } });
  s.page.connect({ path: '/realtime' });
  s.page.bind();
  await until('the page is offline', () => s.state() === 'offline');
  await until('the states are observed', () => s.states.includes('offline'));
  assert.ok(!s.states.includes('live'), s.states.join(', '));
});

test('a connection that the server ends for good is reported, and not asked for again', async (t) => {
  const s = await live(t);
  await s.start();
  s.peer.closeAll(3507, 'permission denied');
  await until('the end is reported', () => s.faults.length === 1);
  assert.match(s.faults[0], /the server ended the connection to ws:.*: permission denied \(3507\); values on this page are no longer live/);
  assert.equal(s.state(), 'offline');
  // Observers are told in the order they were made, so the page's own has seen the element before this one.
  let seen = false;
  new s.window.MutationObserver(() => (seen = true)).observe(s.document.body, { childList: true });
  s.document.body.insertAdjacentHTML('beforeend', '<i data-sidewire-meta="7:price">1</i>');
  await until('the later element is seen', () => seen);
  assert.equal(s.state(), 'offline');
  assert.equal(s.peer.opened, 1);
});
