/** What a visitor's page does with markers and events; the wire is in memory. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { metaEvent, stage, until } from './stage.js';

test('both kinds of marker show the new value', async (t) => {
  const s = stage(t, '<b data-sidewire-meta="26:price">1</b><i id="meta-value-post-26-price">1</i>');
  await s.start();
  await s.deliver('post:26', metaEvent({ meta_value: '42.50' }));
  assert.equal(s.text('b'), '42.50');
  assert.equal(s.text('i'), '42.50');
  assert.deepEqual(s.faults, []);
});

test('every element of a key changes, and no element of another key or post', async (t) => {
  const s = stage(
    t,
    '<p data-sidewire-meta="26:price">1</p><p data-sidewire-meta="26:price">1</p>' +
      '<b data-sidewire-meta="26:price_old">1</b><i data-sidewire-meta="260:price">1</i><u id="meta-value-post-260-price">1</u>'
  );
  await s.start();
  await s.deliver('post:26', metaEvent({ meta_value: '2' }));
  assert.deepEqual(Array.from(s.document.querySelectorAll('p'), (p) => p.textContent), ['2', '2']);
  assert.equal(s.text('b') + String(s.text('i')) + s.text('u'), '111');
});

for (const key of ['unit-price-net', 'a:b', '-26-', 'with "quotes" and \\', '__proto__', 'größe']) {
  test(`the key ${JSON.stringify(key)} is found by both kinds of marker`, async (t) => {
    const s = stage(t, '<b>1</b><i>1</i>');
    s.element('b').setAttribute('data-sidewire-meta', `26:${key}`);
    s.element('i').id = `meta-value-post-26-${key}`;
    await s.start();
    await s.deliver('post:26', metaEvent({ meta_key: key, meta_value: '2' }));
    assert.equal(s.text('b') + String(s.text('i')), '22');
  });
}

test('a value is text and never markup', async (t) => {
  const s = stage(t, '<b data-sidewire-meta="26:price">1</b>');
  await s.start();
  const value = '<img src=x onerror="alert(1)"><script>alert(2)</script>&amp;';
  await s.deliver('post:26', metaEvent({ meta_value: value }));
  assert.equal(s.text('b'), value);
  assert.equal(s.element('b').children.length, 0);
});

test('text is never written where it would be code', async (t) => {
  const s = stage(t, '<style data-sidewire-meta="26:price">/*1*/</style><b data-sidewire-meta="26:price">1</b>');
  await s.start();
  await s.deliver('post:26', metaEvent({ meta_value: '2' }));
  assert.equal(s.text('style'), '/*1*/');
  assert.equal(s.text('b'), '2');
  assert.match(s.faults[0], /data-sidewire-meta on <style>; expected an element that shows text/);
});

test('a deleted value leaves the element empty', async (t) => {
  const s = stage(t, '<b data-sidewire-meta="26:price">1</b>');
  await s.start();
  await s.deliver('post:26', metaEvent({ op: 'deleted', meta_value: '', values: [] }));
  assert.equal(s.text('b'), '');
});

test('an older event never replaces a newer value', async (t) => {
  const s = stage(t, '<b data-sidewire-meta="26:price">1</b>');
  await s.start();
  const older = metaEvent({ meta_value: 'older' });
  await s.deliver('post:26', metaEvent({ meta_value: 'newer' }), older);
  assert.equal(s.text('b'), 'newer');
});

test('an event that comes twice is shown once', async (t) => {
  const s = stage(t, '<b data-sidewire-meta="26:price">1</b>');
  let shown = 0;
  s.element('b').addEventListener('sidewire:updated', () => (shown += 1));
  await s.start();
  const event = metaEvent();
  await s.deliver('post:26', event, event);
  assert.equal(shown, 1);
});

test('a cancelled update changes nothing and is not followed by sidewire:updated', async (t) => {
  const s = stage(t, '<b data-sidewire-meta="26:price">1</b>');
  /** @type {string[]} */
  const order = [];
  s.document.addEventListener('sidewire:update', (event) => {
    if (event.target !== s.element('b')) return;
    order.push(event.type);
    event.preventDefault();
  });
  s.element('b').addEventListener('sidewire:updated', (event) => order.push(event.type));
  await s.start();
  await s.deliver('post:26', metaEvent({ meta_value: '2' }));
  assert.equal(s.text('b'), '1');
  assert.deepEqual(order, ['sidewire:update']);
});

