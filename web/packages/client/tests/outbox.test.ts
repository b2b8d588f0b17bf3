// What is sent, with a connection and without: in order, once, and not without bound.
import { expect, test } from "vitest";
import type { Room } from "../src/index.ts";
import { info, message, Stage, turn } from "./stage.ts";

const texts = (stage: Stage) => stage.socket.take().map(({ text }) => text);

function inLobby(options = {}): [Stage, Room] {
  const stage = new Stage(options).enter("lobby");
  return [stage, stage.client.join("lobby", { username: "ada" })];
}

/** Answers what has been sent, until nothing more comes. */
function answerAll(stage: Stage): unknown[] {
  const said = [];
  for (let sent = stage.socket.take(); sent.length; sent = stage.socket.take()) {
    for (const { id, text } of sent) {
      said.push(text);
      stage.socket.says({ type: "ok", id, seq: said.length });
    }
  }
  return said;
}

function backInLobby(stage: Stage): void {
  stage.comeBack();
  stage.socket.take();
  stage.socket.says(info("lobby", { recovered: true }));
}

test("a message is answered with its id and its number", async () => {
  const [stage, room] = inLobby();
  const sent = room.send("hi", "m-1");
  const { id, ...command } = stage.socket.one();
  expect(command).toEqual({ type: "message", room: "lobby", text: "hi", messageId: "m-1" });
  stage.socket.says({ type: "ok", id, seq: 5 });
  expect(await sent).toEqual({ messageId: "m-1", seq: 5 });
});

test("a message that names no id gets one, each another", () => {
  const [stage, room] = inLobby();
  for (const text of ["1", "2"]) room.send(text);
  const first = stage.socket.one();
  stage.socket.says({ type: "ok", id: first.id, seq: 1 });
  const ids = [first.messageId, stage.socket.one().messageId] as string[];
  expect(new Set(ids.filter((id) => /^[0-9-]{7,43}$/.test(id))).size).toBe(2);
});

test("what is said while there is no connection is sent when there is one, in order", () => {
  const stage = new Stage();
  const room = stage.client.join("lobby", { username: "ada" });
  for (const text of ["1", "2", "3"]) room.send(text);
  stage.enter("lobby");
  expect(answerAll(stage)).toEqual(["1", "2", "3"]);
});

test("nothing is sent to a room before it is entered", () => {
  const stage = new Stage();
  stage.client.join("lobby", { username: "ada" }).send("hi");
  stage.socket.greet();
  expect(stage.socket.one().type).toBe("join");
});

test("in one room a message waits for the answer to the one before, in others none does", () => {
  const stage = new Stage().enter("lobby", "kitchen");
  for (const name of ["lobby", "lobby", "kitchen"]) stage.client.join(name, { username: "ada" }).send(name);
  expect(texts(stage)).toEqual(["lobby", "kitchen"]);
});

test("a message without an answer is sent again on the next connection, under its id", async () => {
  const [stage, room] = inLobby();
  const sent = room.send("once", "m-1");
  stage.socket.take();
  backInLobby(stage);
  const again = stage.socket.one();
  expect(again).toMatchObject({ text: "once", messageId: "m-1" });
  stage.socket.says({ type: "ok", id: again.id, seq: 1 });
  expect(await sent).toEqual({ messageId: "m-1", seq: 1 });
  backInLobby(stage);
  expect(stage.socket.take()).toEqual([]);
});

test("a message that was kept unheard of, and comes with what was missed, is not sent again", async () => {
  const [stage, room] = inLobby();
  const sent = room.send("once", "m-1");
  const next = room.send("next", "m-2");
  stage.comeBack();
  stage.socket.take();
  const kept = message(1, { username: "ada", text: "once", messageId: "m-1" });
  stage.socket.says(info("lobby", { recovered: true, seq: 1, head: 1, messages: [kept] }));
  expect(await sent).toEqual({ messageId: "m-1", seq: 1 });
  expect(answerAll(stage)).toEqual(["next"]);
  await next;
});

