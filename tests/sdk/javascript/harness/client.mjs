/** The SDK as it comes, told which certificate to trust, and everything it says written down. */

import { randomUUID } from 'node:crypto';

import { Centrifuge } from 'centrifuge';
import WebSocket from 'ws';

const CLIENT_EVENTS = [
  'connecting', 'connected', 'disconnected', 'error', 'message',
  'subscribing', 'subscribed', 'unsubscribed', 'publication', 'join', 'leave',
];
const SUBSCRIPTION_EVENTS = ['subscribing', 'subscribed', 'unsubscribed', 'publication', 'join', 'leave', 'error'];

/** What an emitter said, to be asked for in its order. */
export class Recorder {
  constructor(emitter, names) {
    this.events = [];
    this.taken = new Map();
    this.waiting = new Set();
    for (const name of names) {
      emitter.on(name, (context) => {
        this.events.push({ name, context });
        for (const look of [...this.waiting]) look();
      });
    }
  }

  /** The contexts of all events of this name. */
  all(name) {
    return this.events.filter((event) => event.name === name).map((event) => event.context);
  }

  /** The next event of this name that was not given out yet: none is passed over. */
  next(name, { within = 10_000 } = {}) {
    return new Promise((resolve, reject) => {
      const look = () => {
        const taken = this.taken.get(name) ?? 0;
        const context = this.all(name)[taken];
        if (!context) return false;
        this.taken.set(name, taken + 1);
        clearTimeout(timer);
        this.waiting.delete(look);
        resolve(context);
        return true;
      };
      const timer = setTimeout(() => {
        this.waiting.delete(look);
        reject(new Error(`no ${name} within ${within} ms; there were ${JSON.stringify(this.events)}`));
      }, within);
      if (!look()) this.waiting.add(look);
    });
  }

  /** The next `count` events of this name. */
  async take(name, count) {
    const list = [];
    while (list.length < count) list.push(await this.next(name));
    return list;
  }

  /** As `take`, the data of publications alone. */
  async data(count) {
    return (await this.take('publication', count)).map((publication) => publication.data);
  }
}

const opened = new Set();

/** Ends every client that was opened; for `afterEach`. */
export function closeAll() {
  for (const client of opened) client.disconnect();
  opened.clear();
}

/**
 * A client of the SDK with a `seen` of what it said, connecting.
 *
 * @param {import('./server.mjs').Server} server
 * @param {object} [options] the SDK's own; `url`: another way to the server
 */
export function open(server, { url = server.url, ...options } = {}) {
  class Trusting extends WebSocket {
    constructor(address) {
      super(address, { ca: server.certificate.pem });
    }
  }
  const client = new Centrifuge(url, { websocket: Trusting, minReconnectDelay: 20, maxReconnectDelay: 200, ...options });
  client.seen = new Recorder(client, CLIENT_EVENTS);
  opened.add(client);
  client.connect();
  return client;
}

/** As `open`, connected. */
export async function connected(server, options) {
  const client = open(server, options);
  client.id = (await client.seen.next('connected')).client;
  return client;
}

/** A subscription of the SDK with a `seen` of what it said, subscribing. */
export function follow(client, channel, options = {}) {
  const subscription = client.newSubscription(channel, { minResubscribeDelay: 20, maxResubscribeDelay: 200, ...options });
  subscription.seen = new Recorder(subscription, SUBSCRIPTION_EVENTS);
  subscription.subscribe();
  return subscription;
}

/** As `follow`, subscribed; `first` is how. */
export async function followed(client, channel, options) {
  const subscription = follow(client, channel, options);
  subscription.first = await subscription.seen.next('subscribed');
  return subscription;
}

/** A name that no other test uses. */
export const fresh = (prefix) => `${prefix}:${randomUUID().slice(0, 13)}`;

/** A user whom no other test knows: revocations last. */
export const somebody = () => `u-${randomUUID().slice(0, 13)}`;
