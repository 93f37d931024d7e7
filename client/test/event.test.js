/** What passes for an event, what text it shows, and which of two is newer. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { newestEvents, readEvent, textOf } from '../src/event.js';
import { metaEvent } from './stage.js';

/** @param {unknown} data */
function read(data) {
  /** @type {string[]} */
  const faults = [];
  return { event: readEvent(data, (fault) => faults.push(fault)), faults };
}

test('a well-formed event is taken, and frozen against its listeners', () => {
  const { event, faults } = read(metaEvent());
  assert.equal(event?.meta_key, 'price');
  assert.ok(Object.isFrozen(event));
  assert.deepEqual(faults, []);
});

test('data of another type is passed over in silence', () => {
  for (const data of [null, 'text', 7, [], {}, { type: 'post_update', post_id: 26 }]) {
    assert.deepEqual(read(data), { event: undefined, faults: [] });
  }
});

for (const [name, value, shown] of /** @type {[string, unknown, string][]} */ ([
  ['op', 'replaced', '"replaced"'],
  ['op', undefined, 'undefined'],
  ['post_id', '26', '"26"'],
  ['post_id', 0, '0'],
  ['post_id', 1.5, '1.5'],
  ['post_id', null, 'null'],
  ['meta_key', '', '""'],
  ['meta_key', ['price'], 'a list'],
  ['meta_key', { price: 1 }, 'an object'],
  ['rev', undefined, 'undefined'],
  ['rev', '7', '"7"'],
  ['rev', -1, '-1'],
  ['rev', 2 ** 53, '9007199254740992'],
  ['meta_value', undefined, 'undefined'],
])) {
  test(`an event whose ${name} is ${shown} is refused, and the fault says so`, () => {
    const { event, faults } = read(metaEvent({ [name]: value }));
    assert.equal(event, undefined);
    assert.equal(faults.length, 1);
    assert.ok(faults[0].includes(`has ${name} = ${shown}; expected`), faults[0]);
  });
}

test('a fault shows no more than the start of a huge value', () => {
  const { faults } = read(metaEvent({ op: 'x'.repeat(100000) }));
  assert.ok(faults[0].length < 250, String(faults[0].length));
});

for (const [value, text] of /** @type {[unknown, string][]} */ ([
  ['42.50', '42.50'],
  ['', ''],
  [42.5, '42.5'],
  [0, '0'],
  [true, '1'],
  [false, ''],
  [null, ''],
  [['red', 'blue'], 'red, blue'],
  [{ a: 'red', b: 3 }, 'red, 3'],
  [[], ''],
  [[['red', 'blue'], 'green'], 'red, blue'],
  [{ deep: { deeper: ['red'] }, other: 1 }, 'red'],
])) {
  test(`the value ${JSON.stringify(value)} shows as ${JSON.stringify(text)}`, () => {
    assert.equal(textOf(/** @type {any} */ (metaEvent({ meta_value: value }))), text);
  });
}

test('a value of any depth is shown without exhausting the stack', () => {
  const deep = JSON.parse(`${'['.repeat(100000)}"core"${']'.repeat(100000)}`);
  assert.equal(textOf(/** @type {any} */ (metaEvent({ meta_value: deep }))), 'core');
});

test('a deleted value shows as nothing, whatever the event carries', () => {
  assert.equal(textOf(/** @type {any} */ (metaEvent({ op: 'deleted', meta_value: 'left over' }))), '');
});

test('a value too large to travel has no text', () => {
  const { event } = read(metaEvent({ meta_value: undefined, values: undefined, fetch: true }));
  assert.equal(textOf(/** @type {any} */ (event)), undefined);
});

test('of one key only newer revisions are accepted, and keys do not disturb one another', () => {
  const newest = newestEvents();
  const accept = (/** @type {string} */ key, /** @type {number} */ rev) => newest.accept(key, /** @type {any} */ ({ rev }));
  assert.equal(accept('26:price', 5), true);
  assert.equal(accept('26:price', 5), false);
  assert.equal(accept('26:price', 4), false);
  assert.equal(accept('26:__proto__', 1), true);
  assert.equal(accept('26:price', 6), true);
});

test('a forgotten post has no value, yet what is older than it stays refused', () => {
  const newest = newestEvents();
  const event = /** @type {any} */ ({ rev: 5 });
  newest.accept('26:price', event);
  newest.accept('261:price', event);
  newest.forget('26');
  assert.equal(newest.of('26:price'), undefined);
  assert.equal(newest.of('261:price'), event);
  assert.equal(newest.accept('26:price', /** @type {any} */ ({ rev: 4 })), false);
});
