// Rooms: entered, entered again after a loss, left; each event once and in order, and a gap told.
import { describe, expect, test } from "vitest";
import { EPOCH, info, message, Stage, turn } from "./stage.ts";

const position = (seq: number, epoch = EPOCH) => ({ epoch, seq });
const seqs = (stage: Stage) => stage.of("message").map(({ seq }) => seq);

describe("entering", () => {
  test("a room that is joined before there is a connection is entered when there is one", () => {
    const stage = new Stage();
    stage.client.join("lobby", { username: "ada", history: 20 });
    stage.socket.greet();
    expect(stage.socket.one()).toMatchObject({ type: "join", room: "lobby", username: "ada", history: 20, keep: true });
  });

  test("a room that is joined later is entered at once", () => {
    const stage = new Stage().enter();
    stage.client.join("lobby", { username: "ada" });
    expect(stage.socket.one()).toMatchObject({ type: "join", room: "lobby" });
  });

  test("a room's name is what the server makes of it", () => {
    const stage = new Stage().enter();
    expect(stage.client.join(` ${"é".normalize("NFD")}${"x".repeat(60)}`).name).toBe(`é${"x".repeat(49)}`);
  });

  test("who joins twice is in the room once", () => {
    const stage = new Stage().enter("lobby");
    const room = stage.client.join("lobby", { username: "ada" });
    expect(stage.client.join("lobby", { username: "ada" })).toBe(room);
    expect(stage.socket.take()).toEqual([]);
  });

  test("who joins under another name enters again, from where it is", () => {
    const stage = new Stage().enter("lobby");
    stage.socket.says(message(1));
    stage.client.join("lobby", { username: "grace" });
    expect(stage.socket.one()).toMatchObject({ type: "join", username: "grace", since: position(1) });
  });

  test("who joins alone leaves the other rooms", () => {
    const stage = new Stage().enter("lobby");
    stage.client.join("kitchen", { username: "ada", alone: true });
    expect(stage.socket.one()).toMatchObject({ type: "join", room: "kitchen", keep: false });
    stage.comeBack();
    expect(stage.socket.one()).toMatchObject({ type: "join", room: "kitchen" });
  });

  test("a subscription enters unseen", () => {
    const stage = new Stage().enter();
    stage.client.subscribe("ticker");
    expect(stage.socket.one()).toEqual({ type: "subscribe", room: "ticker", id: 1 });
  });

  test("`ready` has the room's first info", async () => {
    const stage = new Stage();
    const { ready } = stage.client.join("lobby", { username: "ada" });
    stage.enter("lobby");
    expect(await ready).toMatchObject({ room: "lobby", count: 1 });
  });

  test("a room that refuses is told, and not asked again", async () => {
    const stage = new Stage().enter();
    const room = stage.client.join("vault");
    const heard: unknown[] = [];
    room.on("error", (event) => heard.push(event));
    stage.socket.says({ type: "error", code: "forbidden", message: "Not allowed", id: 1 });
    await expect(room.ready).rejects.toMatchObject({ code: "forbidden" });
    expect(heard).toEqual([{ type: "error", code: "forbidden", message: "Not allowed", room: "vault" }]);
    stage.comeBack();
    expect(stage.socket.take()).toEqual([]);
  });

  test("a room that cannot be read now is asked again when it says so", () => {
    const stage = new Stage().enter();
    stage.client.join("lobby");
    stage.socket.take();
    stage.socket.says({ type: "error", code: "unavailable", message: "later", retryAfter: 700, id: 1 });
    stage.clock.pass(700);
    expect(stage.socket.one()).toMatchObject({ type: "join", room: "lobby" });
  });

  test("rooms above the rate are entered one after the other, as the server can take them", () => {
    const stage = new Stage().enter();
    for (const room of ["a", "b", "c"]) stage.client.join(room);
    const limited = { type: "error", code: "rate_limited", message: "Too many messages", retryAfter: 100 };
    for (const { id } of stage.socket.take()) stage.socket.says({ ...limited, id });
    const asked = ["a", "b", "c"].map(() => {
      stage.clock.pass(100);
      return stage.socket.one().room;
    });
    expect(asked).toEqual(["a", "b", "c"]);
  });

  test("what a room brings with it comes as events of their own, behind its info", () => {
    const stage = new Stage();
    stage.client.join("lobby", { history: 2 });
    stage.socket.greet();
    stage.socket.says({ ...info("lobby", { seq: 2, head: 2, messages: [message(1), message(2)] }), id: 1 });
    expect(stage.events.map(({ type }) => type)).toEqual(["connected", "room_info", "message", "message"]);
  });
});

