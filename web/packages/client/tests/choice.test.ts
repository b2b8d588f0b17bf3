// Which transport is tried next, given what got through.
import { expect, test } from "vitest";
import { Choice, type Kind } from "../src/choice.ts";

const KINDS: Kind[] = ["websocket", "stream", "poll"];
const URL_ = new URL("ws://hub.test/ws");
const MINUTES = 60_000;

function choice(store?: Storage, now = 0): Choice {
  return new Choice(KINDS, store, URL_, now);
}

function memory(): Storage {
  const kept = new Map<string, string>();
  return {
    getItem: (key: string) => kept.get(key) ?? null,
    setItem: (key: string, value: string) => kept.set(key, value),
    removeItem: (key: string) => kept.delete(key),
  } as never;
}

test("WebSocket comes first, and the next one after it has failed", () => {
  const chosen = choice();
  expect(chosen.next(0)).toBe("websocket");
  chosen.failed("websocket", false, 0);
  expect(chosen.next(0)).toBe("stream");
});

test("a stream that is held back is given up for polls, and these for WebSocket", () => {
  const chosen = choice();
  chosen.failed("websocket", false, 0);
  chosen.failed("stream", true, 0);
  expect(chosen.next(0)).toBe("poll");
  chosen.failed("poll", true, 0);
  expect(chosen.next(0)).toBe("websocket");
});

test("a server that nobody reaches over HTTP either is asked by WebSocket again", () => {
  const chosen = choice();
  chosen.failed("websocket", false, 0);
  chosen.failed("stream", false, 0);
  expect(chosen.next(0)).toBe("websocket");
});

test("where WebSockets got through, three have to fail in a row", () => {
  const chosen = choice();
  chosen.through("websocket", 0);
  const tried = [1, 2, 3].map(() => {
    chosen.failed("websocket", false, 0);
    return chosen.next(0);
  });
  expect(tried).toEqual(["websocket", "websocket", "stream"]);
});

test("what got through is used for five minutes, also when the server is away", () => {
  const chosen = choice();
  chosen.failed("websocket", false, 0);
  chosen.through("stream", 0);
  chosen.failed("stream", false, 1000);
  expect(chosen.next(5 * MINUTES - 1)).toBe("stream");
  expect(chosen.next(5 * MINUTES)).toBe("websocket");
});

test("another page of the same network begins with it", () => {
  const store = memory();
  const first = choice(store);
  first.failed("websocket", false, 0);
  first.through("stream", 0);
  expect(choice(store, MINUTES).next(MINUTES)).toBe("stream");
  expect(choice(store, 5 * MINUTES).next(5 * MINUTES)).toBe("websocket");
});

test("WebSocket is looked for soon, and then every five minutes", () => {
  const chosen = choice();
  chosen.failed("websocket", false, 0);
  chosen.through("stream", 0);
  expect(chosen.lookAt).toBe(5000);
  chosen.looked("stream", 5000);
  expect(chosen.lookAt).toBe(5000 + 5 * MINUTES);
});

test("once WebSocket gets through, nothing is remembered", () => {
  const store = memory();
  const chosen = choice(store);
  chosen.failed("websocket", false, 0);
  chosen.through("stream", 0);
  chosen.through("websocket", 0);
  expect(choice(store).next(0)).toBe("websocket");
});

test("on another network everything is tried anew", () => {
  const chosen = choice();
  chosen.failed("websocket", false, 0);
  chosen.through("stream", 0);
  chosen.forget();
  expect(chosen.next(0)).toBe("websocket");
});

test("a storage that is switched off, or holds nonsense, is done without", () => {
  const off = () => {
    throw new Error("switched off");
  };
  const chosen = choice({ getItem: off, setItem: off, removeItem: off } as never);
  chosen.failed("websocket", false, 0);
  chosen.through("stream", 0);
  expect(chosen.next(0)).toBe("stream");
  expect(choice({ getItem: () => "carrier-pigeon never" } as never).next(0)).toBe("websocket");
});
