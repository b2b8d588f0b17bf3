// Plain HTTP: streams and polls to listen, POST to speak; what is in the way, and the way back to WebSocket.
import { describe, expect, test } from "vitest";
import type { Kind, Options } from "../src/index.ts";
import { EPOCH, info, message } from "./stage.ts";
import { type Asked, settled, WebStage } from "./web.ts";

const CONNECTED = { type: "connected", clientId: "c", heartbeat: 15_000, session: "s1" };
const seqs = (stage: WebStage) => stage.of("message").map(({ seq }) => seq);

/** A client that is in the lobby over a stream. */
async function streaming(options: Options = {}): Promise<[WebStage, Asked]> {
  const stage = await WebStage.make({ transports: ["stream"], ...options });
  stage.client.join("lobby", { username: "ada", history: 10 });
  const asked = await stage.one();
  await asked.streams(CONNECTED, info("lobby"));
  return [stage, asked];
}

describe("a stream", () => {
  test("is asked for with the rooms, the name and the session", async () => {
    const [stage, { url, headers }] = await streaming();
    expect(url.href).toBe("http://hub.test/sse?room=lobby&history=10&username=ada&session=");
    expect(headers).toEqual({ accept: "text/event-stream" });
    expect(stage.client.state).toMatchObject({ status: "connected", transport: "stream", session: "s1" });
  });

  test("brings events, in whatever pieces it comes", async () => {
    const [stage, asked] = await streaming();
    for (const char of `: \n\nevent: message\ndata: ${JSON.stringify(message(1))}\n\n`) await asked.bytes(char);
    expect(seqs(stage)).toEqual([1]);
  });

  test("shows the token in a header, as it can", async () => {
    const stage = await WebStage.make({ transports: ["stream"], token: "t1" });
    stage.client.subscribe("ticker");
    expect((await stage.one()).headers.authorization).toBe("Bearer t1");
  });

  test("of several rooms is one, and goes on at the place of each", async () => {
    const [stage, first] = await streaming();
    await first.writes(message(4));
    stage.client.join("kitchen", { username: "ada" });
    const second = await stage.one();
    expect(first.aborted).toBe(true);
    expect(second.url.searchParams.getAll("room")).toEqual(["lobby", "kitchen"]);
    expect(second.query).toMatchObject({ since: `${EPOCH}:4,-`, session: "s1" });
    await second.streams(CONNECTED, info("lobby", { seq: 4, recovered: true }), info("kitchen"), message(5));
    expect([seqs(stage), stage.of("gap")]).toEqual([[4, 5], []]);
  });

  test("subscriptions have one of their own, without a name", async () => {
    const [stage] = await streaming();
    stage.client.subscribe("ticker");
    expect((await stage.one()).query).toEqual({ room: "ticker" });
  });

  test("of a room that is left is asked for without it", async () => {
    const [stage] = await streaming();
    stage.client.join("kitchen", { username: "ada" });
    await (await stage.one()).streams(CONNECTED, info("lobby"), info("kitchen"));
    stage.client.leave("lobby");
    expect((await stage.one()).url.searchParams.getAll("room")).toEqual(["kitchen"]);
  });

  test("of who joins alone has the other rooms no more", async () => {
    const [stage] = await streaming();
    stage.client.join("kitchen", { username: "ada", alone: true });
    expect((await stage.one()).url.searchParams.getAll("room")).toEqual(["kitchen"]);
  });

  test("that ends is asked for again, from where it was", async () => {
    const [stage, asked] = await streaming();
    await asked.writes(message(7));
    await asked.ends();
    expect(stage.client.state).toMatchObject({ status: "waiting", reason: "the stream has ended" });
    await stage.pass(1000);
    expect((await stage.one()).query).toMatchObject({ since: `${EPOCH}:7`, session: "s1" });
  });

  test("is left with the code that a WebSocket would be closed with", async () => {
    const [stage, asked] = await streaming();
    await asked.writes({ type: "closed", code: 4403, reason: "removed" });
    expect(stage.client.state).toMatchObject({ status: "closed", code: 4403, reason: "removed" });
  });

  test("of a server that stops says when it will be gone", async () => {
    const [stage, asked] = await streaming();
    await asked.bytes("retry: 4500\n\n");
    await asked.writes({ type: "closed", code: 1012, reason: "after=500" });
    expect((stage.client.state.retryAt as number) - stage.clock.now()).toBe(4500);
  });

  test("that is silent for two comments and a second is lost", async () => {
    const [stage] = await streaming();
    await stage.pass(30_999);
    expect(stage.status).toBe("connected");
    await stage.pass(1);
    expect(stage.client.state).toMatchObject({ status: "waiting", reason: "no answer" });
  });

  test("tells what it cannot bring back as a gap", async () => {
    const [stage, asked] = await streaming();
    await asked.writes(message(1));
    await asked.ends();
    await stage.pass(1000);
    await (await stage.one()).streams(CONNECTED, info("lobby", { recovered: false, seq: 98 }), message(99));
    expect([stage.of("gap"), seqs(stage)]).toEqual([[{ type: "gap", room: "lobby", epoch: EPOCH, seq: 98 }], [1, 99]]);
  });
});