test('an update is announced before and after, on the element, with the event, and bubbles', async (t) => {
  const s = stage(t, '<b data-sidewire-meta="26:price">1</b>');
  /** @type {[string, string | null, unknown][]} */
  const seen = [];
  for (const type of ['sidewire:update', 'sidewire:updated']) {
    s.document.addEventListener(type, (event) => {
      const { target, detail } = /** @type {CustomEvent} */ (event);
      const { textContent, localName } = /** @type {Element} */ (target);
      if (localName === 'b') seen.push([type, textContent, detail.meta_value]);
    });
  }
  await s.start();
  await s.deliver('post:26', metaEvent({ meta_value: '2' }));
  assert.deepEqual(seen, [
    ['sidewire:update', '1', '2'],
    ['sidewire:updated', '2', '2'],
  ]);
});

test('a page where nothing is live opens no connection and says nothing', async (t) => {
  const s = stage(t, '<p id="meta-value-post-x">1</p><p>2</p>');
  assert.equal(s.page.connect({ path: '/realtime' }), true);
  s.page.bind();
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(s.peer.opened, 0);
  assert.equal(s.state(), null);
  assert.deepEqual(s.faults, []);
});

test('all posts of a page share one connection, with one subscription each', async (t) => {
  const s = stage(
    t,
    '<b data-sidewire-meta="26:price">1</b><b data-sidewire-meta="26:stock">1</b>' +
      '<b data-sidewire-meta="7:price">1</b><i id="meta-value-post-7-stock">1</i>'
  );
  await s.start();
  s.page.connect({ path: '/realtime' });
  s.page.bind();
  assert.equal(s.peer.opened, 1);
  assert.deepEqual(s.peer.asked(), ['post:26', 'post:7']);
});

test('connect and bind may come in either order', async (t) => {
  const s = stage(t, '<b data-sidewire-meta="26:price">1</b>');
  s.page.bind();
  s.page.connect({ path: '/realtime' });
  await until('the page is live', () => s.state() === 'live');
  assert.deepEqual(s.peer.asked(), ['post:26']);
});

test('a blog of a network has its own channel, and its posts are not those of another blog', async (t) => {
  const s = stage(t, '<b data-sidewire-meta="2/26:price">1</b><i data-sidewire-meta="26:price">1</i>');
  await s.start();
  assert.deepEqual(s.peer.asked(), ['post:2/26', 'post:26']);
  await s.deliver('post:2/26', metaEvent({ meta_value: '2' }));
  assert.equal(s.text('b'), '2');
  assert.equal(s.text('i'), '1');
});

test('an element added later is live, and its post is subscribed to', async (t) => {
  const s = stage(t, '<b data-sidewire-meta="26:price">1</b>');
  await s.start();
  s.document.body.insertAdjacentHTML('beforeend', '<section><i data-sidewire-meta="7:price">1</i></section>');
  await until('post:7 is subscribed to', () => s.peer.asked().includes('post:7'));
  await s.deliver('post:7', metaEvent({ post_id: 7, meta_value: '2' }));
  assert.equal(s.text('i'), '2');
});

test('an element added later with an older text gets the newest value known', async (t) => {
  const s = stage(t, '<b data-sidewire-meta="26:price">1</b>');
  await s.start();
  await s.deliver('post:26', metaEvent({ meta_value: '2' }));
  s.document.body.insertAdjacentHTML('beforeend', '<i id="meta-value-post-26-price">1</i>');
  await until('the late element shows the value', () => s.text('i') === '2');
});

test('an element whose marker is changed follows its new key', async (t) => {
  const s = stage(t, '<b data-sidewire-meta="26:price">1</b>');
  await s.start();
  await s.deliver('post:26', metaEvent({ meta_key: 'stock', meta_value: '9' }));
  s.element('b').setAttribute('data-sidewire-meta', '26:stock');
  await until('the element shows its new key', () => s.text('b') === '9');
});

