// What the chat page knows, and how events change it. Pure: no DOM, clock, network or randomness; each function
// takes a state and returns the next one, and leaves the given one alone.

export const TYPING_EVERY_MS = 2000; // how often `typing` is sent while keys are pressed
export const TYPING_SHOWN_MS = 3000; // one missed `typing` does not make it flicker
export const LONGEST_LOG = 500; // lines kept of a room: a day's talk of a few people
export const MOST_MEMBERS = 200; // that are listed by name, as in room_info
export const HISTORY = 50; // messages that are asked for where we go by no position
export const MOST_ROOMS = 12; // visited rooms that are remembered

const FIRST_DELAY_MS = 1000;
const LONGEST_DELAY_MS = 30_000;
const JITTER = 0.3;
const ACK_EVERY_MS = 1000; // others need not know sooner what we have read
// A connection that ends sooner did not hold: a server that takes and drops us must not be asked every second.
const HELD_MS = 5000;
const LOST = 1006;
const RESTART = 1012;
const OVERLOADED = 1013;
const REPLACED = 4409;
const MISSING = "Some messages may be missing here";
const FINAL = new Map([
  [1000, "The server ended the connection"],
  [1001, "The server is going away"],
  [4400, "The server does not understand this page"],
  [4403, "You were removed"],
]);

/**
 * The state of a page that nobody has entered yet.
 *
 * status: "stopped" (until the user acts), "connecting", "waiting" (for retryAt) or "online".
 * replaced: another tab has taken up our session, so that only a new one can go on here.
 * returnAt: when to come back, as the server has said that it will close; 0 while it has not.
 * joined: the server has let us into `room`; before that, only the reply to `joinId` counts.
 * rejoinAt: when to ask again to be let in.
 * session: the server's name for us across connections.
 * sent: by messageId, our messages that have not come back: { messageId, room, text, seq }; seq is 0 until the server
 *   has kept it. One at a time is on its way, so that they keep their order: `flight` is { id, messageId } of that
 *   command, and the next one waits for its answer and for resendAt.
 * own: by messageId, the seqs of our own messages, 0 while unknown; another member may have our name.
 * returned: texts that the server did not take, for the user to keep.
 * logs: by room, its lines, the position { epoch, seq } that we have reached, and by name the seqs that others have
 *   `seen`.
 * acked: the seq that we have told the others we have seen; ackedAt: when that was.
 *
 * before: what `stored` made of the state before the page was loaded again.
 */
export function start(before = "") {
  const { session = "", own = [], sent = [] } = before ? JSON.parse(before) : {};
  return {
    status: "stopped", why: "", replaced: false, refusal: "", attempt: 0, openedAt: 0, retryAt: 0, returnAt: 0,
    name: "", room: "", joinId: 0, joined: false, rejoinAt: Infinity, members: [], count: 0, typing: new Map(),
    session, own: new Map(own), sent: new Map(sent), flight: null, resendAt: 0, returned: [],
    logs: new Map(), lines: 0, visible: true, acked: 0, ackedAt: -Infinity,
  };
}

/** What a tab keeps while its page is loaded again, as a string. */
export function stored({ session, own, sent }) {
  return JSON.stringify({ session, own: [...own], sent: [...sent] });
}

/** Milliseconds before a try: 1 s doubling to 30 s, and up to 30 % more so that clients spread; random is 0 to 1. */
export function backoff(attempt, random) {
  return Math.min(FIRST_DELAY_MS * 2 ** attempt, LONGEST_DELAY_MS) * (1 + JITTER * random);
}

/** The same after a close code: an overloaded server gets the longest delay, one that restarts says how long. */
export function retryDelay(code, reason, attempt, random) {
  const after = code === RESTART && /^after=(\d{1,7})$/.exec(reason);
  const delay = backoff(code === OVERLOADED ? Infinity : attempt, random);
  if (!after) return delay;
  return Math.max(Number(after[1]) * (1 + JITTER * random), attempt === 0 ? 0 : delay);
}

