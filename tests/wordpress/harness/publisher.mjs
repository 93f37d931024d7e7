/**
 * A publisher as others would write it: signs with the published `standardwebhooks`
 * package and posts to the sidecar's Unix socket.
 */

import { randomUUID } from 'node:crypto';
import { request } from 'node:http';

import { Webhook } from 'standardwebhooks';

export class Publisher {
  /**
   * @param {string} socket
   * @param {string} secret `whsec_…`
   */
  constructor(socket, secret) {
    this.socket = socket;
    this.webhook = new Webhook(secret);
  }

  /**
   * The three headers that sign `body`.
   *
   * @param {string} body
   * @param {{id?: string, at?: Date, method?: string}} [options]
   */
  sign(body, { method = 'publish', id = `${method}_${randomUUID()}`, at = new Date() } = {}) {
    return {
      'webhook-id': id,
      'webhook-timestamp': String(Math.floor(at.getTime() / 1000)),
      'webhook-signature': this.webhook.sign(id, at, body),
    };
  }

  /** Publishes `data` to `channel`, signed now. */
  publish(channel, data, more = {}) {
    const body = JSON.stringify({ channel, data, ...more });
    return this.post('publish', body, this.sign(body));
  }

  /**
   * Posts as it is told, signed or not.
   *
   * @returns {Promise<{status: number, body: any}>}
   */
  post(method, body, headers) {
    return new Promise((resolve, reject) => {
      const posting = request(
        {
          socketPath: this.socket,
          method: 'POST',
          path: `/api/${method}`,
          timeout: 5_000,
          headers: {
            host: 'localhost',
            'content-type': 'application/json',
            'content-length': Buffer.byteLength(body),
            ...headers,
          },
        },
        (response) => {
          let text = '';
          response.setEncoding('utf8').on('data', (chunk) => (text += chunk));
          response.on('end', () => {
            try {
              resolve({ status: response.statusCode, body: JSON.parse(text) });
            } catch {
              reject(new Error(`/api/${method} answered ${response.statusCode} with what is not JSON: ${text}`));
            }
          });
        },
      );
      posting.on('timeout', () => posting.destroy(new Error(`/api/${method}: no answer within 5 s`)));
      posting.on('error', reject);
      posting.end(body);
    });
  }
}