describe("coming back", () => {
  test("all rooms are entered again in one round trip, each from its position", () => {
    const stage = new Stage().enter("lobby", "kitchen");
    stage.socket.says(message(1), message(2), message(1, { room: "kitchen" }));
    stage.comeBack();
    expect(stage.socket.url).toBe("ws://hub.test/ws?session=s1");
    expect(stage.socket.one()).toMatchObject({ type: "resume", rooms: { lobby: position(2), kitchen: position(1) } });
    expect(stage.status).toBe("resuming");
    stage.socket.says(info("lobby", { recovered: true, seq: 2 }));
    expect(stage.status).toBe("resuming");
    stage.socket.says(info("kitchen", { recovered: true, seq: 1 }));
    expect(stage.status).toBe("connected");
  });

  test("rooms that the session does not know are joined with their position", () => {
    const stage = new Stage().enter("lobby", "kitchen");
    stage.comeBack();
    const { id } = stage.socket.one();
    stage.socket.says(info("lobby", { recovered: true }), { type: "ok", id, missing: ["kitchen"] });
    expect(stage.socket.one()).toMatchObject({ type: "join", room: "kitchen", since: position(0) });
  });

  test("where the session has ended all rooms are joined at once, still in one round trip", () => {
    const stage = new Stage().enter("lobby", "kitchen");
    stage.comeBack({ session: "s2" });
    expect(stage.socket.take()).toMatchObject([
      { type: "join", room: "lobby", since: position(0) },
      { type: "join", room: "kitchen", since: position(0) },
    ]);
    stage.socket.ends();
    stage.retry();
    expect(stage.socket.url).toBe("ws://hub.test/ws?session=s2");
  });

  test("a resume that is refused for now is made up for by joins", () => {
    const stage = new Stage().enter("lobby");
    stage.comeBack();
    const { id } = stage.socket.one();
    stage.socket.says({ type: "error", code: "rate_limited", message: "later", retryAfter: 5, id });
    expect(stage.socket.one()).toMatchObject({ type: "join", room: "lobby", since: position(0) });
  });

  test("a room that was asked for on a connection that ended is asked for on the next", () => {
    const stage = new Stage();
    stage.client.join("lobby", { username: "ada" });
    stage.socket.greet();
    stage.comeBack();
    expect(stage.socket.one()).toMatchObject({ type: "join", room: "lobby" });
  });

  test("what was missed comes once, and in order", () => {
    const stage = new Stage().enter("lobby");
    stage.socket.says(message(1));
    stage.comeBack();
    stage.socket.says(info("lobby", { recovered: true, seq: 3, messages: [message(2), message(3)] }), message(4));
    expect(seqs(stage)).toEqual([1, 2, 3, 4]);
    expect(stage.of("gap")).toEqual([]);
  });

  test("the rest of what was missed follows as events", () => {
    const stage = new Stage().enter("lobby");
    stage.comeBack();
    stage.socket.says(
      info("lobby", { recovered: true, seq: 1, head: 3, messages: [message(1)] }),
      message(2),
      message(3),
    );
    expect(seqs(stage)).toEqual([1, 2, 3]);
  });

  test("an event that came before is dropped, by its position alone", () => {
    const stage = new Stage().enter("lobby");
    stage.socket.says(message(1), message(2), message(2), message(1, { text: "again" }), message(3));
    expect(seqs(stage)).toEqual([1, 2, 3]);
  });

  test("a gap is told before what comes behind it", () => {
    const stage = new Stage().enter("lobby");
    stage.socket.says(message(1));
    stage.comeBack();
    const late = { recovered: false, seq: 900, head: 900, messages: [message(899), message(900)] };
    stage.socket.says(info("lobby", late));
    expect(stage.of("gap")).toEqual([{ type: "gap", room: "lobby", epoch: EPOCH, seq: 898 }]);
    expect(stage.events.map(({ type }) => type).slice(-4)).toEqual(["gap", "room_info", "message", "message"]);
  });

  test("another life of the log begins where it says, with smaller numbers too", () => {
    const stage = new Stage().enter("lobby");
    stage.socket.says(message(7));
    stage.comeBack();
    stage.socket.says(info("lobby", { recovered: false, epoch: "e2", seq: 2 }), message(3));
    expect(seqs(stage)).toEqual([7, 3]);
    expect(stage.client.join("lobby", { username: "ada" }).position).toEqual(position(3, "e2"));
  });

  test("a gap while connected moves the position", () => {
    const stage = new Stage().enter("lobby");
    stage.socket.says(message(1), { type: "gap", room: "lobby", epoch: EPOCH, seq: 812 }, message(812), message(813));
    expect(seqs(stage)).toEqual([1, 813]);
    expect(stage.of("gap")).toHaveLength(1);
  });

  test("a first info without events to go on from is no gap", () => {
    const stage = new Stage();
    stage.client.join("lobby", { since: { time: 0 } });
    stage.socket.greet();
    stage.socket.says({ ...info("lobby", { recovered: false, seq: 5, messages: [message(5)] }), id: 1 });
    expect([stage.of("gap").length, seqs(stage)]).toEqual([0, [5]]);
  });

  test("a page that begins at the position of an earlier one is told what is missing", () => {
    const stage = new Stage();
    stage.client.join("lobby", { since: position(4) });
    stage.socket.greet();
    expect(stage.socket.one()).toMatchObject({ since: position(4) });
    stage.socket.says({ ...info("lobby", { recovered: false, seq: 90 }), id: 1 });
    expect(stage.of("gap")).toMatchObject([{ seq: 90 }]);
  });

  test("who came back alone stays in the rooms that were joined since", () => {
    const stage = new Stage().enter();
    stage.client.join("lobby", { username: "ada", alone: true });
    stage.enter("kitchen");
    stage.comeBack({ session: "s2" });
    expect(stage.socket.take().map(({ keep }) => keep)).toEqual([true, true]);
  });

  test("events without a number come as they are, and `seen` is one of them", () => {
    const stage = new Stage().enter("lobby");
    const typing = { type: "typing", room: "lobby", username: "bob" };
    const seen = { type: "seen", room: "lobby", username: "bob", seq: 1 };
    stage.socket.says(message(5), typing, typing, seen, seen);
    expect([stage.of("typing").length, stage.of("seen").length]).toEqual([2, 2]);
  });
});

