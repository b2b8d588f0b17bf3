// What the chat page knows, and how events change it. Pure: no DOM, clock, network or randomness; each function
// takes a state and returns the next one, and leaves the given one alone.

export const TYPING_EVERY_MS = 2000; // how often `typing` is sent while keys are pressed
export const TYPING_SHOWN_MS = 3000; // one missed `typing` does not make it flicker
export const LONGEST_LOG = 500; // lines kept of a room: a day's talk of a few people
export const MOST_ROOMS = 12; // visited rooms that are remembered

const FIRST_DELAY_MS = 1000;
const LONGEST_DELAY_MS = 30_000;
const JITTER = 0.3;
// A connection that ends sooner did not hold: a server that takes and drops us must not be asked every second.
const HELD_MS = 5000;
const RESTART = 1012;
const OVERLOADED = 1013;
const FINAL = new Map([
  [1000, "The server ended the connection"],
  [1001, "The server is going away"],
  [4400, "The server does not understand this page"],
  [4403, "You were removed"],
  [4409, "Continued in another connection"],
]);

/**
 * The state of a page that nobody has entered yet.
 *
 * status: "stopped" (until the user acts), "connecting", "waiting" (for retryAt) or "online".
 * joined: the server has let us into `room`; before that, only the reply to `joinId` counts.
 * sent: texts by id which the server has not answered; returned: those that it did not take, for the user to keep.
 * logs: by room, its lines and the position { epoch, seq } of the last one.
 * own: the seqs of our own messages that are on their way back; another member may have our name.
 */
export function start() {
  return {
    status: "stopped", why: "", refusal: "", attempt: 0, openedAt: 0, retryAt: 0,
    name: "", room: "", joinId: 0, joined: false, members: [], count: 0,
    typing: new Map(), sent: new Map(), returned: [], logs: new Map(), own: new Set(), lines: 0,
  };
}

/** Milliseconds before a try: 1 s doubling to 30 s, and up to 30 % more so that clients spread; random is 0 to 1. */
export function backoff(attempt, random) {
  return Math.min(FIRST_DELAY_MS * 2 ** attempt, LONGEST_DELAY_MS) * (1 + JITTER * random);
}

/** The same after a close code: an overloaded server gets the longest delay, one that restarts says how long. */
export function retryDelay(code, reason, attempt, random) {
  const after = code === RESTART && /^after=(\d{1,6})$/.exec(reason);
  const delay = backoff(code === OVERLOADED ? Infinity : attempt, random);
  if (!after) return delay;
  return Math.max(Number(after[1]) * (1 + JITTER * random), attempt === 0 ? 0 : delay);
}

/** The server's WebSocket beside the page of this address. */
export function socketUrl(page) {
  const url = new URL("ws", page);
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
  return { ...state, status: "connecting" };
}

/** The connection is open. */
export function opened(state, now) {
  return { ...state, status: "online", why: "", openedAt: now };
}

/** A join with this id is sent, or will be once there is a connection. */
export function joining(state, room, name, joinId) {
  return { ...outside(state), room, name, joinId, refusal: "" };
}

/** A text is sent under this id. */
export function said(state, id, text) {
  return { ...state, sent: new Map(state.sent).set(id, text) };
}

/** The connection is lost, or could not be had. What was sent without an answer comes back to the user. */
export function lost(state, code, reason, now, random) {
  const returned = [...state.returned, ...state.sent.values()];
  const next = { ...outside(state), openedAt: 0, sent: new Map(), returned };
  if (FINAL.has(code)) return { ...next, status: "stopped", why: explain(FINAL.get(code), reason), attempt: 0 };
  const attempt = state.openedAt && now - state.openedAt >= HELD_MS ? 0 : state.attempt;
  const retryAt = now + retryDelay(code, reason, attempt, random);
  const why = state.openedAt ? explain("Connection lost", reason) : "No connection";
  return {
    ...next, status: "waiting", why: code === RESTART ? "The server restarts" : why, attempt: attempt + 1, retryAt,
  };
}

/** The user has left, or the server did not let us in. */
export function left(state, refusal = "") {
  return {
    ...outside(state), status: "stopped", why: "", refusal, room: "", attempt: 0, openedAt: 0, sent: new Map(),
  };
}

/** Time has passed. */
export function elapsed(state, now) {
  const typing = new Map([...state.typing].filter(([, until]) => until > now));
  return typing.size === state.typing.size ? state : { ...state, typing };
}

/** Milliseconds until somebody's typing has to go or another try is due; Infinity when nothing is. */
export function nextWake(state, now) {
  const times = [...state.typing.values()].map((until) => until - now);
  if (state.status === "waiting") times.push(state.retryAt - now);
  return Math.max(Math.min(...times), 0);
}

// What the server says

/** The state after an event of the server; unknown events, and those of a room just left, change nothing. */
export function receive(state, event, now) {
  switch (event.type) {
    case "room_info":
      return event.id === state.joinId ? entered(state, event, now) : state;
    case "ok":
      return { ...without(state, event.id), own: new Set(state.own).add(event.seq) };
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
    case "user_joined":
      return noted(
        { ...state, members: [...state.members, username], count: event.memberCount }, `${username} joined`, timestamp);
    case "user_left":
      return noted(
        { ...silent(state, username), members: less(state.members, username), count: event.memberCount },
        `${username} left`, timestamp);
    case "member_count": // comings and goings have no names any more: who else is here, we cannot know
      return { ...state, members: [state.name], count: event.memberCount };
    default:
      return state;
  }
}

function spoken(state, { username, text, timestamp, seq }) {
  const own = new Set(state.own);
  const line = { username, text, timestamp, own: own.delete(seq) };
  return logged({ ...silent(state, username), own }, line, seq);
}

function entered(state, event, now) {
  const { room, members, count, epoch, seq } = event;
  const known = state.logs.get(room);
  const next = { ...state, joined: true, room, members, count, own: new Set() };
  if (!known) return placed(next, room, [], epoch, seq);
  const missed = missing(known, event);
  const back = placed(next, room, known.entries, epoch, seq);
  return missed ? noted(back, missed, now) : back;
}

/** What to tell of the time in which we were not in the room. */
function missing(known, { epoch, seq }) {
  if (known.epoch !== epoch) return "You are back. What was said in between is not shown.";
  const count = seq - known.seq;
  return count > 0 ? `You are back. Messages in between that are not shown: ${count}.` : "";
}

function refused(state, event, now) {
  if (event.id === state.joinId && !state.joined) return left(state, event.message);
  const text = state.sent.get(event.id);
  const next = text === undefined ? state : { ...without(state, event.id), returned: [...state.returned, text] };
  return noted(next, event.message, now);
}

// Parts

function outside(state) {
  return { ...state, joined: false, members: [], count: 0, typing: new Map() };
}

function without(state, id) {
  const sent = new Map(state.sent);
  sent.delete(id);
  return { ...state, sent };
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

function noted(state, text, timestamp) {
  return logged(state, { text, timestamp });
}

/** One more line in the room's log; `key` numbers the lines of the page. */
function logged(state, line, seq) {
  const log = state.logs.get(state.room);
  if (!log) return state;
  const key = state.lines + 1;
  const entries = [...log.entries, { ...line, key }].slice(-LONGEST_LOG);
  return placed({ ...state, lines: key }, state.room, entries, log.epoch, seq ?? log.seq);
}

function placed(state, room, entries, epoch, seq) {
  return { ...state, logs: new Map(state.logs).set(room, { entries, epoch, seq }) };
}

function explain(what, reason) {
  return reason ? `${what}: ${reason}` : what;
}