describe("a refusal", () => {
  test("of one room is that room's, and the others are asked for without it", async () => {
    const [stage] = await streaming();
    const vault = stage.client.join("vault", { username: "ada" });
    await (await stage.one()).refuses(403, { code: "forbidden" });
    await expect(vault.ready).rejects.toMatchObject({ code: "forbidden", message: "because" });
    expect((await stage.one()).query).toMatchObject({ room: "lobby", since: `${EPOCH}:0` });
  });

  test("of several rooms has each asked for alone", async () => {
    const stage = await WebStage.make({ transports: ["stream"] });
    for (const room of ["lobby", "vault"]) stage.client.join(room, { username: "ada" });
    await (await stage.one()).refuses(403, { code: "forbidden" });
    expect(stage.take().map(({ query }) => query.room)).toEqual(["lobby", "vault"]);
  });

  test("leaves the others of them on one request in the end", async () => {
    const stage = await WebStage.make({ transports: ["stream"] });
    for (const room of ["lobby", "vault", "kitchen"]) stage.client.join(room, { username: "ada" });
    await (await stage.one()).refuses(403, { code: "forbidden" });
    const [lobby, vault, kitchen] = stage.take() as [Asked, Asked, Asked];
    await vault.refuses(403, { code: "forbidden" });
    await lobby.streams(CONNECTED, info("lobby", { seq: 3 }));
    await kitchen.streams(CONNECTED, info("kitchen"));
    const last = await stage.one();
    expect(last.url.searchParams.getAll("room")).toEqual(["lobby", "kitchen"]);
    expect([last.query.since, lobby.aborted, kitchen.aborted]).toEqual([`${EPOCH}:3,${EPOCH}:0`, true, true]);
    expect([stage.status, stage.of("error").map(({ room }) => room)]).toEqual(["connected", [undefined, "vault"]]);
  });

  test("of the token has a new one shown", async () => {
    let count = 0;
    const stage = await WebStage.make({ transports: ["stream"], token: () => `t${++count}` });
    stage.client.subscribe("ticker");
    await (await stage.one()).refuses(401, {});
    await stage.pass(0);
    expect((await stage.one()).headers.authorization).toBe("Bearer t2");
  });

  test("of a full server says when to come back", async () => {
    const stage = await WebStage.make({ transports: ["stream"] });
    stage.client.subscribe("ticker");
    await (await stage.one()).refuses(503, {}, { "retry-after": "7" });
    expect((stage.client.state.retryAt as number) - stage.clock.now()).toBe(7000);
  });
});