/** The server's WebSocket beside the page of this address, for a session; "" asks for a new one. */
export function socketUrl(page, session) {
  const url = new URL("ws", page);
  url.searchParams.set("session", session);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  return url.href;
}

/** A name as the server will have it: trimmed, and cut to so many characters. */
export function clean(name, longest) {
  return [...name.trim().normalize("NFC")].slice(0, longest).join("");
}

/** The room that the `#` part of an address names; "" when it names none. */
export function roomOf(hash) {
  try {
    return clean(decodeURIComponent(hash.slice(1)), 50);
  } catch {
    return clean(hash.slice(1), 50); // a lone % was typed by hand
  }
}

/** Visited rooms with one more; when there are too many, the oldest is forgotten. */
export function remember(rooms, room) {
  return rooms.includes(room) ? rooms : [...rooms, room].slice(-MOST_ROOMS);
}

// What happens here

/** A try to connect begins. */
export function connecting(state) {
  return { ...state, status: "connecting", replaced: false };
}

/** The connection is open. */
export function opened(state, now) {
  return { ...state, status: "online", why: "", openedAt: now };
}

/** A join with this id is sent, or will be once there is a connection. */
export function joining(state, room, name, joinId) {
  return { ...outside(state), room, name, joinId, refusal: "" };
}

/** The user says something: in a room where we have been, and may be again without the user's help. */
export function said(state, messageId, text) {
  const sent = new Map(state.sent).set(messageId, { messageId, room: state.room, text, seq: 0 });
  return { ...state, sent, own: new Map([...state.own, [messageId, 0]].slice(-LONGEST_LOG)) };
}

/** A message is on its way in the command of this id. */
export function flying(state, id, messageId) {
  return { ...state, flight: { id, messageId } };
}

/** The others are told that we have seen everything up to `seq`. */
export function acknowledged(state, seq, now) {
  return { ...state, acked: seq, ackedAt: now };
}

/** The connection is lost, or could not be had. What was sent without an answer is sent again on the next one. */
export function lost(state, closeCode, closeReason, now, random) {
  const cut = closeCode === LOST && state.returnAt; // a server that stops may be gone before its close frame is here
  const code = cut ? RESTART : closeCode;
  const reason = cut ? `after=${Math.max(state.returnAt - now, 0)}` : closeReason;
  const next = { ...outside(state), openedAt: 0, returnAt: 0, flight: null };
  if (code === REPLACED) {
    return {
      ...next, status: "stopped", why: "This chat went on in another tab", replaced: true, session: "", attempt: 0,
    };
  }
  if (FINAL.has(code)) return { ...next, status: "stopped", why: explain(FINAL.get(code), reason), attempt: 0 };
  const attempt = state.openedAt && now - state.openedAt >= HELD_MS ? 0 : state.attempt;
  const retryAt = now + retryDelay(code, reason, attempt, random);
  const why = state.openedAt ? explain("Connection lost", reason) : "No connection";
  return {
    ...next, status: "waiting", why: code === RESTART ? "The server restarts" : why, attempt: attempt + 1, retryAt,
  };
}

/** The user has left, or the server did not let us in; then what was not sent goes back to the user. */
export function left(state, refusal = "") {
  const unsent = refusal ? [...state.sent.values()].map(({ text }) => text) : [];
  return {
    ...outside(state), status: "stopped", why: "", refusal, room: "", attempt: 0, openedAt: 0,
    returnAt: 0, sent: new Map(), flight: null, returned: [...state.returned, ...unsent],
  };
}

/** The page comes into view, or goes out of it. */
export function looked(state, visible) {
  return state.visible === visible ? state : { ...state, visible };
}

/** Time has passed. */
export function elapsed(state, now) {
  const typing = new Map([...state.typing].filter(([, until]) => until > now));
  return typing.size === state.typing.size ? state : { ...state, typing };
}

// What is to be done

