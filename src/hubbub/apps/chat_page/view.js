// Draws the chat page's state into the DOM. What people wrote gets there as textContent, never as HTML.
import { LONGEST_LOG, maySay, seenBy } from "./state.js";

const NEAR_END_PIXELS = 40; // who has scrolled further up reads, and is not pulled down
const MOST_NAMES = 3; // of those who have seen a message
const time = new Intl.DateTimeFormat(undefined, { timeStyle: "short" });
const fullTime = new Intl.DateTimeFormat(undefined, { dateStyle: "long", timeStyle: "medium" });

const SENDING = { textContent: "Sending…" };
const seen = element("p", { className: "seen", ariaLive: "off" });

let atEnd = true;
let lastKey = 0; // of the lines that are drawn

/** The element with this id. */
export const $ = (id) => document.getElementById(id);

$("log").addEventListener("scroll", ({ target }) => {
  atEnd = target.scrollHeight - target.scrollTop - target.clientHeight < NEAR_END_PIXELS;
});
new ResizeObserver(stayAtEnd).observe($("log")); // a phone's keyboard opens

/** Draws what differs between two states. */
export function show(state, before, now) {
  showConnection(state, now);
  if (state.room !== before.room) showRoom(state);
  if (state.members !== before.members || state.count !== before.count) showMembers(state);
  if (["logs", "sent", "room"].some((part) => state[part] !== before[part])) {
    showLog(state, state.room !== before.room);
    showSeen(seenBy(state));
    showSending(state);
    stayAtEnd();
  }
  if (state.typing !== before.typing) $("typing").textContent = typingLine([...state.typing.keys()]);
}

/** Draws the list of rooms; each is a link, so that it can be opened in another tab, too. */
export function showRooms(rooms, current) {
  $("rooms").replaceChildren(...rooms.map((room) => {
    const link = element("a", { href: `#${encodeURIComponent(room)}`, textContent: room, dir: "auto" });
    if (room === current) link.ariaCurrent = "page";
    return element("li", {}, link);
  }));
  $("rooms").querySelector("[aria-current]")?.scrollIntoView({ block: "nearest", inline: "nearest" });
}

function showConnection(state, now) {
  const { status, joined, why, retryAt, replaced } = state;
  const said = { online: joined ? "Connected" : "Joining…", connecting: why || "Connecting…" }[status] ?? why;
  const seconds = Math.max(Math.ceil((retryAt - now) / 1000), 0);
  setText($("status"), said);
  setText($("countdown"), status === "waiting" ? `Next try in ${seconds} s` : "");
  $("dot").className = status;
  $("retry").hidden = status !== "waiting" && status !== "stopped";
  setText($("retry"), replaced ? "Continue here" : "Try now");
  $("send").disabled = !maySay(state);
}

function showRoom({ room }) {
  $("entrance").hidden = room !== "";
  $("chat").hidden = room === "";
  $("title").textContent = room;
  document.title = room ? `${room} · Hubbub` : "Hubbub";
}

function showMembers({ joined, members, count }) {
  const items = members.map((name) => element("li", { textContent: name, dir: "auto" }));
  const others = count - members.length;
  if (others > 0) items.push(element("li", { textContent: `and ${others} more`, className: "more" }));
  $("members").replaceChildren(...items);
  $("count").textContent = joined ? count : "";
}

/** Appends the lines that are not there yet: a line that is drawn again would be read out again. */
function showLog({ logs, room }, anotherRoom) {
  const lines = $("lines");
  if (anotherRoom) {
    lines.replaceChildren();
    lastKey = 0;
    atEnd = true;
  }
  const entries = logs.get(room)?.entries ?? [];
  lines.append(...entries.filter(({ key }) => key > lastKey).map(line));
  lastKey = entries.at(-1)?.key ?? 0;
  while (lines.childElementCount > LONGEST_LOG) lines.firstElementChild.remove();
}

/** Says under our last message who has seen it; not aloud. */
function showSeen({ key, names }) {
  const more = names.length > MOST_NAMES ? ` +${names.length - MOST_NAMES}` : "";
  setText(seen, `Seen by ${names.slice(0, MOST_NAMES).join(", ")}${more}`);
  seen.title = names.join(", ");
  if (names.length) $("lines").querySelector(`[data-key="${key}"]`)?.after(seen);
  else seen.remove();
}

/** What has not come back from the server stands behind what has. */
function showSending({ sent, room, name }) {
  const messages = [...sent.values()].filter((message) => message.room === room);
  const lines = messages.map(({ text }) => message("message own sending", name, element("time", SENDING), text));
  $("sending").replaceChildren(...lines);
}

function stayAtEnd() {
  if (atEnd) $("log").scrollTop = $("log").scrollHeight;
}

function line({ key, username, text, timestamp, own }) {
  const entry = username === undefined
    ? element("div", { className: "notice" }, words(text), when(timestamp))
    : message(own ? "message own" : "message", username, when(timestamp), text);
  entry.dataset.key = key;
  return entry;
}

function message(className, username, time, text) {
  const by = element("p", { className: "by" }, element("bdi", { textContent: username }), time);
  return element("div", { className }, by, words(text));
}

function words(text) {
  return element("p", { textContent: text, dir: "auto" });
}

function when(timestamp) {
  const date = new Date(timestamp);
  const words = { title: fullTime.format(date), textContent: time.format(date) };
  return element("time", { dateTime: date.toISOString(), ...words });
}

function typingLine(names) {
  if (names.length > 3) return "Several people are typing…";
  if (names.length > 1) return `${names.slice(0, -1).join(", ")} and ${names.at(-1)} are typing…`;
  return names.length ? `${names[0]} is typing…` : "";
}

/** Sets a text only when it differs: what is set again is read out again. */
function setText(target, text) {
  if (target.textContent !== text) target.textContent = text;
}

function element(name, properties, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}
