/**
 * A visitor without a browser: HTTPS requests that trust one certificate and no other.
 */

import { Agent, request } from 'node:https';

export class HttpsClient {
  /**
   * @param {string} origin
   * @param {string} pem the certificate to trust
   */
  constructor(origin, pem) {
    this.origin = origin;
    this.agent = new Agent({ ca: pem, keepAlive: true });
  }

  /**
   * Asks for `path` and gives the answer as it is: redirects are not followed.
   *
   * @param {string} path
   * @param {Record<string, string>} [headers]
   * @returns {Promise<{status: number, headers: object, bytes: Buffer, text: string}>}
   */
  async get(path, headers = {}) {
    const response = await this.open(path, headers);
    const chunks = await response.toArray();
    const bytes = Buffer.concat(chunks);
    return { status: response.statusCode, headers: response.headers, bytes, text: bytes.toString('utf8') };
  }

  /** The answer while it still arrives. */
  open(path, headers = {}) {
    return new Promise((resolve, reject) => {
      const asking = request(new URL(path, this.origin), { agent: this.agent, headers, timeout: 30_000 }, resolve);
      asking.on('timeout', () => asking.destroy(new Error(`GET ${path}: nothing for 30 s`)));
      asking.on('error', reject);
      asking.end();
    });
  }

  close() {
    this.agent.destroy();
  }
}
