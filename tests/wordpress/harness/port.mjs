/**
 * Ports of the loopback interface.
 *
 * For programs that cannot choose one themselves (Apache) and for saying early
 * that a wanted one is taken. The sidecar chooses its own: port 0.
 */

import { createServer } from 'node:net';

/** A port that was free just now. Another program may take it first: try again then. */
export async function freePort() {
  const server = await listen(0);
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** The first free port after `port`. */
export async function freePortAfter(port) {
  for (let next = port + 1; next <= 65535; next += 1) {
    if ((await portFault(next)) === undefined) return next;
  }
  return freePort();
}

/** Why nothing can listen on `port`, as an error code, or `undefined` when something can. */
export async function portFault(port) {
  try {
    const server = await listen(port);
    await new Promise((resolve) => server.close(resolve));
    return undefined;
  } catch (error) {
    return error.code;
  }
}

function listen(port) {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen({ port, host: '127.0.0.1' }, () => resolve(server));
  });
}
