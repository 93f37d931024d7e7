/** The built classic script, run as a page runs it. */

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import vm from 'node:vm';
import { createPeer, memorySockets } from './peer.js';
import { metaEvent, openWindow, until } from './stage.js';

const script = await readFile(new URL('../dist/sidewire.js', import.meta.url), 'utf8');
const CONFIGURATION = '<script type="application/json" id="sidewire-config">{"path":"/realtime"}</script>';
const MARKED = '<b data-sidewire-meta="26:price">1</b>';

/**
 * @param {import('node:test').TestContext} t
 * @param {string} body
 * @param {string} [readyState]
 */
function open(t, body, readyState = 'interactive') {
  const window = openWindow(body);
  const peer = createPeer();
  /** @type {string[]} */
  const errors = [];
  Object.defineProperty(window.document, 'readyState', { get: () => readyState, configurable: true });
  const context = vm.createContext({
    window,
    document: window.document,
    console: { error: (/** @type {string} */ text) => errors.push(text) },
    WebSocket: memorySockets(peer),
    setTimeout,
    clearTimeout,
    setInterval,
    clearInterval,
  });
  t.after(async () => {
    window.sidewire.close();
    await window.happyDOM.close();
  });
  return {
    window,
    document: window.document,
    peer,
    errors,
    run: () => vm.runInContext(script, context),
    state: () => window.document.documentElement.getAttribute('data-sidewire-state'),
  };
}

test('a page with a configuration and a marker goes live by itself', async (t) => {
  const s = open(t, CONFIGURATION + MARKED);
  s.run();
  await until('the page is live', () => s.state() === 'live');
  s.peer.publish('post:26', metaEvent({ meta_value: '2' }));
  await until('the element shows the value', () => s.document.querySelector('b').textContent === '2');
  assert.deepEqual(s.errors, []);
});

test('a page without a configuration gets the functions and no connection', (t) => {
  const s = open(t, MARKED);
  s.run();
  assert.deepEqual(Object.keys(s.window.sidewire), ['connect', 'bind', 'close']);
  assert.equal(s.peer.opened, 0);
  assert.deepEqual(s.errors, []);
});

test('a script that runs while the page is read waits for its end', async (t) => {
  const s = open(t, CONFIGURATION + MARKED, 'loading');
  s.run();
  assert.equal(s.peer.opened, 0);
  s.document.dispatchEvent(new s.window.Event('DOMContentLoaded'));
  await until('the page is live', () => s.state() === 'live');
});

test('a page that carries the script twice has one connection', async (t) => {
  const s = open(t, CONFIGURATION + MARKED);
  s.run();
  s.run();
  await until('the page is live', () => s.state() === 'live');
  assert.equal(s.peer.opened, 1);
});

test('a faulty configuration is an error in the console, and the page goes on', (t) => {
  const s = open(t, `<script type="application/json" id="sidewire-config">{}</script>${MARKED}`);
  s.run();
  assert.equal(s.errors.length, 1);
  assert.match(s.errors[0], /^sidewire: #sidewire-config: path = undefined; expected a path/);
  assert.equal(s.peer.opened, 0);
});
