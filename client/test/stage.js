/**
 * A page to test on: a DOM from markup, the client on it, and what it reported.
 *
 * Also the one way tests wait: for a condition, with a deadline.
 */

import { Window } from 'happy-dom';
import { createPage } from '../src/page.js';
import { createPeer, memorySockets } from './peer.js';

const DEADLINE = 5000;

/**
 * @param {string} what what is waited for, told when it does not come
 * @param {() => unknown} condition
 */
export async function until(what, condition) {
  const end = performance.now() + DEADLINE;
  while (!condition()) {
    if (performance.now() > end) throw new Error(`not within ${DEADLINE} ms: ${what}`);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/**
 * @param {string} body
 * @param {string} [url]
 */
export function openWindow(body, url = 'https://shop.test/lamp/') {
  const window = new Window({ url });
  window.document.body.innerHTML = body;
  return /** @type {any} */ (window);
}

/**
 * Everything of one test, ended when the test ends.
 *
 * @param {import('node:test').TestContext} t
 * @param {string} body
 * @param {{ url?: string, WebSocket?: unknown, peer?: ReturnType<typeof createPeer> }} [parts]
 */
export function stage(t, body, { url, WebSocket, peer = createPeer() } = {}) {
  const window = openWindow(body, url);
  const { document } = /** @type {{ document: Document }} */ (window);
  /** @type {string[]} */
  const faults = [];
  const page = createPage(window, {
    WebSocket: WebSocket || memorySockets(peer),
    report: (fault) => faults.push(fault),
  });
  t.after(async () => {
    page.close();
    await window.happyDOM.close();
  });
  const state = () => document.documentElement.getAttribute('data-sidewire-state');
  return {
    window,
    document,
    faults,
    page,
    peer,
    state,
    /** Connects, binds the document and waits until it is live. */
    async start() {
      page.connect({ path: '/realtime' });
      page.bind();
      await until('data-sidewire-state is live', () => state() === 'live');
    },
    /** @param {string} selector */
    text: (selector) => document.querySelector(selector)?.textContent,
    /** @param {string} selector */
    element: (selector) => /** @type {HTMLElement} */ (document.querySelector(selector)),
    /**
     * Publishes and waits until the client has taken it: a later event of
     * another key arrives after it, so that "nothing changed" means something.
     *
     * @param {string} channel
     * @param {unknown[]} events
     */
    async deliver(channel, ...events) {
      const witness = document.createElement('i');
      const post = channel.replace('post:', '');
      witness.setAttribute('data-sidewire-meta', `${post}:witness`);
      document.body.append(witness);
      for (const event of events) peer.publish(channel, event);
      revision += 1;
      peer.publish(channel, metaEvent({ post_id: Number(post.split('/').pop()), meta_key: 'witness', meta_value: 'seen', rev: revision }));
      await until(`channel ${channel} is taken`, () => witness.textContent === 'seen');
      witness.remove();
    },
  };
}

let revision = 1764032523000000;

/**
 * A well-formed event, newer than those before it.
 *
 * @param {Record<string, unknown>} [fields]
 */
export function metaEvent(fields) {
  revision += 1;
  return {
    type: 'post_meta_update',
    op: 'updated',
    post_id: 26,
    meta_key: 'price',
    meta_value: '42.50',
    values: ['42.50'],
    timestamp: '2026-11-25 01:02:03',
    rev: revision,
    id: `event-${revision}`,
    ...fields,
  };
}
