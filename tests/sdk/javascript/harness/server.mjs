/**
 * The built program with the configuration of these tests, and its publish API.
 *
 * How programs are started and requests signed is told by the harness of the WordPress tests.
 */

import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { Certificate } from '../../../wordpress/harness/certificate.mjs';
import { PROJECT, newFolder } from '../../../wordpress/harness/folders.mjs';
import { Process } from '../../../wordpress/harness/process.mjs';
import { Publisher } from '../../../wordpress/harness/publisher.mjs';
import { sidewireProgram } from '../../../wordpress/harness/sidecar.mjs';

const CONFIGURATION = join(PROJECT, 'tests/sdk/sidewire.toml');

/** The secret under a heading of the configuration. */
function secretOf(heading) {
  const section = readFileSync(CONFIGURATION, 'utf8').split(`[[${heading}]]`)[1];
  return section.match(/^secret = "(.*)"$/m)[1];
}

export const TOKEN_SECRET = secretOf('site.token_key');
const PUBLISH_SECRET = secretOf('site.publish_key');

export class Server {
  /** @param {string} name of the test, for its folder */
  static async start(name) {
    const server = new Server();
    server.folder = newFolder(`sdk-${name}`);
    server.certificate = await Certificate.make(server.folder);
    server.configFile = join(server.folder, 'sidewire.toml');
    writeFileSync(server.configFile, readFileSync(CONFIGURATION, 'utf8').replaceAll('@FOLDER@', server.folder));
    server.publisher = new Publisher(join(server.folder, 'publish.sock'), PUBLISH_SECRET);
    await server.start();
    return server;
  }

  /** Starts the program, after a stop on another port, and waits until it takes requests. */
  async start() {
    this.process = new Process('sidewire', sidewireProgram(), ['run', '--config', this.configFile]);
    await this.process.line(/^sidewire: ready$/);
    const [, port] = await this.process.line(/^sidewire: listening https \S*:(\d+)$/);
    this.port = Number(port);
    for (;;) {
      const { body } = await this.request('info', {});
      if (!body.error) return;
      // In its first second it refuses what may have been signed before it started.
      if (body.error.code !== 1006) throw new Error(JSON.stringify(body));
      await new Promise((resolve) => setTimeout(resolve, body.error.not_before * 1000 - Date.now()));
    }
  }

  stop() {
    return this.process.stop();
  }

  get url() {
    return `wss://localhost:${this.port}/realtime`;
  }

  /** A signed request, whatever comes of it. */
  request(method, json) {
    const body = JSON.stringify(json);
    return this.publisher.post(method, body, this.publisher.sign(body, { method }));
  }

  /** The result of a method of the publish API. */
  async call(method, json) {
    const { status, body } = await this.request(method, json);
    if (status !== 200 || body.error) throw new Error(`${method} ${JSON.stringify(json)}: ${status} ${JSON.stringify(body)}`);
    return body.result ?? body;
  }

  publish(channel, data, more = {}) {
    return this.call('publish', { channel, data, ...more });
  }

  /** Publishes each of `list`, in that order, in one request. */
  async publishAll(channel, list) {
    const { replies } = await this.call('batch', { commands: list.map((data) => ({ publish: { channel, data } })) });
    const failed = replies.find((reply) => reply.error);
    if (failed) throw new Error(JSON.stringify(failed));
  }
}