describe("leaving", () => {
  test("a room that is left is not entered again", () => {
    const stage = new Stage().enter("lobby", "kitchen");
    stage.client.join("kitchen", { username: "ada" }).leave();
    expect(stage.socket.one()).toMatchObject({ type: "leave", room: "kitchen" });
    stage.comeBack();
    expect(stage.socket.one()).toMatchObject({ type: "resume", rooms: { lobby: position(0) } });
  });

  test("a subscription ends with `unsubscribe`", () => {
    const stage = new Stage().enter();
    stage.client.subscribe("ticker").leave();
    expect(stage.socket.take().map(({ type }) => type)).toEqual(["subscribe", "unsubscribe"]);
  });

  test("a room that is left before it was entered says so to who waits for it", async () => {
    const stage = new Stage();
    const room = stage.client.join("lobby");
    room.leave();
    await expect(room.ready).rejects.toMatchObject({ code: "left" });
  });

  test("what was to be sent there is given up", async () => {
    const stage = new Stage();
    const room = stage.client.join("lobby");
    const sent = room.send("hi");
    room.leave();
    await expect(sent).rejects.toMatchObject({ code: "left" });
  });
});

describe("acknowledging", () => {
  test("what was received is told at most once a second, the latest only", () => {
    const stage = new Stage().enter("lobby");
    const room = stage.client.join("lobby", { username: "ada" });
    for (const seq of [1, 2, 3]) {
      stage.socket.says(message(seq));
      room.ack();
    }
    expect(stage.socket.one()).toMatchObject({ type: "ack", room: "lobby", seq: 1 });
    stage.clock.pass(1000);
    expect(stage.socket.one()).toMatchObject({ seq: 3 });
  });

  test("what was acknowledged is not unread, though the server has not heard of it", () => {
    const stage = new Stage().enter("lobby");
    const room = stage.client.join("lobby", { username: "ada" });
    stage.socket.says(message(1), message(2));
    stage.socket.ends();
    room.ack();
    expect([room.acked, room.unread]).toEqual([undefined, 0]);
  });

  test("what is unread follows from what the server has stored", () => {
    const stage = new Stage().enter("lobby");
    const room = stage.client.join("lobby", { username: "ada" });
    expect([room.acked, room.unread]).toEqual([undefined, undefined]);
    stage.socket.says(message(1), message(2));
    room.ack(1);
    stage.socket.says({ type: "ok", id: stage.socket.one().id, seq: 1, unread: 1 });
    expect([room.acked, room.unread]).toEqual([1, 1]);
  });

  test("an acknowledgement that was lost is told on the next connection", () => {
    const stage = new Stage().enter("lobby");
    stage.socket.says(message(1));
    stage.client.join("lobby", { username: "ada" }).ack();
    stage.comeBack();
    stage.socket.take();
    stage.socket.says(info("lobby", { recovered: true, seq: 1 }));
    expect(stage.socket.one()).toMatchObject({ type: "ack", seq: 1 });
  });

  test("one that the server knows is not", () => {
    const stage = new Stage().enter("lobby");
    stage.socket.says(message(1));
    stage.client.join("lobby", { username: "ada" }).ack();
    stage.comeBack();
    stage.socket.take();
    stage.socket.says(info("lobby", { recovered: true, seq: 1, acked: 1 }));
    expect(stage.socket.take()).toEqual([]);
  });

  test("one that was above the rate is told later", () => {
    const stage = new Stage().enter("lobby");
    stage.socket.says(message(1));
    stage.client.join("lobby", { username: "ada" }).ack();
    const limited = { type: "error", code: "rate_limited", message: "Too many messages", retryAfter: 2000 };
    stage.socket.says({ ...limited, id: stage.socket.one().id });
    stage.clock.pass(2000);
    expect(stage.socket.one()).toMatchObject({ type: "ack", seq: 1 });
  });

  test("a confirmed event that comes again is acknowledged again, and delivered once", () => {
    const stage = new Stage().enter("lobby");
    stage.socket.says(message(1, { confirm: true }));
    stage.client.join("lobby", { username: "ada" }).ack();
    stage.socket.take();
    stage.socket.says(message(1, { confirm: true, redelivered: true }));
    expect([stage.socket.one().type, seqs(stage)]).toEqual(["ack", [1]]);
  });
});