/** The command that joins the room: from where we are in its log, or with some history. */
export function join({ joinId, room, name, logs }) {
  const log = logs.get(room);
  const since = log && { epoch: log.epoch, seq: log.seq };
  return { type: "join", id: joinId, room, username: name, since, history: HISTORY };
}

/** Whether something can be said now: it is sent at once, or when there is a connection again. */
export function maySay(state) {
  return state.status !== "stopped" && state.logs.has(state.room);
}

/** The message to send next, if any; it may have to wait for resendAt. */
export function nextMessage(state) {
  if (!state.joined || state.flight) return undefined;
  return [...state.sent.values()].find(({ room, seq }) => room === state.room && !seq);
}

/** The seq to acknowledge: all that has come while the page is in view; 0 for none. It may have to wait for ackAt. */
export function nextAck(state) {
  const seq = state.joined && state.visible ? state.logs.get(state.room).seq : 0;
  return seq > state.acked ? seq : 0;
}

/** When the next acknowledgement may be sent. */
export function ackAt(state) {
  return state.ackedAt + ACK_EVERY_MS;
}

/** Milliseconds until something has to be done; Infinity when there is nothing. */
export function nextWake(state, now) {
  const times = [state.rejoinAt, ...state.typing.values()];
  if (state.status === "waiting") times.push(state.retryAt);
  if (nextMessage(state)) times.push(state.resendAt);
  if (nextAck(state)) times.push(ackAt(state));
  return Math.max(Math.min(...times) - now, 0);
}

/** Whether an event tells of comings and goings without names, and the room is small enough to ask for them. */
export function asksWho({ type, memberCount }) {
  return type === "member_count" && memberCount <= MOST_MEMBERS;
}

/** Our last message in the room, by the `key` of its line, and the names of those who have seen it. */
export function seenBy({ logs, room, name }) {
  const { entries = [], seen = [] } = logs.get(room) ?? {};
  const last = entries.findLast(({ own, seq }) => own && seq);
  const names = [...seen].filter(([other, seq]) => other !== name && seq >= last?.seq).map(([other]) => other);
  return { key: last?.key, names };
}

// What the server says

/** The state after an event of the server; unknown events, and those of a room just left, change nothing. */
export function receive(state, event, now) {
  switch (event.type) {
    case "connected":
      return { ...state, session: event.session ?? "" };
    case "reconnect":
      return { ...state, returnAt: now + event.after };
    case "room_info":
      return event.id === state.joinId ? entered(state, event, now) : state;
    case "ok":
      return event.id === state.flight?.id ? kept(state, event.seq) : told(state, event);
    case "error":
      return refused(state, event, now);
  }
  return state.joined && (event.room ?? state.room) === state.room ? receiveInRoom(state, event, now) : state;
}

function receiveInRoom(state, event, now) {
  const { username, timestamp } = event;
  switch (event.type) {
    case "message":
      return spoken(state, event);
    case "typing":
      return { ...state, typing: new Map(state.typing).set(username, now + TYPING_SHOWN_MS) };
    case "seen":
      return saw(state, [event]);
    case "gap":
      return settled(changed(noted(state, MISSING, now), { epoch: event.epoch, seq: event.seq }));
    case "user_joined":
      return noted(
        { ...state, members: [...state.members, username], count: event.memberCount }, `${username} joined`, timestamp);
    case "user_left":
      return noted(
        { ...silent(state, username), members: less(state.members, username), count: event.memberCount },
        `${username} left`, timestamp);
    case "member_count":
      return { ...state, members: asksWho(event) ? state.members : [state.name], count: event.memberCount };
    default:
      return state;
  }
}

/** A message has come: for the first time, or once more. */
function spoken(state, { username, text, timestamp, seq, messageId }) {
  if (seq <= state.logs.get(state.room).seq) return state;
  const known = state.own.get(messageId); // others may use our messageId once they have seen it
  const own = known === 0 || known === seq;
  const next = own ? { ...without(state, messageId), own: new Map(state.own).set(messageId, seq) } : state;
  return changed(logged(silent(next, username), { username, text, timestamp, own, seq }), { seq });
}

