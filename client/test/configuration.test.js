/** What the page's configuration may say, and how a fault in it is told. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readConfiguration, socketAddress } from '../src/configuration.js';
import { openWindow, stage } from './stage.js';

/** @param {string} body */
function read(body) {
  /** @type {string[]} */
  const faults = [];
  const configuration = readConfiguration(openWindow(body).document, (fault) => faults.push(fault));
  return { configuration, faults };
}

/** @param {string} text */
const script = (text) => `<script type="application/json" id="sidewire-config">${text}</script>`;

test('the path is read from the page, and keys for a newer client are left alone', () => {
  const { configuration, faults } = read(script('{"path":"/realtime","later":true}'));
  assert.deepEqual(configuration, { path: '/realtime' });
  assert.deepEqual(faults, []);
});

for (const [what, body, expected] of [
  ['a missing element', '<p>no configuration</p>', /no element #sidewire-config.*connect\(\{ path/],
  ['an empty element', script(''), /#sidewire-config is not JSON/],
  ['text that is not JSON', script('{path:1}'), /#sidewire-config is not JSON .*expected \{"path":"\/realtime"\}/],
  ['a list', script('["/realtime"]'), /#sidewire-config is \["\/realtime"\]; expected an object/],
  ['null', script('null'), /#sidewire-config is null; expected an object/],
  ['no path', script('{}'), /path = undefined; expected a path/],
  ['a path that is a number', script('{"path":7}'), /path = 7; expected a path/],
  ['a path without a slash', script('{"path":"realtime"}'), /path = "realtime"; expected a path on this host that starts with one slash/],
  ['a path that names another host', script('{"path":"//evil.test/x"}'), /path = "\/\/evil.test\/x"; expected/],
  ['a path that names another host by a backslash', script('{"path":"/\\\\evil.test"}'), /expected a path on this host/],
  ['a path with a query', script('{"path":"/realtime?channel=site"}'), /without query/],
]) {
  test(`${what} is one fault that says what was expected`, () => {
    const { configuration, faults } = read(/** @type {string} */ (body));
    assert.equal(configuration, undefined);
    assert.equal(faults.length, 1);
    assert.match(faults[0], /** @type {RegExp} */ (expected));
  });
}

test('a page with TLS gets an address with TLS, on its own host and port', () => {
  const address = (/** @type {string} */ url) => socketAddress({ path: '/realtime' }, new URL(url), assert.fail);
  assert.equal(address('https://localhost:8443/lamp/?a=1#b'), 'wss://localhost:8443/realtime');
  assert.equal(address('http://shop.test/'), 'ws://shop.test/realtime');
});

test('a page that came from no server is a fault', () => {
  /** @type {string[]} */
  const faults = [];
  assert.equal(socketAddress({ path: '/realtime' }, new URL('file:///tmp/a.html'), (fault) => faults.push(fault)), undefined);
  assert.match(faults[0], /"file:"; expected https: or http:/);
});

test('a fault is reported by connect, which does not throw and opens nothing', (t) => {
  const { page, peer, faults, state } = stage(t, `${script('{"path":""}')}<b data-sidewire-meta="26:price">1</b>`);
  page.bind();
  assert.equal(page.connect(), false);
  assert.equal(faults.length, 1);
  assert.equal(peer.opened, 0);
  assert.equal(state(), null);
});

test('bind says what it expected when its root is not there', (t) => {
  const { page, faults } = stage(t, '');
  page.bind(/** @type {any} */ (null))();
  assert.deepEqual(faults, ['bind(null); expected the document or an element of it']);
});
