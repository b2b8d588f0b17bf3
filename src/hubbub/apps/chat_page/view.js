// Draws the chat page's state into the DOM. What people wrote gets there as textContent, never as HTML.
import { LONGEST_LOG } from "./state.js";

const NEAR_END_PIXELS = 40; // who has scrolled further up reads, and is not pulled down
const time = new Intl.DateTimeFormat(undefined, { timeStyle: "short" });
const fullTime = new Intl.DateTimeFormat(undefined, { dateStyle: "long", timeStyle: "medium" });

let atEnd = true;

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
  if (state.logs !== before.logs || state.room !== before.room) showLog(state, state.room !== before.room);
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

function showConnection({ status, joined, why, retryAt }, now) {
  const said = { online: joined ? "Connected" : "Joining…", connecting: why || "Connecting…" }[status] ?? why;
  const seconds = Math.max(Math.ceil((retryAt - now) / 1000), 0);
  setText($("status"), said);
  setText($("countdown"), status === "waiting" ? `Next try in ${seconds} s` : "");
  $("dot").className = status;
  $("retry").hidden = status !== "waiting" && status !== "stopped";
  $("send").disabled = !joined;
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
  const log = $("log");
  if (anotherRoom) {
    log.replaceChildren();
    atEnd = true;
  }
  const shown = Number(log.lastElementChild?.dataset.key ?? 0);
  const entries = logs.get(room)?.entries ?? [];
  log.append(...entries.filter(({ key }) => key > shown).map(line));
  while (log.childElementCount > LONGEST_LOG) log.firstElementChild.remove();
  stayAtEnd();
}

function stayAtEnd() {
  if (atEnd) $("log").scrollTop = $("log").scrollHeight;
}

function line({ key, username, text, timestamp, own }) {
  const words = element("p", { textContent: text, dir: "auto" });
  const entry = username === undefined
    ? element("div", { className: "notice" }, words, when(timestamp))
    : element("div", { className: own ? "message own" : "message" }, by(username, timestamp), words);
  entry.dataset.key = key;
  return entry;
}

function by(username, timestamp) {
  return element("p", { className: "by" }, element("bdi", { textContent: username }), when(timestamp));
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
