// The chat page's edge: the socket, the timer, the storage and what the user does. It decides nothing: state.js says
// what an event means, view.js how that looks.
import * as states from "./state.js";
import { $, show, showRooms } from "./view.js";

const LONGEST_NAME = 30;
const LONGEST_ROOM = 50;

let state = states.start(load(tab, "mine"));
let socket = null;
let lastId = 0;
let typedAt = -Infinity;
let timer = 0;

function change(next) {
  const before = state;
  state = next;
  show(state, before, Date.now());
  if (state.room !== before.room) listRooms();
  if (["session", "own", "sent"].some((part) => state[part] !== before[part])) save(tab, "mine", states.stored(state));
  if (state.returned.length) giveBack();
  sendDue();
  schedule();
}

/** What the server did not take goes back to where it was typed. */
function giveBack() {
  $("text").value = [...state.returned, $("text").value].filter(Boolean).join(" ");
  state = { ...state, returned: [] };
}

// The storage. A tab's name, session and messages outlive a reload; a browser's name and rooms outlive the tab.

function tab() {
  return sessionStorage;
}

function browser() {
  return localStorage;
}

function load(storage, key) {
  try {
    return storage().getItem(`hubbub.${key}`) ?? "";
  } catch {
    return ""; // it is switched off
  }
}

function save(storage, key, value) {
  try {
    storage().setItem(`hubbub.${key}`, value);
  } catch {
    // it is switched off, or full: the page works without
  }
}

/** The rooms of this browser with the one we are in; a name holds no line break. */
function rooms() {
  const visited = load(browser, "rooms").split("\n").filter(Boolean);
  return state.room ? states.remember(visited, state.room) : visited;
}

function listRooms() {
  showRooms(rooms(), state.room);
}

// The socket

function connect() {
  if (socket) return;
  const opening = new WebSocket(states.socketUrl(location.href, state.session));
  socket = opening;
  const unlessLeft = (act) => (event) => socket === opening && act(event);
  opening.onopen = unlessLeft(() => {
    change(states.opened(state, Date.now()));
    sendJoin();
  });
  opening.onmessage = unlessLeft(({ data }) => onEvent(JSON.parse(data)));
  opening.onclose = unlessLeft(({ code, reason }) => {
    socket = null;
    change(states.lost(state, code, reason, Date.now(), Math.random()));
  });
  change(states.connecting(state));
}

function send(command) {
  socket.send(JSON.stringify(command));
}

function sendJoin() {
  send(states.join(state));
}

/** Asks about the room; the answer is an `ok`. */
function ask(type, fields = {}) {
  send({ type, id: ++lastId, room: state.room, ...fields });
}

/** What has waited for its turn or its time. */
function sendDue() {
  const now = Date.now();
  const message = states.nextMessage(state);
  const seq = states.nextAck(state);
  if (now >= state.rejoinAt) {
    state = { ...state, rejoinAt: Infinity };
    sendJoin();
  }
  if (message && now >= state.resendAt) {
    const { messageId, room, text } = message;
    state = states.flying(state, ++lastId, messageId);
    send({ type: "message", id: lastId, room, messageId, text });
  }
  if (seq && now >= states.ackAt(state)) {
    state = states.acknowledged(state, seq, now);
    send({ type: "ack", room: state.room, seq });
  }
}

function onEvent(event) {
  change(states.receive(state, event, Date.now()));
  if (state.refusal) leave();
  else if (event.type === "room_info" && event.id === state.joinId) onJoined();
  else if (state.joined && states.asksWho(event)) ask("presence", { limit: states.MOST_MEMBERS });
}

function onJoined() {
  history.replaceState(null, "", `#${encodeURIComponent(state.room)}`);
  save(browser, "rooms", rooms().join("\n"));
  ask("receipts");
}

// What the user does

function enter(name, room) {
  save(tab, "name", name);
  save(browser, "name", name);
  change(states.joining(state, room, name, ++lastId));
  if (state.status === "online") sendJoin();
  else if (state.status === "stopped") connect();
}

function leave() {
  const closing = socket;
  socket = null;
  closing?.close(1000);
  save(tab, "name", "");
  change(states.left(state, state.refusal));
  openEntrance();
}

function say() {
  const text = $("text").value.trim();
  if (!states.maySay(state) || !text) return;
  $("text").value = "";
  change(states.said(state, newMessageId(), text));
}

/** Not crypto.randomUUID, which pages have not that came over plain HTTP. */
function newMessageId() {
  return crypto.getRandomValues(new Uint32Array(4)).join("-");
}

function type() {
  const now = Date.now();
  if (!state.joined || !$("text").value.trim() || now - typedAt < states.TYPING_EVERY_MS) return;
  typedAt = now;
  send({ type: "typing" });
}

function openEntrance() {
  $("entrance").hidden = false;
  $("refusal").textContent = state.refusal;
  $("name").value ||= load(browser, "name");
  $("room").value = states.roomOf(location.hash) || $("room").value || "lobby";
  ($("name").value ? $("room") : $("name")).focus();
}

function followAddress() {
  const room = states.roomOf(location.hash);
  if (room && !state.room) $("room").value = room;
  else if (room && room !== state.room) enter(state.name, room);
}

// Time

function wake() {
  if (state.status === "waiting" && Date.now() >= state.retryAt) connect();
  else change(states.elapsed(states.looked(state, !document.hidden), Date.now()));
}

/** One timer for all: the next thing that is due, or the countdown's next second. */
function schedule() {
  clearTimeout(timer);
  const wait = states.nextWake(state, Date.now());
  if (wait < Infinity) timer = setTimeout(wake, wait > 1000 ? wait % 1000 || 1000 : wait);
}

// Wiring

function onSubmit(id, act) {
  $(id).addEventListener("submit", (event) => {
    event.preventDefault();
    act();
  });
}

onSubmit("enter", () => {
  const name = states.clean($("name").value, LONGEST_NAME);
  const room = states.clean($("room").value, LONGEST_ROOM);
  if (!name || !room) return;
  enter(name, room);
  location.hash = encodeURIComponent(room);
  $("text").focus();
});
onSubmit("switch", () => {
  const room = states.clean($("other").value, LONGEST_ROOM);
  $("other").value = "";
  if (room) location.hash = encodeURIComponent(room);
});
onSubmit("say", say);
$("text").addEventListener("input", type);
$("leave").addEventListener("click", leave);
$("retry").addEventListener("click", connect);
addEventListener("hashchange", followAddress);
addEventListener("storage", listRooms);
addEventListener("online", () => state.status === "waiting" && connect());
document.addEventListener("visibilitychange", wake); // the timers of a hidden tab may be a minute late

const name = load(tab, "name");
const room = states.roomOf(location.hash);
if (name && room) enter(name, room);
else openEntrance();
