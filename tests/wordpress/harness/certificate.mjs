/**
 * Certificate pairs for `localhost`, made by the sidecar's own command.
 *
 * Makes and moves files; what the sidecar does about it is its own affair.
 */

import { X509Certificate } from 'node:crypto';
import { copyFileSync, mkdirSync, readFileSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { connect } from 'node:tls';

import { run } from './process.mjs';
import { sidewireProgram } from './sidecar.mjs';

export class Certificate {
  constructor(folder, host) {
    this.certificateFile = join(folder, `${host}.crt`);
    this.keyFile = join(folder, `${host}.key`);
  }

  /** Makes a pair in `folder`, where there is none that is in date. */
  static async make(folder, host = 'localhost') {
    mkdirSync(folder, { recursive: true });
    await run(sidewireProgram(), ['certs', 'dev', '--host', host, '--out', folder]);
    return new Certificate(folder, host);
  }

  /** The certificate's text, for a client to trust. */
  get pem() {
    return readFileSync(this.certificateFile, 'utf8');
  }

  get fingerprint() {
    return new X509Certificate(this.pem).fingerprint256;
  }

  /** Puts other files in this pair's place, each at once, as a tool that renews does. */
  replaceBy({ certificateFile, keyFile }) {
    replace(keyFile, this.keyFile);
    replace(certificateFile, this.certificateFile);
  }
}

/** The fingerprint of the certificate that a new connection to `port` is shown. */
export function servedFingerprint(port) {
  return new Promise((resolve, reject) => {
    // Which certificate it is is the question, so none is trusted here.
    const socket = connect({ port, host: '127.0.0.1', servername: 'localhost', rejectUnauthorized: false }, () => {
      const { fingerprint256 } = socket.getPeerCertificate();
      socket.destroy();
      resolve(fingerprint256);
    });
    socket.setTimeout(5_000, () => socket.destroy(new Error('no TLS handshake within 5 s')));
    socket.once('error', reject);
  });
}

function replace(from, to) {
  copyFileSync(from, `${to}.new`);
  renameSync(`${to}.new`, to);
}
