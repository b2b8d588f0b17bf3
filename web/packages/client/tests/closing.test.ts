// Whether and when a client comes back, by close code.
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { type Advice, adviceOn, backoffMs, delayMs } from "../src/closing.ts";
import { Stage } from "./stage.ts";

const ADVICE: Record<string, Advice> = {
  stop: "stop",
  reconnect: "backoff",
  "reconnect with backoff": "backoff",
  "reconnect with long backoff": "long",
  "back off": "long",
  "reconnect after that": "after",
  "do not repeat that": "forget",
  "get a new token, then reconnect": "token",
};
const codes = JSON.parse(readFileSync(new URL("../../../../protocol/codes.json", import.meta.url), "utf8"));

test.each<{ code: number; client: string }>(codes.close)(
  "after $code a client does what protocol/codes.json says: $client",
  ({ code, client }) => {
    expect(adviceOn(code)).toBe(ADVICE[client]);
  },
);

test("the delay doubles from 1 s to 30 s", () => {
  expect([0, 1, 2, 3, 4, 5, 6, 1000].map((attempt) => backoffMs(attempt, 0) / 1000)).toEqual([
    1, 2, 4, 8, 16, 30, 30, 30,
  ]);
});

test("chance adds up to 30 %", () => {
  expect(backoffMs(0, 1)).toBe(1300);
  expect(backoffMs(9, 0.5)).toBe(34_500);
});

test("an overloaded server is left alone for the longest time at once", () => {
  expect(delayMs(1013, "", 0, 0)).toBe(30_000);
});

test("a server that restarts says when to come back", () => {
  expect(delayMs(1012, "after=500", 0, 0)).toBe(500);
  expect(delayMs(1012, "after=500", 0, 1)).toBe(650);
});

test("a restart that goes on is not asked for every half second", () => {
  expect(delayMs(1012, "after=500", 3, 0)).toBe(8000);
});

test("words that are no time are no time", () => {
  expect(delayMs(1012, "after=soon", 0, 0)).toBe(1000);
});

test.each([1000, 1001, 4400, 4403, 4409, 4401])(
  "after %i a client without a token provider does not come back",
  (code) => {
    const stage = new Stage();
    stage.socket.greet();
    stage.socket.ends(code, "why");
    expect(stage.client.state).toMatchObject({ status: "closed", code, reason: "why" });
    expect(stage.clock.pending).toBe(0);
  },
);

test.each([1002, 1006, 1008, 1009, 1011, 1012, 1013, 4408, 4999])("after %i it comes back", (code) => {
  const stage = new Stage();
  stage.socket.greet();
  stage.socket.ends(code);
  expect(stage.status).toBe("waiting");
  expect(stage.retry().sockets).toHaveLength(2);
});

describe("a client that cannot connect", () => {
  function delays(stage: Stage, tries: number): number[] {
    return Array.from({ length: tries }, () => {
      const before = stage.clock.now();
      stage.socket.ends();
      const at = stage.client.state.retryAt as number;
      stage.clock.pass(at - before);
      return at - before;
    });
  }

  test("tries again for ever, later each time", () => {
    expect(delays(new Stage(), 8)).toEqual([1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000]);
  });

  test("gives up where it is told to", () => {
    const stage = new Stage({ maxAttempts: 2 });
    delays(stage, 2);
    stage.socket.ends();
    expect(stage.status).toBe("closed");
  });

  test("counts from the beginning after a connection that held", () => {
    const stage = new Stage();
    delays(stage, 4);
    stage.socket.greet();
    stage.clock.pass(5000);
    expect(delays(stage, 1)).toEqual([1000]);
  });

  test("goes on counting after one that did not hold", () => {
    const stage = new Stage();
    delays(stage, 3);
    stage.socket.greet();
    stage.clock.pass(4999);
    expect(delays(stage, 1)).toEqual([8000]);
  });

  test("does not wait for a server that never answers", () => {
    const stage = new Stage();
    stage.clock.pass(10_000);
    expect(stage.client.state).toMatchObject({ status: "waiting", attempt: 1, reason: "no answer" });
  });

  test("tries at once when it is told to", () => {
    const stage = new Stage();
    stage.socket.ends();
    stage.client.open();
    expect(stage.sockets).toHaveLength(2);
    stage.clock.pass(1000);
    expect(stage.sockets).toHaveLength(2);
  });
});

test("a server that said it will close is believed though its close frame is lost", () => {
  const stage = new Stage();
  stage.socket.greet();
  stage.socket.says({ type: "reconnect", after: 1500 });
  stage.clock.pass(200);
  stage.socket.ends(1006);
  expect((stage.client.state.retryAt as number) - stage.clock.now()).toBe(1300);
});

test("who was replaced begins a new session when it is opened again", () => {
  const stage = new Stage();
  stage.socket.greet();
  stage.socket.ends(4409);
  stage.client.open();
  expect(stage.socket.url).toBe("ws://hub.test/ws?session=");
});

test("a closed client closes its socket with the code it is given, and sets no timer", () => {
  const stage = new Stage();
  stage.socket.greet();
  stage.client.close(1001);
  expect(stage.socket.closed).toEqual({ code: 1001 });
  expect([stage.status, stage.clock.pending, stage.surroundings.watched]).toEqual(["closed", 0, false]);
});

test("what an old socket says counts no more, even what is on its way", () => {
  const stage = new Stage();
  const old = stage.socket;
  old.greet();
  const { onmessage, onclose } = old;
  stage.comeBack();
  onmessage?.({ data: '{"type":"message","seq":1}' });
  onclose?.({ code: 1000, reason: "" });
  expect([stage.status, stage.of("message")]).toEqual(["connected", []]);
});
