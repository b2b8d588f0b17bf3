// The log as lines: days, what became of messages, what is told beside them, and the search.
import type { LogEvent, Outgoing } from "@hubbub/react";
import { expect, test } from "vitest";
import { clean, roomOf } from "../src/chat/address.ts";
import { beginningOf, found, type Line, linesOf, messagesIn, ownOf, seenBy } from "../src/chat/lines.ts";

const DAY = 86_400_000;
const NOON = new Date(2026, 10, 26, 12).getTime();

let seq = 0;

function event(type: string, fields: object): LogEvent {
  return { type, room: "lobby", epoch: "e", seq: ++seq, timestamp: NOON, ...fields } as unknown as LogEvent;
}

const said = (username: string, text: string, timestamp = NOON) =>
  event("message", { username, text, messageId: `m-${text}`, timestamp });

const none = () => false;

/** A line in a word or two. */
function short(line: Line): string {
  if (line.kind === "message") return `${line.event.username}: ${line.text}`;
  if (line.kind === "outgoing") return `(${line.outgoing.text})`;
  return line.kind === "notice" ? line.text : "day";
}

test("a day begins with a line of its own", () => {
  const lines = linesOf([said("ada", "1"), said("ada", "2"), said("ada", "3", NOON + DAY)], [], [], none);
  expect(lines.map(short)).toEqual(["day", "ada: 1", "ada: 2", "day", "ada: 3"]);
});

test("messages of one person that follow each other soon stand together", () => {
  const events = [
    said("ada", "1"),
    said("ada", "2", NOON + 1000),
    said("bob", "3"),
    said("ada", "4"),
    said("ada", "5", NOON + 600_000),
  ];
  const lines = linesOf(events, [], [], none).filter((line) => line.kind === "message");
  expect(lines.map(({ follows }) => follows)).toEqual([false, true, false, false, false]);
});

test("an edited message has its last text, and a deleted one stays deleted", () => {
  const one = said("ada", "one");
  const two = said("ada", "two");
  const events = [
    one,
    two,
    event("edited", { username: "ada", of: one.seq, text: "uno" }),
    event("edited", { username: "ada", of: one.seq, text: "eins" }),
    event("deleted", { username: "ada", of: two.seq }),
    event("edited", { username: "ada", of: two.seq, text: "zwei" }),
    event("edited", { username: "ada", of: 999, text: "of one that is not here" }),
  ];
  const lines = linesOf(events, [], [], none).filter((line) => line.kind === "message");
  expect(lines.map(({ text, edited, deleted }) => [text, edited, deleted])).toEqual([
    ["eins", true, false],
    ["two", false, true],
  ]);
});

test("what changed a message of another epoch changes none of this one", () => {
  const one = said("ada", "one");
  const edited = { ...event("edited", { username: "ada", of: one.seq, text: "uno" }), epoch: "f" } as LogEvent;
  expect(linesOf([one, edited], [], [], none).map(short)).toEqual(["day", "ada: one"]);
});

test("comings and goings stand behind what was said before them, and go with it", () => {
  const one = said("ada", "one");
  const two = said("ada", "two");
  const notices = [
    { after: `e.${one.seq}`, number: 1, text: "bob joined", timestamp: NOON },
    { after: "e.gone", number: 2, text: "bob left", timestamp: NOON },
    { after: `e.${two.seq}`, number: 3, text: "bob joined again", timestamp: NOON },
  ];
  expect(linesOf([one, two], notices, [], none).map(short)).toEqual([
    "day",
    "ada: one",
    "bob joined",
    "ada: two",
    "bob joined again",
  ]);
});

test("a gap is told of, and what is on its way stands last", () => {
  const outgoing: Outgoing = { messageId: "x", text: "soon", state: "sending" };
  const lines = linesOf([said("ada", "one"), event("gap", {}), said("ada", "two")], [], [outgoing], none);
  expect(lines.map(short)).toEqual(["day", "ada: one", "Some messages may be missing here", "ada: two", "(soon)"]);
});

test("keys stay the same when older events come before them", () => {
  const [zero, one, two] = [said("ada", "zero"), said("ada", "one"), said("ada", "two")];
  const before = linesOf([one, two], [], [], none).filter(({ kind }) => kind === "message");
  const after = linesOf([zero, one, two], [], [], none).filter(({ kind }) => kind === "message");
  expect(after.slice(1).map(({ key }) => key)).toEqual(before.map(({ key }) => key));
});

test("the search finds texts and names, the newest first, and nothing that was deleted", () => {
  const gone = said("eve", "a Line too");
  const events = [
    said("ada", "line one"),
    said("bob", "other"),
    said("line", "x"),
    gone,
    event("deleted", { of: gone.seq }),
  ];
  const lines = linesOf(events, [], [], none);
  expect(found(lines, " LINE ").map(short)).toEqual(["line: x", "ada: line one"]);
  expect(found(lines, " ")).toEqual([]);
});

test.each([
  ["", ""],
  ["#lobby", "lobby"],
  ["#caf%C3%A9%20%26", "café &"],
  ["#100%", "100%"],
  [`#${"a".repeat(60)}`, "a".repeat(50)],
])("the address %j names the room %j", (address, room) => {
  expect(roomOf(address)).toBe(room);
});

test("a name is trimmed, brought into normal form and cut by characters", () => {
  expect(clean("  e\u0301🎉🎉 ", 2)).toBe("é🎉");
});

test("each reader stands under the last own message that it has read, of the same epoch", () => {
  const old = { ...said("ada", "of another epoch"), epoch: "d" } as LogEvent;
  const events = [old, said("ada", "one"), said("bob", "two"), said("ada", "three")];
  const own = ownOf(linesOf(events, [], [], ({ messageId }) => messageId !== "m-two"));
  const [, one, two, three] = events.map(({ seq }) => seq) as [number, number, number, number];
  const readers = new Map([
    ["zoe", three + 5],
    ["bob", three],
    ["eve", two],
    ["joe", one - 1],
  ]);
  expect(seenBy(own, "e", readers)).toEqual(
    new Map([
      [`e.${three}`, ["bob", "zoe"]],
      [`e.${one}`, ["eve"]],
    ]),
  );
});

test("above the first line stands where the room begins, or that older ones are no longer kept", () => {
  const first = { ...said("ada", "one"), seq: 1 } as LogEvent;
  expect(beginningOf("lobby", first).text).toBe("Here lobby begins");
  expect(beginningOf("lobby", { ...first, seq: 7 }).text).toBe("What was said before is no longer kept");
});

test("what was edited or deleted is no message that is unread", () => {
  const one = said("ada", "one");
  const events = [one, event("edited", { of: one.seq }), said("ada", "two"), event("deleted", { of: one.seq })];
  expect([0, 1, 2, 3, 100].map((unread) => messagesIn(events, unread))).toEqual([0, 0, 1, 1, 98]);
});