describe("handlers", () => {
  test("a room's handler hears of its room only, a client's of all", () => {
    const stage = new Stage().enter("lobby", "kitchen");
    const heard: string[] = [];
    stage.client.join("kitchen", { username: "ada" }).on("message", ({ text }) => heard.push(text));
    stage.socket.says(message(1), message(1, { room: "kitchen", text: "soup" }));
    expect([heard, seqs(stage)]).toEqual([["soup"], [1, 1]]);
  });

  test("a handler that fails keeps nothing from the others", () => {
    const stage = new Stage().enter("lobby");
    const { error } = console;
    const failures: unknown[] = [];
    console.error = (failure) => failures.push(failure);
    stage.client.on("typing", () => {
      throw new Error("boom");
    });
    stage.socket.says({ type: "typing", room: "lobby", username: "bob" }, message(1));
    console.error = error;
    expect([failures, seqs(stage)]).toEqual([[new Error("boom")], [1]]);
  });

  test("who has taken its handler away hears nothing", () => {
    const stage = new Stage().enter("lobby");
    let heard = 0;
    stage.client.on("message", () => heard++)();
    stage.socket.says(message(1));
    expect(heard).toBe(0);
  });
});

describe("asking", () => {
  test("a command has the reply with its id", async () => {
    const stage = new Stage().enter("lobby");
    const page = stage.client.join("lobby", { username: "ada" }).history({ before: 3, limit: 2 });
    const { id, ...command } = stage.socket.one();
    expect(command).toEqual({ type: "history", room: "lobby", before: 3, limit: 2 });
    stage.socket.says({ type: "ok", id, epoch: EPOCH, messages: [], more: false });
    expect(await page).toMatchObject({ more: false });
  });

  test("a refusal has the server's code and words", async () => {
    const stage = new Stage().enter("lobby");
    const asked = stage.client.request({ type: "dance" });
    stage.socket.says({ type: "error", code: "unknown_type", message: "No such command", id: stage.socket.one().id });
    await expect(asked).rejects.toMatchObject({
      name: "HubbubError",
      code: "unknown_type",
      message: "No such command",
    });
  });

  test("a connection that ends leaves no question open", async () => {
    const stage = new Stage().enter("lobby");
    const asked = stage.client.request({ type: "ping" });
    stage.socket.ends();
    await expect(asked).rejects.toMatchObject({ code: "disconnected" });
  });

  test("without a connection nothing can be asked", async () => {
    await expect(new Stage().client.request({ type: "ping" })).rejects.toMatchObject({ code: "disconnected" });
  });

  test("`typing` is told if there is a connection, and else forgotten", async () => {
    const stage = new Stage();
    const room = stage.client.join("lobby", { username: "ada" });
    room.typing();
    await turn();
    stage.enter("lobby");
    expect(stage.socket.take()).toEqual([]);
    room.typing();
    expect(stage.socket.one()).toMatchObject({ type: "typing", room: "lobby" });
  });
});