test('a marker that can not be read is reported and leaves the others alone', async (t) => {
  const s = stage(t, '<u data-sidewire-meta="price">1</u><u data-sidewire-meta="026:price">1</u><b data-sidewire-meta="26:price">1</b>');
  await s.start();
  await s.deliver('post:26', metaEvent({ meta_value: '2' }));
  assert.equal(s.text('b'), '2');
  assert.deepEqual(s.faults, [
    'data-sidewire-meta = "price"; expected POST:KEY, such as "26:price"',
    'data-sidewire-meta = "026:price"; expected POST:KEY, such as "26:price"',
  ]);
});

test('a malformed event is reported and changes nothing', async (t) => {
  const s = stage(t, '<b data-sidewire-meta="26:price">1</b>');
  await s.start();
  await s.deliver('post:26', metaEvent({ rev: 'new', meta_value: '2' }), metaEvent({ op: 'own', meta_value: '3' }));
  assert.equal(s.text('b'), '1');
  assert.equal(s.faults.length, 2);
});

test('an event of another post than its channel is reported and changes nothing', async (t) => {
  const s = stage(t, '<b data-sidewire-meta="26:price">1</b><i data-sidewire-meta="7:price">1</i>');
  await s.start();
  await s.deliver('post:26', metaEvent({ post_id: 7, meta_value: '2' }));
  assert.equal(s.text('b') + String(s.text('i')), '11');
  assert.deepEqual(s.faults, ['channel post:26 carried an event of post 7; it was ignored']);
});

test('a value too large to travel leaves the text, and the page is told of the gap', async (t) => {
  const s = stage(t, '<b data-sidewire-meta="26:price">1</b>');
  /** @type {any[]} */
  const gaps = [];
  s.document.addEventListener('sidewire:gap', (event) => gaps.push(/** @type {CustomEvent} */ (event).detail));
  await s.start();
  await s.deliver('post:26', metaEvent({ meta_value: undefined, values: undefined, fetch: true }));
  assert.equal(s.text('b'), '1');
  assert.deepEqual(gaps.map(({ channel, reason, event }) => [channel, reason, event.meta_key]), [['post:26', 'fetch', 'price']]);
});

test('an element under two bound roots is updated once', async (t) => {
  const s = stage(t, '<section><b data-sidewire-meta="26:price">1</b></section>');
  s.page.bind(s.element('section'));
  let shown = 0;
  s.element('b').addEventListener('sidewire:updated', () => (shown += 1));
  await s.start();
  await s.deliver('post:26', metaEvent({ meta_value: '2' }));
  assert.equal(shown, 1);
});

test('a root may itself be the marked element', async (t) => {
  const s = stage(t, '<b data-sidewire-meta="26:price">1</b>');
  s.page.connect({ path: '/realtime' });
  s.page.bind(s.element('b'));
  await until('the page is live', () => s.state() === 'live');
  s.peer.publish('post:26', metaEvent({ meta_value: '2' }));
  await until('the root shows the value', () => s.text('b') === '2');
});

test('leaving a root leaves the channels that no other root needs, and the last one ends the connection', async (t) => {
  const s = stage(t, '<section><b data-sidewire-meta="26:price">1</b></section><aside><b data-sidewire-meta="7:price">1</b></aside>');
  s.page.connect({ path: '/realtime' });
  const leaveSection = s.page.bind(s.element('section'));
  const leaveAside = s.page.bind(s.element('aside'));
  await until('the page is live', () => s.state() === 'live');
  leaveSection();
  await until('post:26 is left', () => s.peer.commands.some(({ unsubscribe }) => unsubscribe?.channel === 'post:26'));
  assert.equal(s.peer.lines.size, 1);
  assert.equal(s.state(), 'live');
  leaveAside();
  await until('the connection is closed', () => s.peer.lines.size === 0);
  assert.equal(s.state(), 'offline');
  assert.deepEqual(s.faults, []);
});

test('close ends the connection and keeps the text, and the page can begin anew', async (t) => {
  const s = stage(t, '<b data-sidewire-meta="26:price">1</b>');
  await s.start();
  await s.deliver('post:26', metaEvent({ meta_value: '2' }));
  s.page.close();
  await until('the connection is closed', () => s.peer.lines.size === 0);
  assert.equal(s.state(), 'offline');
  assert.equal(s.text('b'), '2');
  await s.start();
  await s.deliver('post:26', metaEvent({ meta_value: '3' }));
  assert.equal(s.text('b'), '3');
});