describe("a command", () => {
  test("is a POST, and its answer is the reply", async () => {
    const [stage] = await streaming();
    const sent = stage.client.join("lobby", { username: "ada" }).send("hi", "m-1");
    const post = await stage.one();
    expect([post.options.method, post.path]).toEqual(["POST", "/api/rooms/lobby/commands"]);
    expect([post.query, post.body]).toEqual([
      { session: "s1", username: "ada" },
      { type: "message", text: "hi", messageId: "m-1" },
    ]);
    await post.answers({ seq: 5, messageId: "m-1" });
    expect(await sent).toEqual({ messageId: "m-1", seq: 5 });
  });

  test("that is refused has the code and the words", async () => {
    const [stage] = await streaming();
    const sent = stage.client.join("lobby", { username: "ada" }).send("");
    const told = expect(sent).rejects.toMatchObject({ code: "invalid_message", message: "It is empty" });
    await (await stage.one()).refuses(400, { code: "invalid_message", detail: "It is empty" });
    await told;
  });

  test("above the rate is sent again", async () => {
    const [stage] = await streaming();
    stage.client.join("lobby", { username: "ada" }).send("hi", "m-1");
    await (await stage.one()).refuses(429, {}, { "retry-after": "2" });
    await stage.pass(2000);
    expect((await stage.one()).body).toMatchObject({ text: "hi", messageId: "m-1" });
  });

  test("whose answer is lost is sent again on the next connection, under its id", async () => {
    const [stage] = await streaming();
    stage.client.join("lobby", { username: "ada" }).send("hi", "m-1");
    await (await stage.one()).fails();
    expect(stage.status).toBe("waiting");
    await stage.pass(1000);
    await (await stage.one()).streams(CONNECTED, info("lobby", { recovered: true }));
    expect((await stage.one()).body).toMatchObject({ messageId: "m-1" });
  });

  test("without an answer to it, such as `typing`, is told all the same", async () => {
    const [stage] = await streaming();
    stage.client.join("lobby", { username: "ada" }).typing();
    const post = await stage.one();
    expect(post.body).toEqual({ type: "typing" });
    await post.answers(null, 204);
    expect(stage.status).toBe("connected");
  });

  test("of an application brings its events along", async () => {
    const [stage] = await streaming();
    const asked = stage.client.join("lobby", { username: "ada" }).command("roll", { sides: 6 });
    await (await stage.one()).answers({ value: 4, events: [{ type: "rolled", value: 4 }] });
    expect([await asked, stage.of("rolled")]).toMatchObject([{ value: 4 }, [{ type: "rolled", value: 4 }]]);
  });
});

describe("polls", () => {
  async function polling(): Promise<[WebStage, Asked]> {
    const stage = await WebStage.make({ transports: ["poll"] });
    stage.client.join("lobby", { username: "ada", history: 10 });
    const asked = await stage.one();
    expect(asked.query).toMatchObject({ room: "lobby", history: "10", username: "ada", session: "", timeout: "0" });
    await asked.answers({ events: [message(1)], since: `${EPOCH}:1`, recovered: null, session: "s1" });
    await (await stage.one()).answers({ members: ["ada", "bob"], count: 2 });
    return [stage, await stage.one()];
  }

  test("bring what a room has, who is there, and then what comes", async () => {
    const [stage, second] = await polling();
    expect(stage.of("room_info")).toMatchObject([{ members: ["ada", "bob"], seq: 1, recovered: null }]);
    expect(stage.client.state).toMatchObject({ status: "connected", transport: "poll", session: "s1" });
    expect(second.query).toEqual({
      ...{ room: "lobby", since: `${EPOCH}:1`, username: "ada", session: "s1", timeout: "25" },
    });
    await second.answers({ events: [message(2), message(3)], since: `${EPOCH}:3`, recovered: true });
    expect(seqs(stage)).toEqual([1, 2, 3]);
    expect((await stage.one()).query.since).toBe(`${EPOCH}:3`);
  });

  test("that bring nothing are asked again", async () => {
    const [stage, second] = await polling();
    await second.answers({ events: [], since: `${EPOCH}:1`, recovered: true });
    expect((await stage.one()).query.since).toBe(`${EPOCH}:1`);
  });

  test("tell a gap of the room that has one", async () => {
    const [stage, second] = await polling();
    await second.answers({ events: [message(90)], since: `${EPOCH}:90`, recovered: false });
    expect([stage.of("gap"), seqs(stage)]).toMatchObject([[{ room: "lobby", seq: 89 }], [1, 90]]);
  });

  test("of rooms that miss nothing tell no gap, where another one does", async () => {
    const [stage, second] = await polling();
    await second.answers({ events: [message(2)], since: `${EPOCH}:2`, recovered: false });
    expect([stage.of("gap"), seqs(stage)]).toEqual([[], [1, 2]]);
  });

  test("that nobody answers in time are lost", async () => {
    const [stage] = await polling();
    await stage.pass(35_000);
    expect(stage.client.state).toMatchObject({ status: "waiting", reason: "no answer" });
  });
});

