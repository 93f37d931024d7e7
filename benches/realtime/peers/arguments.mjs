/**
 * What every peer is started with, `node PEER.mjs SOCKET CERTIFICATE KEY`: the
 * Unix socket that it takes publications on, and its certificate. A peer prints
 * `ready PORT` once browsers can come.
 *
 * All peers speak alike: a browser names its channels, five digits each, in
 * `?c=00001,00002` and is told `ready`; `POST /publish/00001` sends the body.
 */

import { readFileSync } from 'node:fs';

const [socket, certificate, key] = process.argv.slice(2);
if (!key) throw new Error('usage: node PEER.mjs SOCKET CERTIFICATE KEY');

export { socket, certificate, key };

export const tls = { cert: readFileSync(certificate), key: readFileSync(key), minVersion: 'TLSv1.3' };

export const ready = (port) => console.log(`ready ${port}`);

/** The channels that a browser names in its query. */
export const channelsOf = (query) => new URLSearchParams(query).get('c')?.split(',') ?? [];

/** Answers a publication once its body is there: `publish(channel, body)`. */
export const publications = (publish) => (request, response) => {
  const parts = [];
  request.on('data', (part) => parts.push(part));
  request.on('end', () => {
    publish(request.url.slice('/publish/'.length), Buffer.concat(parts));
    response.end('{}');
  });
};
