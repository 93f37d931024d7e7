/**
 * The sidecar: writes its configuration, runs it, knows where it listens.
 *
 * Uses the built program; builds nothing.
 */

import { writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';

import { PROJECT, isProgram } from './folders.mjs';
import { Process } from './process.mjs';

/** The program to run: `SIDEWIRE_BIN`, else the debug build. */
export function sidewireProgram() {
  const program = process.env.SIDEWIRE_BIN ?? join(PROJECT, 'target/debug/sidewire');
  if (!isProgram(program)) throw new Error(`${program} is not there; \`cargo build\` makes it (SIDEWIRE_BIN names another)`);
  return program;
}

export class Sidecar {
  /**
   * @param {object} options
   * @param {string} options.folder where its configuration and admin socket go
   * @param {string} options.publishSocket
   * @param {string} [options.publishGroup] the group that may publish
   * @param {import('./certificate.mjs').Certificate} options.certificate
   * @param {string} options.secretFile
   * @param {{fastcgi: string, root: string} | {upstream: string}} options.backEnd
   * @param {string[]} [options.allowedOrigins] pages that may connect besides its own
   * @param {number} [options.port] 0: any free one
   * @param {string} [options.name] for its files and messages, where a folder has two
   */
  constructor(options) {
    this.options = { port: 0, name: 'sidewire', ...options };
    this.publishSocket = options.publishSocket;
    this.adminSocket = join(options.folder, `${this.options.name}-admin.sock`);
    this.configFile = join(options.folder, `${this.options.name}.toml`);
  }

  static async start(options) {
    const sidecar = new Sidecar(options);
    await sidecar.start();
    return sidecar;
  }

  /** Starts the program and waits until it says that it is ready. After a stop, starts it anew on the same port. */
  async start() {
    writeFileSync(this.configFile, configuration(this));
    this.process = new Process(this.options.name, sidewireProgram(), ['run', '--config', this.configFile], {
      onLine: this.options.onLine,
    });
    await this.process.line(/^sidewire: ready$/);
    const [, port] = await this.process.line(/^sidewire: listening https \S*:(\d+)$/);
    this.options.port = Number(port);
  }

  get port() {
    return this.options.port;
  }

  get origin() {
    return `https://localhost:${this.port}`;
  }

  /** Its metrics, as a map from the name with its labels to the number. */
  async metrics() {
    const text = await this.#ask('/metrics');
    const samples = text.split('\n').filter((line) => line && !line.startsWith('#'));
    return new Map(samples.map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.slice(line.lastIndexOf(' ') + 1))]));
  }

  /** How many publish requests it refused for this reason. */
  async refusals(reason) {
    return (await this.metrics()).get(`sidewire_publish_refusals_total{reason="${reason}"}`) ?? 0;
  }

  stop() {
    return this.process.stop();
  }

  /** Ends it as a crash would. */
  async crash() {
    this.process.kill();
    await this.process.ended;
  }

  #ask(path) {
    return new Promise((resolve, reject) => {
      const asking = request({ socketPath: this.adminSocket, path, host: 'localhost', timeout: 5_000 }, (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (chunk) => (text += chunk));
        response.on('end', () => {
          if (response.statusCode === 200) resolve(text);
          else reject(new Error(`${path} answered ${response.statusCode}: ${text}`));
        });
      });
      asking.on('timeout', () => asking.destroy(new Error(`${path}: no answer within 5 s`)));
      asking.on('error', reject);
      asking.end();
    });
  }
}

function configuration({ options, adminSocket, publishSocket }) {
  const { port, certificate, publishGroup, secretFile, backEnd, allowedOrigins } = options;
  return [
    '[[listener]]',
    `address = ${toml(`127.0.0.1:${port}`)}`,
    '',
    '[[certificate]]',
    `certificate = ${toml(certificate.certificateFile)}`,
    `key = ${toml(certificate.keyFile)}`,
    '',
    '[publish]',
    `socket = ${toml(publishSocket)}`,
    ...(publishGroup ? [`group = ${toml(publishGroup)}`] : []),
    '',
    '[admin]',
    `socket = ${toml(adminSocket)}`,
    '',
    '[[site]]',
    'name = "wordpress"',
    'hosts = ["localhost"]',
    ...(allowedOrigins ? [`allowed_origins = ${toml(allowedOrigins)}`] : []),
    '',
    ...(backEnd.fastcgi
      ? ['[site.fastcgi]', `address = ${toml(`unix:${backEnd.fastcgi}`)}`, `root = ${toml(backEnd.root)}`]
      : ['[site.upstream]', `address = ${toml(backEnd.upstream)}`]),
    '',
    '[[site.publish_key]]',
    `secret_file = ${toml(secretFile)}`,
    '',
  ].join('\n');
}

/** A TOML string or array of strings; JSON's escapes are among TOML's. */
function toml(value) {
  return JSON.stringify(value);
}
