/**
 * A live page: its configuration, its markers and its connection, joined.
 *
 * Decides which post's channel is listened to and which elements an event
 * reaches. How each part works is told in the part's own file.
 */

import { show, watch } from './binding.js';
import { checkConfiguration, readConfiguration, socketAddress } from './configuration.js';
import { createConnection } from './connection.js';
import { newestEvents, readEvent, textOf } from './event.js';

/** @import { Marker } from './binding.js' */
/** @import { Configuration, Report } from './configuration.js' */
/** @import { MetaEvent } from './event.js' */

const CHANNEL = 'post:';

/**
 * Why values may be out of date: `recovery` after an outage longer than the
 * server's history, `fetch` when a value is too large for an event.
 *
 * @typedef {{ channel: string, reason: 'recovery' | 'fetch', event?: MetaEvent }} Gap
 */

/**
 * @param {Window & typeof globalThis} window
 * @param {object} [parts]
 * @param {unknown} [parts.WebSocket] the constructor to use in place of the browser's own
 * @param {Report} [parts.report]
 */
export function createPage(window, parts = {}) {
  const { document } = window;
  const report = parts.report || ((fault) => console.error(`sidewire: ${fault}`));
  /** @type {Map<Document | Element, ReturnType<typeof watch>>} */
  const bindings = new Map();
  /** @type {ReturnType<typeof createConnection> | undefined} */
  let connection;
  let newest = newestEvents();
  // Which event an element was last offered: two roots may hold one element.
  /** @type {WeakMap<Element, MetaEvent>} */
  let offered = new WeakMap();

  /**
   * @param {Element} element
   * @param {Marker} marker
   */
  function found(element, { post, key }) {
    if (connection) connection.subscribe(CHANNEL + post);
    const event = newest.of(key);
    if (event) offer(element, event);
  }

  /**
   * @param {Element} element
   * @param {MetaEvent} event
   */
  function offer(element, event) {
    const text = textOf(event);
    if (text === undefined || offered.get(element) === event) return;
    offered.set(element, event);
    show(element, event, text);
  }

  /**
   * @param {string} channel
   * @param {unknown} data
   */
  function published(channel, data) {
    const event = readEvent(data, report);
    if (!event) return;
    const post = channel.slice(CHANNEL.length);
    if (post.split('/').pop() !== String(event.post_id)) {
      report(`channel ${channel} carried an event of post ${event.post_id}; it was ignored`);
      return;
    }
    const key = `${post}:${event.meta_key}`;
    if (!newest.accept(key, event)) return;
    if (textOf(event) === undefined) announce({ channel, reason: 'fetch', event });
    for (const binding of Array.from(bindings.values())) {
      for (const element of binding.elements(key)) offer(element, event);
    }
  }

  /** @param {string} channel */
  function missed(channel) {
    newest.forget(channel.slice(CHANNEL.length));
    announce({ channel, reason: 'recovery' });
  }

  /** @param {Gap} detail */
  function announce(detail) {
    document.dispatchEvent(new window.CustomEvent('sidewire:gap', { detail }));
  }

  function posts() {
    return new Set(Array.from(bindings.values(), (binding) => binding.posts()).flat());
  }

  return {
    /**
     * @param {Configuration} [given]
     * @returns {boolean}
     */
    connect(given) {
      if (connection) return true;
      const configuration =
        given === undefined ? readConfiguration(document, report) : checkConfiguration(given, 'connect()', report);
      const address = configuration && socketAddress(configuration, window.location, report);
      if (!address) return false;
      connection = createConnection({
        address,
        WebSocket: parts.WebSocket,
        changed: (state) => document.documentElement.setAttribute('data-sidewire-state', state),
        published,
        missed,
        report,
      });
      for (const post of posts()) connection.subscribe(CHANNEL + post);
      return true;
    },

    /**
     * @param {Document | Element} [root]
     * @returns {() => void}
     */
    bind(root = document) {
      if (!root || typeof root.querySelectorAll !== 'function') {
        report(`bind(${root}); expected the document or an element of it`);
        return () => {};
      }
      if (!bindings.has(root)) bindings.set(root, watch(root, { found, report }));
      return () => {
        const binding = bindings.get(root);
        if (!binding) return;
        binding.close();
        bindings.delete(root);
        if (connection) connection.keep(new Set(Array.from(posts(), (post) => CHANNEL + post)));
      };
    },

    close() {
      for (const binding of bindings.values()) binding.close();
      bindings.clear();
      if (connection) connection.close();
      connection = undefined;
      newest = newestEvents();
      offered = new WeakMap();
    },
  };
}
