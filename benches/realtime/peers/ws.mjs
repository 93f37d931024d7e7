/** `ws` on Node's own HTTPS server: a set of sockets a channel, and a loop. */

import { createServer as createPublisher } from 'node:http';
import { createServer } from 'node:https';

import { WebSocketServer } from 'ws';

import { channelsOf, publications, ready, socket, tls } from './arguments.mjs';

const channels = new Map();
const https = createServer(tls);
const browsers = new WebSocketServer({ server: https, perMessageDeflate: false });

browsers.on('connection', (ws, request) => {
  const own = channelsOf(request.url.split('?')[1]);
  for (const channel of own) {
    if (!channels.has(channel)) channels.set(channel, new Set());
    channels.get(channel).add(ws);
  }
  ws.on('error', () => {});
  ws.on('close', () => own.forEach((channel) => channels.get(channel).delete(ws)));
  ws.send('ready');
});
setInterval(() => browsers.clients.forEach((ws) => ws.ping()), 25_000);

const publisher = createPublisher(
  publications((channel, body) => {
    for (const ws of channels.get(channel) ?? []) ws.send(body, { binary: false });
  }),
);
publisher.keepAliveTimeout = 0;
publisher.listen(socket, () => https.listen({ port: 0, host: '127.0.0.1', backlog: 4096 }, () => ready(https.address().port)));
