// The chat protocol on Node's `ws`, written the usual way, to compare with. usage: node server.js PORT
'use strict';
const { randomUUID } = require('node:crypto');
const { WebSocketServer } = require('ws');

const HEARTBEAT_MS = 30_000;
const rooms = new Map(); // name -> Set of sockets

function send(socket, event) {
  socket.send(JSON.stringify(event));
}

function broadcast(room, event, except) {
  const data = JSON.stringify(event);
  for (const member of rooms.get(room) ?? []) {
    if (member !== except && member.readyState === 1) member.send(data);
  }
}

function leave(socket) {
  const members = rooms.get(socket.room);
  if (members === undefined) return;
  members.delete(socket);
  if (members.size === 0) rooms.delete(socket.room);
  broadcast(socket.room, { type: 'user_left', username: socket.username, memberCount: members.size, timestamp: Date.now() });
  socket.room = undefined;
}

function join(socket, command) {
  const room = String(command.room ?? '').trim().slice(0, 50);
  const username = String(command.username ?? '').trim().slice(0, 30);
  if (!room || !username) return send(socket, { type: 'error', message: 'Room and username are required' });
  leave(socket);
  socket.room = room;
  socket.username = username;
  if (!rooms.has(room)) rooms.set(room, new Set());
  const members = rooms.get(room);
  members.add(socket);
  const names = Array.from(members, (member) => member.username);
  send(socket, { type: 'room_info', room, members: names, count: members.size });
  broadcast(room, { type: 'user_joined', username, memberCount: members.size, timestamp: Date.now() }, socket);
}

function message(socket, command) {
  const text = String(command.text ?? '').trim();
  if (socket.room === undefined || !text || text.length > 2000) return;
  broadcast(socket.room, { type: 'message', username: socket.username, text, messageId: randomUUID(), timestamp: Date.now() });
}

function receive(socket, data) {
  let command;
  try {
    command = JSON.parse(data);
  } catch {
    return send(socket, { type: 'error', message: 'Invalid JSON payload' });
  }
  if (command?.type === 'join') join(socket, command);
  else if (command?.type === 'message') message(socket, command);
  else if (command?.type === 'typing') broadcast(socket.room, { type: 'typing', username: socket.username }, socket);
}

const server = new WebSocketServer({ host: '127.0.0.1', port: Number(process.argv[2]), path: '/ws', perMessageDeflate: false });

server.on('connection', (socket) => {
  socket.alive = true;
  socket.on('pong', () => { socket.alive = true; });
  socket.on('message', (data) => receive(socket, data));
  socket.on('close', () => leave(socket));
  socket.on('error', () => socket.terminate());
  send(socket, { type: 'connected', clientId: randomUUID(), timestamp: Date.now() });
});

setInterval(() => {
  for (const socket of server.clients) {
    if (!socket.alive) socket.terminate();
    socket.alive = false;
    socket.ping();
  }
}, HEARTBEAT_MS);