function entered(state, { room, members, count, epoch, seq, head, recovered, messages, acked = 0 }, now) {
  const known = state.logs.get(room);
  const goesOn = known?.epoch === epoch && known.seq <= head;
  const log = goesOn ? known : { entries: past(known?.entries ?? []), epoch, seq: 0, seen: new Map() };
  const next = placed({ ...state, joined: true, room, members, count, acked }, log);
  const warned = recovered === false ? noted(next, MISSING, now) : next;
  const caughtUp = messages.reduce((before, event) => receiveInRoom(before, event, now), warned);
  return settled(changed(caughtUp, { seq }), goesOn ? seq : Infinity);
}

/** Our message has been kept: it comes back next, unless it came with what we had missed. */
function kept(state, seq) {
  const { messageId } = state.flight;
  const message = state.sent.get(messageId);
  const sent = message ? new Map(state.sent).set(messageId, { ...message, seq }) : state.sent;
  return settled({ ...state, flight: null, sent, own: new Map(state.own).set(messageId, seq) });
}

/** An answer about the room, which may not be ours any more. */
function told(state, { room, readers, members, count }) {
  if (!state.joined || room !== state.room) return state;
  if (readers) return saw(state, readers);
  return members ? { ...state, members, count } : state;
}

function saw(state, readers) {
  const seen = new Map(state.logs.get(state.room).seen);
  const named = readers.filter(({ username }) => username); // not those who only listen
  for (const { username, seq } of named) seen.set(username, Math.max(seq, seen.get(username) ?? 0));
  return changed(state, { seen });
}

function refused(state, { id, message, retryAfter }, now) {
  if (id === state.joinId && !state.joined) {
    return retryAfter ? { ...state, rejoinAt: now + retryAfter } : left(state, message);
  }
  if (!state.flight || id !== state.flight.id) return noted(state, message, now);
  const landed = { ...state, flight: null };
  if (retryAfter) return { ...landed, resendAt: now + retryAfter };
  const { messageId } = state.flight;
  const returned = [...state.returned, state.sent.get(messageId).text];
  return noted({ ...without(landed, messageId), returned }, message, now);
}

// Parts

function outside(state) {
  return { ...state, joined: false, rejoinAt: Infinity, members: [], count: 0, typing: new Map() };
}

function without(state, messageId) {
  const sent = new Map(state.sent);
  sent.delete(messageId);
  return { ...state, sent };
}

/** Waits no more for those of our messages in the room that were kept up to `reached` and were not sent to us. */
function settled(state, reached = state.logs.get(state.room)?.seq) {
  const gone = ({ room, seq }) => room === state.room && seq && seq <= reached;
  return { ...state, sent: new Map([...state.sent].filter(([, message]) => !gone(message))) };
}

function silent(state, username) {
  const typing = new Map(state.typing);
  typing.delete(username);
  return { ...state, typing };
}

function less(members, username) {
  const index = members.indexOf(username);
  return index < 0 ? members : members.toSpliced(index, 1);
}

/** Lines of a log that has ended: their seqs mean nothing any more. */
function past(entries) {
  return entries.map((entry) => ({ ...entry, seq: 0 }));
}

function noted(state, text, timestamp) {
  return logged(state, { text, timestamp });
}

/** One more line in the room's log; `key` numbers the lines of the page. */
function logged(state, line) {
  const log = state.logs.get(state.room);
  if (!log) return state;
  const key = state.lines + 1;
  return changed({ ...state, lines: key }, { entries: [...log.entries, { ...line, key }].slice(-LONGEST_LOG) });
}

function changed(state, differences) {
  return placed(state, { ...state.logs.get(state.room), ...differences });
}

function placed(state, log) {
  return { ...state, logs: new Map(state.logs).set(state.room, log) };
}

function explain(what, reason) {
  return reason ? `${what}: ${reason}` : what;
}
