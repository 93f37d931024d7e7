/**
 * Clients that were not written for Sidewire work with it unchanged: the
 * protocol's own JavaScript SDK, and a page's plain WebSocket.
 */

import assert from 'node:assert/strict';
import { EventEmitter, once } from 'node:events';
import { readFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { runInNewContext } from 'node:vm';

import { Centrifuge } from 'centrifuge';
import WebSocket from 'ws';

import { Stack } from './harness/stack.mjs';

const WAIT = () => ({ signal: AbortSignal.timeout(10_000) });

describe('a client that Sidewire did not write', { timeout: 60_000 }, () => {
  let stack, TrustingWebSocket;

  before(async () => {
    stack = await Stack.start('clients');
    // Trusts the stack's own certificate; nothing else is different.
    TrustingWebSocket = class extends WebSocket {
      constructor(address, protocols) {
        super(address, protocols, { ca: stack.certificate.pem });
      }
    };
  });
  after(() => stack?.stop());

  const address = (query = '') => `wss://localhost:${stack.sidecar.port}/realtime${query}`;

  test('centrifuge connects, subscribes, receives and unsubscribes', async () => {
    const centrifuge = new Centrifuge(address(), { websocket: TrustingWebSocket });
    const channel = `post:${stack.site.pageId}`;
    const subscription = centrifuge.newSubscription(channel);
    const faults = [];
    centrifuge.on('error', (context) => faults.push(context.error));
    subscription.on('error', (context) => faults.push(context.error));
    try {
      const connected = once(centrifuge, 'connected', WAIT());
      const subscribed = once(subscription, 'subscribed', WAIT());
      centrifuge.connect();
      subscription.subscribe();
      const [{ client }] = await connected;
      assert.ok(client, 'the connection has an id');
      await subscribed;

      const published = once(subscription, 'publication', WAIT());
      await stack.site.setPrice('44.00');
      const [publication] = await published;
      assert.equal(publication.channel, channel);
      assert.equal(publication.data.type, 'post_meta_update');
      assert.equal(publication.data.meta_key, 'price');
      assert.equal(publication.data.meta_value, '44.00');
      assert.equal(publication.tags.key, `${stack.site.pageId}:price`);

      const unsubscribed = once(subscription, 'unsubscribed', WAIT());
      subscription.unsubscribe();
      await unsubscribed;
      subscription.on('publication', (context) => faults.push(`after unsubscribing: ${JSON.stringify(context.data)}`));
      // A second subscription on the same connection sees the next one, so the first would have.
      const other = centrifuge.newSubscription('site');
      const ready = once(other, 'subscribed', WAIT());
      other.subscribe();
      await ready;
      const seen = once(other, 'publication', WAIT());
      await stack.site.setPrice('45.00');
      const [{ data }] = await seen;
      assert.equal(data.meta_value, '45.00');
      assert.deepEqual(faults, []);
    } finally {
      centrifuge.disconnect();
    }
  });

  test('centrifuge is told that a private channel is not for it', async () => {
    const centrifuge = new Centrifuge(address(), { websocket: TrustingWebSocket });
    const subscription = centrifuge.newSubscription('edit:1');
    try {
      const refused = once(subscription, 'unsubscribed', WAIT());
      centrifuge.connect();
      subscription.subscribe();
      const [context] = await refused;
      assert.equal(context.code, 103);
    } finally {
      centrifuge.disconnect();
    }
  });

  test('the classic front end, which only parses events, works unchanged', async () => {
    const page = classicPage(TrustingWebSocket, address('?channel=site'));
    try {
      await once(page.socket, 'open', WAIT());
      const changed = once(page.element, 'change', WAIT());
      await stack.site.setPrice('46.00');
      await changed;
      assert.equal(page.element.textContent, '46.00');
      const emptied = once(page.element, 'change', WAIT());
      await stack.site.setPrice(undefined);
      await emptied;
      assert.equal(page.element.textContent, '');
    } finally {
      page.socket.close();
    }
  });

  test('a page of another origin is refused', async () => {
    const socket = new WebSocket(address(), { ca: stack.certificate.pem, origin: 'https://elsewhere.example' });
    const [request, response] = await once(socket, 'unexpected-response', WAIT());
    assert.equal(response.statusCode, 403);
    request.destroy();
  });

  /** Runs the front end as a page would, with one element and the page's `WebSocket`. */
  function classicPage(WebSocketOfPage, url) {
    const source = readFileSync(fileURLToPath(new URL('./site/classic-front-end.js', import.meta.url)), 'utf8');
    const element = new Element(`meta-value-post-${stack.site.pageId}-price`);
    const context = {
      SOCKET_URL: url,
      WebSocket: WebSocketOfPage,
      JSON,
      document: { getElementById: (id) => (id === element.id ? element : null) },
      console,
    };
    runInNewContext(`${source}\nthis.socket = socket;`, context);
    return { element, socket: context.socket };
  }
});

/** As much of an element as the front end uses; it tells when its text is set. */
class Element extends EventEmitter {
  #text = '';

  constructor(id) {
    super();
    this.id = id;
  }

  get textContent() {
    return this.#text;
  }

  set textContent(text) {
    this.#text = text;
    this.emit('change');
  }
}
