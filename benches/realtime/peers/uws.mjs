/** uWebSockets.js: its own topics, its own HTTP on the Unix socket, one thread. */

import { createRequire } from 'node:module';

import { certificate, channelsOf, key, ready, socket } from './arguments.mjs';

// By its file, for the package falls back to JavaScript where the binary doesn't load.
const binary = `@trufflesuite/uws-js-unofficial/binaries/uws_${process.platform}_${process.arch}_${process.versions.modules}.node`;
const uws = createRequire(import.meta.url)(binary);

const browsers = uws.SSLApp({ key_file_name: key, cert_file_name: certificate });
browsers.ws('/*', {
  compression: 0,
  // Pings a browser every 25 s or so, as Sidewire does.
  idleTimeout: 32,
  sendPingsAutomatically: true,
  // By default it drops what a browser takes too slowly; here nothing may be lost.
  maxBackpressure: 16 * 1024 * 1024,
  upgrade(response, request, context) {
    response.upgrade(
      { channels: channelsOf(request.getQuery()) },
      request.getHeader('sec-websocket-key'),
      request.getHeader('sec-websocket-protocol'),
      request.getHeader('sec-websocket-extensions'),
      context,
    );
  },
  open(ws) {
    for (const channel of ws.channels) ws.subscribe(channel);
    ws.send('ready', false, false);
  },
});
const publisher = uws.App();
publisher.post('/publish/:channel', (response, request) => {
  const channel = request.getParameter(0);
  let body = Buffer.alloc(0);
  response.onAborted(() => {});
  response.onData((part, last) => {
    // A part is only lent.
    if (!last || body.length > 0) body = Buffer.concat([body, Buffer.from(part)]);
    if (!last) return;
    browsers.publish(channel, body.length > 0 ? body : part, false, false);
    response.end('{}');
  });
});

browsers.listen('127.0.0.1', 0, (listening) => {
  if (!listening) throw new Error('uWebSockets.js could not listen');
  const port = uws.us_socket_local_port(listening);
  publisher.listen_unix((own) => {
    if (!own) throw new Error(`uWebSockets.js could not listen on ${socket}`);
    ready(port);
  }, socket);
});
