/** A network that can fail: passes TCP connections on, cuts them, or holds back what clients send. */

import { connect, createServer } from 'node:net';

export class Proxy {
  /** @param {{port: number}} target asked at each new connection */
  static async start(target) {
    const proxy = new Proxy();
    proxy.target = target;
    proxy.pairs = new Set();
    proxy.server = createServer((client) => proxy.#pass(client));
    await new Promise((resolve) => proxy.server.listen(0, '127.0.0.1', resolve));
    return proxy;
  }

  get url() {
    return `wss://localhost:${this.server.address().port}/realtime`;
  }

  /** Ends every connection without a word, and lets no new one through until `mend`. */
  cut() {
    this.broken = true;
    for (const [client, server] of this.pairs) {
      client.destroy();
      server.destroy();
    }
  }

  mend() {
    this.broken = false;
  }

  /** From now on nothing that clients send arrives, over the connections that are there. */
  holdBack() {
    for (const [client] of this.pairs) client.pause();
  }

  stop() {
    this.cut();
    this.server.close();
  }

  #pass(client) {
    if (this.broken) return client.destroy();
    const server = connect({ port: this.target.port, host: '127.0.0.1' });
    const pair = [client, server];
    this.pairs.add(pair);
    client.on('data', (bytes) => server.write(bytes));
    server.on('data', (bytes) => client.write(bytes));
    for (const [one, other] of [pair, pair.toReversed()]) {
      one.on('error', () => {});
      one.on('end', () => other.end());
      one.on('close', () => {
        other.destroy();
        this.pairs.delete(pair);
      });
    }
  }
}
