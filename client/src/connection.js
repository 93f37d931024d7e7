/**
 * The page's one connection: which channels it listens to, and how well.
 *
 * Back-off, resubscribing and recovery are the SDK's work. This file holds a
 * socket only while some channel is wanted, and knows nothing of posts or DOM.
 */

import { Centrifuge } from 'centrifuge';

/** @import { Subscription } from 'centrifuge' */
/** @import { Report } from './configuration.js' */

/**
 * `live`: every channel is being listened to. `connecting`: the first attempt,
 * or the one right after a loss, is under way. `offline`: an attempt failed
 * (more follow), the server said no, or the connection was closed.
 *
 * @typedef {'connecting' | 'live' | 'offline'} State
 */

/**
 * @typedef {object} ConnectionParts
 * @property {string} address WebSocket address.
 * @property {unknown} [WebSocket] The constructor to use in place of the browser's own.
 * @property {(state: State) => void} changed Told of each new state.
 * @property {(channel: string, data: unknown) => void} published Told of each publication.
 * @property {(channel: string) => void} missed Told that publications of a channel are lost.
 * @property {Report} report
 */

/**
 * Opens nothing yet: the first `subscribe` does.
 *
 * @param {ConnectionParts} parts
 */
export function createConnection({ address, WebSocket, changed, published, missed, report }) {
  /** @type {Map<string, Subscription>} */
  const subscriptions = new Map();
  /** @type {State | undefined} */
  let state;
  // Once the server has ended the connection for good, asking again is no use.
  let ended = false;

  const client = new Centrifuge(address, { name: 'sidewire', websocket: WebSocket || null });
  client.on('connecting', () => enter('connecting'));
  client.on('connected', settle);
  // Each failed attempt comes by here; after the first the page is told.
  client.on('error', () => {
    if (client.state === 'connecting') enter('offline');
  });
  client.on('disconnected', ({ code, reason }) => {
    enter('offline');
    if (code === 0) return;
    ended = true;
    report(`the server ended the connection to ${address}: ${reason} (${code}); values on this page are no longer live`);
  });

  /** @param {State} next */
  function enter(next) {
    if (next === state) return;
    state = next;
    changed(next);
  }

  /** Says `live` only when nothing that is shown could still miss an event. */
  function settle() {
    if (client.state !== 'connected') return;
    const states = Array.from(subscriptions.values(), (subscription) => subscription.state);
    if (states.includes(/** @type {any} */ ('subscribing'))) return;
    enter(states.includes(/** @type {any} */ ('subscribed')) ? 'live' : 'offline');
  }

  /** @param {string} channel */
  function open(channel) {
    const subscription = client.newSubscription(channel, { recoverable: true });
    subscription.on('publication', ({ data }) => published(channel, data));
    subscription.on('subscribed', ({ wasRecovering, recovered }) => {
      if (wasRecovering && !recovered) missed(channel);
      settle();
    });
    subscription.on('unsubscribed', ({ code, reason }) => {
      if (code !== 0) report(`the server refused channel ${channel}: ${reason} (${code}); its values are not live`);
      settle();
    });
    subscription.subscribe();
    return subscription;
  }

  return {
    /**
     * Listens to a channel; does nothing if it is listened to already.
     * @param {string} channel
     */
    subscribe(channel) {
      if (ended || subscriptions.has(channel)) return;
      subscriptions.set(channel, open(channel));
      client.connect();
    },

    /**
     * Leaves every channel but these.
     * @param {Set<string>} channels
     */
    keep(channels) {
      for (const [channel, subscription] of subscriptions) {
        if (channels.has(channel)) continue;
        subscriptions.delete(channel);
        client.removeSubscription(subscription);
      }
      if (subscriptions.size === 0) client.disconnect();
    },

    /** Ends the connection for good. */
    close() {
      ended = true;
      client.disconnect();
    },
  };
}
