// Chat rooms on Socket.IO with an adapter for Redis, written the usual way. usage: node server.js PORT none|pubsub|streams [REDIS_PORT]
'use strict';
const { createClient } = require('redis');
const { createAdapter } = require('@socket.io/redis-adapter');
const { createAdapter: createStreamsAdapter } = require('@socket.io/redis-streams-adapter');
const { randomUUID } = require('node:crypto');
const { createServer } = require('node:http');
const { Server } = require('socket.io');

const [port, kind, redisPort] = process.argv.slice(2);

async function connect() {
  const client = createClient({ url: `redis://127.0.0.1:${redisPort}` });
  client.on('error', (error) => console.error(error));
  await client.connect();
  return client;
}

async function adapter() {
  if (kind === 'none') return undefined;
  if (kind === 'streams') return createStreamsAdapter(await connect());
  return createAdapter(await connect(), await connect());
}

function serve(io, socket) {
  socket.on('join', ({ room, username } = {}) => {
    if (typeof room !== 'string' || typeof username !== 'string') return;
    socket.data.room = room;
    socket.data.username = username;
    socket.join(room);
    socket.emit('room_info', { room });
  });
  socket.on('message', ({ text } = {}) => {
    const { room, username } = socket.data;
    if (room === undefined || typeof text !== 'string' || text.length > 2000) return;
    io.to(room).emit('message', { username, text, messageId: randomUUID(), timestamp: Date.now() });
  });
}

async function main() {
  const server = createServer();
  const io = new Server(server, { transports: ['websocket'], serveClient: false, adapter: await adapter() });
  io.on('connection', (socket) => serve(io, socket));
  server.listen(Number(port), '127.0.0.1');
}

main();
