/** Socket.IO: rooms, the WebSocket transport alone. */

import { createServer as createPublisher } from 'node:http';
import { createServer } from 'node:https';

import { Server } from 'socket.io';

import { publications, ready, socket, tls } from './arguments.mjs';

const https = createServer(tls);
const browsers = new Server(https, { transports: ['websocket'], serveClient: false, perMessageDeflate: false });

browsers.on('connection', (client) => {
  client.join((client.handshake.query.c ?? '').split(','));
  client.emit('ready');
});

const publisher = createPublisher(publications((channel, body) => browsers.to(channel).emit('m', body.toString())));
publisher.keepAliveTimeout = 0;
publisher.listen(socket, () => https.listen({ port: 0, host: '127.0.0.1', backlog: 4096 }, () => ready(https.address().port)));