test("a message that is sent again is not overtaken", () => {
  const [stage, room] = inLobby();
  for (const text of ["1", "2"]) room.send(text);
  backInLobby(stage);
  room.send("3");
  expect(answerAll(stage)).toEqual(["1", "2", "3"]);
});

test("a message above the rate is sent again when the server says, before those behind it", () => {
  const [stage, room] = inLobby();
  for (const text of ["1", "2"]) room.send(text);
  const limited = { type: "error", code: "rate_limited", message: "Too many messages", retryAfter: 85 };
  stage.socket.says({ ...limited, id: stage.socket.one().id });
  expect(texts(stage)).toEqual([]);
  stage.clock.pass(85);
  expect(answerAll(stage)).toEqual(["1", "2"]);
});

test("a message that the server does not take is told, and the next one goes", async () => {
  const [stage, room] = inLobby();
  const refused = room.send("");
  room.send("2");
  const { id } = stage.socket.one();
  stage.socket.says({ type: "error", code: "invalid_message", message: "A message has 1 to 2000 characters", id });
  await expect(refused).rejects.toMatchObject({ code: "invalid_message" });
  expect(answerAll(stage)).toEqual(["2"]);
});

test("a message that ended the connection is not repeated", async () => {
  const [stage, room] = inLobby();
  const [big, next] = [room.send("big"), room.send("2")];
  stage.socket.ends(1009, "too big (max_message_bytes)");
  await expect(big).rejects.toMatchObject({ code: "refused", message: "too big (max_message_bytes)" });
  stage.retry().socket.greet();
  stage.socket.take();
  stage.socket.says(info("lobby", { recovered: true }));
  expect(answerAll(stage)).toEqual(["2"]);
  expect(await next).toMatchObject({ seq: 1 });
});

test("a queue that is full takes nothing more", async () => {
  const stage = new Stage({ queue: 2 });
  const room = stage.client.join("lobby", { username: "ada" });
  for (const text of ["1", "2"]) room.send(text);
  await expect(room.send("3")).rejects.toMatchObject({ code: "queue_full" });
  stage.enter("lobby");
  expect(answerAll(stage)).toEqual(["1", "2"]);
});

test("what waits for a room that refuses is given up, and nothing else", async () => {
  const stage = new Stage();
  const refused = stage.client.join("vault").send("psst");
  stage.client.join("lobby").send("hi");
  stage.socket.greet();
  const [vault, lobby] = stage.socket.take();
  stage.socket.says({ type: "error", code: "forbidden", message: "Not allowed", id: vault?.id });
  await expect(refused).rejects.toMatchObject({ code: "forbidden" });
  stage.socket.says({ ...info("lobby"), id: lobby?.id });
  expect(texts(stage)).toEqual(["hi"]);
});

test("a client that is closed gives up what was not sent", async () => {
  const [stage, room] = inLobby();
  const flying = room.send("1");
  const waiting = room.send("2");
  stage.client.close();
  await expect(flying).rejects.toMatchObject({ code: "gone" });
  await expect(waiting).rejects.toMatchObject({ code: "gone" });
});

test("an event of one's own is published as safely as a message", () => {
  const [stage, room] = inLobby();
  room.publish({ type: "moved", x: 1 }, true, "p-1");
  backInLobby(stage);
  const moved = { type: "publish", room: "lobby", event: { type: "moved", x: 1 }, keep: true, messageId: "p-1" };
  expect(stage.socket.one()).toMatchObject(moved);
});

test("one that is not kept is of no use later", async () => {
  const stage = new Stage();
  const lost = stage.client.join("lobby").publish({ type: "cursor", x: 1 }, false);
  await expect(lost).rejects.toMatchObject({ code: "disconnected" });
  await turn();
  stage.enter("lobby");
  expect(stage.socket.take()).toEqual([]);
});
