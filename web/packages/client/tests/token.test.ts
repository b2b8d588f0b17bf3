// Tokens: asked for, shown, refreshed before they end, and new after 4401. Sessions, addresses.
import { describe, expect, test } from "vitest";
import { socketUrl } from "../src/options.ts";
import { info, Stage, turn } from "./stage.ts";

/** A provider that hands out t1, t2, and so on. */
function numbered(): () => string {
  let count = 0;
  return () => `t${++count}`;
}

async function greeted(options = {}): Promise<Stage> {
  const stage = new Stage({ token: numbered(), ...options });
  await turn();
  stage.socket.greet({ user: { id: "u1", name: "Ada", expires: 1 } });
  return stage;
}

test("a token is shown as a sub-protocol, as a browser can set no header", async () => {
  const stage = await greeted();
  expect(stage.socket.protocols).toEqual(["hubbub.v1.json", "hubbub.bearer.t1"]);
  expect(stage.client.state.user).toEqual({ id: "u1", name: "Ada", expires: 1 });
});

test("a token that does not change is a string", async () => {
  const stage = await greeted({ token: "always" });
  expect(stage.socket.protocols[1]).toBe("hubbub.bearer.always");
});

test("each connection has a token of its own", async () => {
  const stage = await greeted();
  stage.socket.ends();
  stage.clock.pass(1000);
  await turn();
  expect(stage.socket.protocols[1]).toBe("hubbub.bearer.t2");
});

test("after 4401 a new token is shown at once", async () => {
  const stage = await greeted();
  stage.clock.pass(5000);
  stage.socket.ends(4401, "expired");
  stage.clock.pass(0);
  await turn();
  expect(stage.socket.protocols[1]).toBe("hubbub.bearer.t2");
});

test("tokens that never count are shown later each time", async () => {
  const stage = await greeted();
  for (const delay of [0, 2000, 4000]) {
    stage.socket.ends(4401);
    expect((stage.client.state.retryAt as number) - stage.clock.now()).toBe(delay);
    stage.clock.pass(delay);
    await turn();
    stage.socket.greet();
  }
});

test("a token is refreshed on the open connection before it ends", async () => {
  const stage = await greeted();
  stage.socket.says({ type: "warning", code: "token_expires", message: "soon", retryAfter: 60_000 });
  await turn();
  const { id, ...command } = stage.socket.one();
  expect(command).toEqual({ type: "refresh", token: "t2" });
  stage.socket.says({ type: "ok", id, missing: [], user: { id: "u1", name: "Ada", expires: 2 } });
  expect(stage.client.state.user?.expires).toBe(2);
});

test("of a room that the new token does not allow, and of no other, it is told that it is lost", async () => {
  const stage = (await greeted()).enter("team-b", "lobby");
  const told: unknown[] = [];
  for (const name of ["team-b", "lobby"]) stage.client.join(name, { username: "ada" }).on("error", (e) => told.push(e));
  stage.socket.says({ type: "warning", code: "token_expires", message: "soon" });
  await turn();
  stage.socket.says({ type: "ok", id: stage.socket.one().id, missing: ["team-b", "never-entered"], user: {} });
  const message = "The new token does not allow this room";
  expect(told).toEqual([{ type: "error", code: "forbidden", message, room: "team-b" }]);
  expect(stage.of("error")).toEqual(told);
});

test("a room that the new token does not allow is left", async () => {
  const stage = (await greeted()).enter("team-b", "lobby");
  const room = stage.client.join("team-b", { username: "ada" });
  stage.socket.says({ type: "warning", code: "token_expires", message: "soon" });
  await turn();
  stage.socket.says({ type: "ok", id: stage.socket.one().id, missing: ["team-b"], user: {} });
  await expect(room.send("hi")).rejects.toMatchObject({ code: "not_in_room" });
  stage.socket.ends();
  stage.clock.pass(1000);
  await turn();
  stage.socket.greet();
  expect(Object.keys(stage.socket.one().rooms as object)).toEqual(["lobby"]);
});

test("a new token that does not count is told", async () => {
  const stage = await greeted();
  const told: unknown[] = [];
  stage.client.on("error", (event) => told.push(event));
  stage.socket.says({ type: "warning", code: "token_expires", message: "soon" });
  await turn();
  stage.socket.says({ type: "error", code: "invalid_token", message: "Not yours", id: stage.socket.one().id });
  expect(told).toEqual([{ type: "error", code: "invalid_token", message: "Not yours" }]);
});

test("a provider that fails is asked again later", async () => {
  let fails = true;
  const stage = new Stage({ token: async () => (fails ? Promise.reject("no network") : "t") });
  await turn();
  expect(stage.client.state).toMatchObject({ status: "waiting", reason: "no token: no network" });
  fails = false;
  stage.clock.pass(1000);
  await turn();
  expect(stage.sockets).toHaveLength(1);
});

test("a client that is closed while it waits for a token does not connect", async () => {
  const stage = new Stage({ token: numbered() });
  stage.client.close();
  await turn();
  expect(stage.sockets).toEqual([]);
});

test("a token that no browser can show ends the client, and says so", () => {
  class WebSocket {
    constructor() {
      throw new SyntaxError("no such sub-protocol");
    }
  }
  const { client } = new Stage({ WebSocket: WebSocket as never });
  expect(client.state).toMatchObject({ status: "closed", reason: "SyntaxError: no such sub-protocol" });
});

test("a session of an earlier page is taken up", () => {
  const stage = new Stage({ session: "s0" });
  expect(stage.socket.url).toBe("ws://hub.test/ws?session=s0");
  stage.client.join("lobby", { username: "ada" });
  stage.socket.greet({ session: "s0" });
  expect(stage.socket.one().type).toBe("join");
  stage.socket.says({ ...info("lobby"), id: 1 });
  expect(stage.client.state).toMatchObject({ status: "connected", session: "s0" });
});

describe("an address", () => {
  test.each([
    ["ws://h/ws", "ws://h/ws"],
    ["https://h", "wss://h/ws"],
    ["http://h:8080/app/", "ws://h:8080/app/ws"],
    ["wss://h/live?x=1#y", "wss://h/live?x=1"],
    ["", "ws://page.test/app/ws"],
    ["/live", "ws://page.test/live"],
  ])("%s is %s", (given, url) => {
    expect(socketUrl(given, "http://page.test/app/index.html").href).toBe(url);
  });
});
