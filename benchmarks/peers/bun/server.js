// The chat protocol on Bun's own server and its topics, to compare with. usage: bun server.js PORT
const rooms = new Map(); // name -> Set of sockets

const now = () => Date.now();
const send = (socket, event) => socket.send(JSON.stringify(event));

function leave(socket) {
  const { room, username } = socket.data;
  const members = rooms.get(room);
  if (members === undefined) return;
  members.delete(socket);
  if (members.size === 0) rooms.delete(room);
  socket.data.room = undefined;
  if (socket.readyState === 1) socket.unsubscribe(room);
  server.publish(room, JSON.stringify({ type: 'user_left', username, memberCount: members.size, timestamp: now() }));
}

function join(socket, command) {
  const room = String(command.room ?? '').trim().slice(0, 50);
  const username = String(command.username ?? '').trim().slice(0, 30);
  if (!room || !username) return send(socket, { type: 'error', message: 'Room and username are required' });
  leave(socket);
  if (!rooms.has(room)) rooms.set(room, new Set());
  const members = rooms.get(room);
  members.add(socket);
  Object.assign(socket.data, { room, username });
  const names = Array.from(members, (member) => member.data.username);
  send(socket, { type: 'room_info', room, members: names, count: members.size });
  socket.subscribe(room);
  socket.publish(room, JSON.stringify({ type: 'user_joined', username, memberCount: members.size, timestamp: now() }));
}

function message(socket, command) {
  const { room, username } = socket.data;
  const text = String(command.text ?? '').trim();
  if (room === undefined || !text || text.length > 2000) return;
  server.publish(room, JSON.stringify({ type: 'message', username, text, messageId: crypto.randomUUID(), timestamp: now() }));
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
  else if (command?.type === 'typing' && socket.data.room !== undefined)
    socket.publish(socket.data.room, JSON.stringify({ type: 'typing', username: socket.data.username }));
}

const server = Bun.serve({
  hostname: '127.0.0.1',
  port: Number(process.argv[2]),
  fetch(request, server) {
    const upgraded = new URL(request.url).pathname === '/ws' && server.upgrade(request, { data: {} });
    return upgraded ? undefined : new Response('not found', { status: 404 });
  },
  websocket: {
    idleTimeout: 60, // Bun pings by itself before that
    sendPings: true,
    open: (socket) => send(socket, { type: 'connected', clientId: crypto.randomUUID(), timestamp: now() }),
    message: receive,
    close: leave,
  },
});
