/**
 * The other end of the wire, for tests: answers connect, subscribe and
 * unsubscribe as the protocol asks, over a real port or in memory.
 *
 * It keeps no history: what a subscriber missed is whatever a test says.
 */

import { once } from 'node:events';
import { WebSocketServer } from 'ws';

/**
 * @typedef {{ send(text: string): void, close(code: number, reason: string): void }} Line
 * @typedef {{ id?: number, [method: string]: any }} Command
 */

/** A server's view of its clients. */
export function createPeer() {
  /** @type {Map<Line, Set<string>>} */
  const lines = new Map();
  const peer = {
    /** Every command received, in order. @type {Command[]} */
    commands: [],
    /** What to answer a subscription with, by channel: an error, or fields of the result. @type {Map<string, { error?: object, result?: object }>} */
    answers: new Map(),
    /** How many connections were ever opened. */
    opened: 0,
    lines,

    /**
     * The channels of all subscriptions asked for, in order.
     * @returns {string[]}
     */
    asked: () => peer.commands.flatMap(({ subscribe }) => (subscribe ? [subscribe.channel] : [])),

    /** @param {Line} line @returns {(text: string) => void} what takes each frame */
    accept(line) {
      peer.opened += 1;
      lines.set(line, new Set());
      return (text) => text.split('\n').forEach((part) => answer(line, JSON.parse(part)));
    },

    /** @param {string} channel @param {unknown} data @param {object} [fields] */
    publish(channel, data, fields) {
      const text = JSON.stringify({ push: { channel, pub: { data, ...fields } } });
      for (const [line, channels] of lines) if (channels.has(channel)) line.send(text);
    },

    /** @param {number} code @param {string} reason */
    closeAll(code, reason) {
      for (const line of lines.keys()) line.close(code, reason);
    },
  };

  /** @param {Line} line @param {Command} command */
  function answer(line, command) {
    peer.commands.push(command);
    const { id, connect, subscribe, unsubscribe } = command;
    const channels = /** @type {Set<string>} */ (lines.get(line));
    if (connect) line.send(JSON.stringify({ id, connect: { client: 'c1', version: 'test', ping: 25, pong: true } }));
    if (subscribe) {
      const { error, result } = peer.answers.get(subscribe.channel) || {};
      if (!error) channels.add(subscribe.channel);
      line.send(JSON.stringify(error ? { id, error } : { id, subscribe: { ...result } }));
    }
    if (unsubscribe) {
      channels.delete(unsubscribe.channel);
      line.send(JSON.stringify({ id, unsubscribe: {} }));
    }
  }

  return peer;
}

/**
 * A WebSocket constructor whose sockets reach a peer in memory.
 *
 * @param {ReturnType<typeof createPeer>} peer
 */
export function memorySockets(peer) {
  return class MemorySocket {
    /** @type {(() => void) | undefined} */ onopen;
    /** @type {((event: { data: string }) => void) | undefined} */ onmessage;
    /** @type {((event: { code: number, reason: string }) => void) | undefined} */ onclose;

    /** @param {string} address */
    constructor(address) {
      this.address = address;
      this.line = {
        send: (/** @type {string} */ data) => queueMicrotask(() => this.onmessage?.({ data })),
        close: (/** @type {number} */ code, /** @type {string} */ reason) => this.end(code, reason),
      };
      this.send = peer.accept(this.line);
      queueMicrotask(() => this.onopen?.());
    }

    close() {
      this.end(1000, '');
    }

    /** @param {number} code @param {string} reason */
    end(code, reason) {
      if (peer.lines.delete(this.line)) queueMicrotask(() => this.onclose?.({ code, reason }));
    }
  };
}

/**
 * Listens on a free port of the loopback.
 *
 * @param {ReturnType<typeof createPeer>} peer
 */
export async function listen(peer) {
  const server = new WebSocketServer({ host: '127.0.0.1', port: 0, path: '/realtime' });
  server.on('connection', (socket) => {
    const line = {
      send: (/** @type {string} */ text) => socket.send(text),
      close: (/** @type {number} */ code, /** @type {string} */ reason) => socket.close(code, reason),
    };
    const receive = peer.accept(line);
    socket.on('message', (bytes) => receive(bytes.toString()));
    socket.on('close', () => peer.lines.delete(line));
  });
  await once(server, 'listening');
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address());
  return {
    port,
    async close() {
      server.clients.forEach((socket) => socket.terminate());
      server.close();
      await once(server, 'close', { signal: AbortSignal.timeout(5000) });
    },
  };
}