describe("a network", () => {
  const ALL: Kind[] = ["websocket", "stream", "poll"];

  async function blocked(): Promise<WebStage> {
    const stage = await WebStage.make({ transports: ALL });
    stage.client.join("lobby", { username: "ada" });
    stage.socket.ends();
    await stage.pass(1000);
    return stage;
  }

  async function fallenBack(): Promise<WebStage> {
    const stage = await blocked();
    await (await stage.one()).streams(CONNECTED, info("lobby"), message(1));
    return stage;
  }

  test("that lets no WebSocket through is gone round by a stream", async () => {
    const stage = await fallenBack();
    expect([stage.status, stage.client.state.transport, stage.sockets.length]).toEqual(["connected", "stream", 1]);
  });

  test("that holds streams back is gone round by polls", async () => {
    const stage = await blocked();
    await stage.pass(10_000);
    expect(stage.status).toBe("waiting");
    stage.take();
    await stage.pass(2000);
    expect((await stage.one()).path).toBe("/poll");
  });

  test("whose portal answers in place of the server is gone round as well", async () => {
    const stage = await blocked();
    await (await stage.one()).answers("<h1>Please sign in</h1>", 200, { "content-type": "text/html" });
    await stage.pass(2000);
    expect((await stage.one()).path).toBe("/poll");
  });

  test("that is down is no reason to give WebSocket up", async () => {
    const stage = await blocked();
    await (await stage.one()).fails();
    await stage.pass(2000);
    expect([stage.client.state.transport, stage.sockets.length]).toEqual(["websocket", 2]);
  });

  test("that lets WebSockets through again is noticed, and nothing is lost or comes twice", async () => {
    const stage = await fallenBack();
    stage.client.join("lobby", { username: "ada" }).send("hi", "m-1");
    stage.take();
    await stage.pass(5000);
    expect(stage.socket.url).toBe("ws://hub.test/ws?session=s1");
    expect(stage.client.state.transport).toBe("stream");
    stage.socket.greet();
    expect(stage.client.state).toMatchObject({ status: "resuming", transport: "websocket" });
    expect(stage.socket.one()).toMatchObject({ type: "resume", rooms: { lobby: { epoch: EPOCH, seq: 1 } } });
    stage.socket.says(info("lobby", { recovered: true, seq: 2, messages: [message(2)] }));
    expect(stage.socket.one()).toMatchObject({ text: "hi", messageId: "m-1" });
    expect(seqs(stage)).toEqual([1, 2]);
  });

  test("that still lets none through is left alone for five minutes", async () => {
    const stage = await fallenBack();
    await stage.pass(5000);
    stage.socket.ends();
    expect([stage.status, stage.client.state.transport]).toEqual(["connected", "stream"]);
    stage.surroundings.woken(true);
    expect(stage.sockets).toHaveLength(3);
  });

  test("a server that sees the new connection before we do does not end us", async () => {
    const stage = await WebStage.make({ transports: ALL });
    stage.client.join("lobby", { username: "ada" });
    stage.socket.ends();
    await stage.pass(1000);
    const stream = await stage.one();
    await stream.streams(CONNECTED, info("lobby"));
    await stage.pass(5000);
    await stream.writes({ type: "closed", code: 4409, reason: "replaced" });
    expect(stage.status).toBe("connected");
    stage.socket.greet();
    expect(stage.client.state).toMatchObject({ status: "resuming", transport: "websocket" });
  });

  test("and where that one is lost after all, we come back", async () => {
    const stage = await WebStage.make({ transports: ALL });
    stage.client.join("lobby", { username: "ada" });
    stage.socket.ends();
    await stage.pass(1000);
    const stream = await stage.one();
    await stream.streams(CONNECTED, info("lobby"));
    await stage.pass(5000);
    await stream.writes({ type: "closed", code: 4409, reason: "replaced" });
    stage.socket.ends();
    expect(stage.status).toBe("waiting");
  });

  test("where an earlier page has fallen back is spoken to over HTTP at once, until it is looked at again", async () => {
    const until = 1_700_000_000_000 + 60_000;
    const store = { getItem: () => `stream ${until}`, setItem: () => {}, removeItem: () => {} };
    const stage = await WebStage.make({ transports: ALL, store });
    stage.client.join("lobby", { username: "ada" });
    const stream = await stage.one();
    await stream.streams(CONNECTED, info("lobby"));
    expect([stage.status, stage.sockets.length]).toEqual(["connected", 0]);
    for (let quarter = 0; quarter < 4; quarter++) {
      await stage.pass(15_000);
      await stream.bytes(": \n\n");
    }
    expect(stage.sockets).toHaveLength(1);
  });

  test("without a WebSocket in it is spoken to over HTTP from the beginning", async () => {
    const stage = await WebStage.make({ transports: ["stream", "poll"] });
    stage.client.subscribe("ticker");
    expect((await stage.one()).path).toBe("/sse");
  });

  test("a closed client takes all its requests back", async () => {
    const [stage, asked] = await streaming();
    stage.client.close();
    await settled();
    expect([asked.aborted, stage.clock.pending]).toEqual([true, 0]);
  });
});
