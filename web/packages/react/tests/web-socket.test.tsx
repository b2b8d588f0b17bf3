// @vitest-environment happy-dom
// useWebSocket: any server that speaks JSON, with the promises of the table below and no others.
import { act, renderHook } from "@testing-library/react";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { FakeClock, FakeSocket } from "../../client/tests/stage.ts";
import { useWebSocket, type WebSocketOptions } from "../src/index.ts";
import { Page, printed, settle } from "./page.tsx";

const URL = "ws://metrics.test/metrics-stream";

/** A page with the hook; its sockets are opened by the test, as those of a server that is not Hubbub. */
function stream(given: WebSocketOptions<unknown> = {}, url: string = URL) {
  const page = new Page();
  const clock = new FakeClock();
  const sockets: OpeningSocket[] = [];
  class OpeningSocket extends FakeSocket {
    onopen: (() => void) | null = null;
    constructor(url: string, protocols: string[]) {
      super(url, protocols);
      sockets.push(this);
    }
  }
  const options = { random: () => 0, clock, WebSocket: OpeningSocket, ...given };
  const { result, rerender, unmount } = page.hook((url: string) => useWebSocket(url, options), url);
  const last = () => sockets.at(-1) as OpeningSocket;
  return {
    ...{ clock, result, rerender, unmount, sockets, last },
    opens: () => act(() => last().onopen?.()),
    receives: (...data: unknown[]) => act(() => data.map((data) => last().onmessage?.({ data }))),
    fails: () => act(() => fail(last())),
    ends: (code?: number) => act(() => last().ends(code)),
    pass: (ms: number) => act(() => clock.pass(ms)),
  };
}

function fail(socket: FakeSocket): void {
  socket.onerror?.();
  socket.ends(1006);
}

describe("the status", () => {
  test("is connecting, and then connected", () => {
    const { result, opens, last } = stream();
    expect(result.current).toMatchObject({ status: "connecting", lastMessage: undefined });
    opens();
    expect(result.current.status).toBe("connected");
    expect(last().url).toBe(URL);
  });

  test("is disconnected when the connection has ended, and connecting with the next try", () => {
    const { pass, result, opens, ends } = stream();
    opens();
    ends();
    expect(result.current.status).toBe("disconnected");
    pass(1000);
    expect(result.current.status).toBe("connecting");
  });

  test("is error when the connection has failed, or cannot be had", () => {
    const { result, fails } = stream();
    fails();
    expect(result.current.status).toBe("error");
  });

  test("is error where the URL is none, and nothing is tried again", () => {
    const lines = printed();
    const { clock, result } = stream({
      WebSocket: class {
        constructor() {
          throw new SyntaxError("no URL");
        }
      } as never,
    });
    expect(result.current.status).toBe("error");
    expect(lines.flat()).toContainEqual(new SyntaxError("no URL"));
    expect(clock.pending).toBe(0);
  });
});

describe("messages", () => {
  test("are read as JSON, and the last is there", () => {
    const { result, opens, receives } = stream();
    opens();
    receives('{"type":"metrics","data":{"activeUsers":3}}');
    expect(result.current.lastMessage).toEqual({ type: "metrics", data: { activeUsers: 3 } });
    receives("7", "null");
    expect(result.current.lastMessage).toBeNull();
  });

  test("that come before anything is drawn are each given to `onMessage`", () => {
    const onMessage = vi.fn();
    const { opens, receives } = stream({ onMessage });
    opens();
    receives("1", "2", "3");
    expect(onMessage.mock.calls).toEqual([[1], [2], [3]]);
  });

  test.each(["{", "", "undefined", new ArrayBuffer(2)])("that are not JSON are reported and skipped: %j", (data) => {
    const onInvalid = vi.fn();
    const { result, opens, receives } = stream({ onInvalid });
    opens();
    receives("1", data, "2");
    expect(result.current).toMatchObject({ status: "connected", lastMessage: 2 });
    expect(onInvalid.mock.calls).toEqual([[data, expect.any(SyntaxError)]]);
  });

  test("that are not JSON are reported on the console where nobody else is told", () => {
    const lines = printed();
    const { opens, receives } = stream();
    opens();
    receives("{");
    expect(lines).toEqual([["A message is not JSON:", "{", expect.any(SyntaxError)]]);
  });

  test("stay when the connection is lost", () => {
    const { result, opens, receives, ends } = stream();
    opens();
    receives("1");
    ends();
    expect(result.current.lastMessage).toBe(1);
  });

  test("are sent as JSON", () => {
    const { result, opens, last } = stream();
    opens();
    expect(result.current.send({ pause: true })).toBe(true);
    expect(last().sent).toEqual([{ pause: true }]);
  });

  test("are not sent where there is no connection, and that is said", () => {
    const { result, last, opens, ends } = stream();
    expect(result.current.send(1)).toBe(false);
    opens();
    ends();
    expect(result.current.send(2)).toBe(false);
    expect(last().sent).toEqual([]);
  });
});

describe("coming back", () => {
  test.each([
    [0, [1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000]],
    [1, [1300, 2600, 5200, 10_400, 20_800, 39_000, 39_000, 39_000]],
  ])("waits 1 s, doubled up to 30 s, and up to 30 %% more: with %d of it", (random, delays) => {
    const { pass, sockets, fails } = stream({ random: () => random });
    for (const [index, delay] of delays.entries()) {
      fails();
      pass(delay - 1);
      expect(sockets).toHaveLength(index + 1);
      pass(1);
      expect(sockets).toHaveLength(index + 2);
    }
  });

  test("ends after 8 tries", () => {
    const { clock, pass, result, sockets, fails } = stream();
    for (let tries = 0; tries <= 8; tries++) {
      fails();
      pass(30_000);
    }
    expect(sockets).toHaveLength(1 + 8);
    expect(result.current.status).toBe("error");
    expect(clock.pending).toBe(0);
  });

  test("ends after as many as are wanted", () => {
    const { pass, sockets, fails } = stream({ maxAttempts: 2 });
    for (let tries = 0; tries <= 2; tries++) {
      fails();
      pass(30_000);
    }
    expect(sockets).toHaveLength(1 + 2);
  });

  test("begins anew once a connection was had", () => {
    const { pass, sockets, fails, opens, ends } = stream();
    for (const delay of [1000, 2000]) {
      fails();
      pass(delay);
    }
    opens();
    ends();
    pass(1000);
    expect(sockets).toHaveLength(4);
  });

  test("does not happen after 1000", () => {
    const { pass, result, sockets, opens, ends } = stream();
    opens();
    ends(1000);
    pass(60_000);
    expect(sockets).toHaveLength(1);
    expect(result.current.status).toBe("disconnected");
  });

  test.each([1001, 1006, 1011, 1012, 4000])("happens after %d", (code) => {
    const { pass, sockets, opens, ends } = stream();
    opens();
    ends(code);
    pass(1000);
    expect(sockets).toHaveLength(2);
  });
});

describe("the component", () => {
  test("has one connection under StrictMode", async () => {
    const { sockets } = stream();
    await settle();
    expect(sockets.map(({ closed }) => closed)).toEqual([undefined]);
  });

  test("closes it with 1000 when it is gone, and hears no more of it", async () => {
    const onMessage = vi.fn();
    const { clock, unmount, opens, last } = stream({ onMessage });
    opens();
    unmount();
    await settle();
    expect(last().closed).toEqual({ code: 1000 });
    last().onmessage?.({ data: "1" });
    last().ends();
    expect(onMessage).not.toHaveBeenCalled();
    expect(clock.pending).toBe(0);
  });

  test("gives up the try that is under way when it is gone", async () => {
    const { clock, unmount, last } = stream();
    unmount();
    await settle();
    expect(last().closed).toEqual({ code: 1000 });
    last().onopen?.();
    expect(clock.pending).toBe(0);
  });

  test("tries no more when it is gone", async () => {
    const { pass, unmount, sockets, fails } = stream();
    fails();
    unmount();
    await settle();
    pass(60_000);
    expect(sockets).toHaveLength(1);
  });

  test("has another connection for another URL", async () => {
    const { result, rerender, sockets, opens, receives } = stream();
    opens();
    receives("1");
    rerender("ws://other.test/");
    await settle();
    expect(sockets.map(({ url, closed }) => [url, closed?.code])).toEqual([
      [URL, 1000],
      ["ws://other.test/", undefined],
    ]);
    expect(result.current).toMatchObject({ status: "connecting", lastMessage: undefined });
  });

  test("has the browser's own where no other is given", () => {
    const sockets: FakeSocket[] = [];
    class BrowserSocket extends FakeSocket {
      constructor(url: string, protocols: string[]) {
        super(url, protocols);
        sockets.push(this);
      }
    }
    vi.stubGlobal("WebSocket", BrowserSocket);
    onTestFinished(() => void vi.unstubAllGlobals());
    renderHook(() => useWebSocket(URL));
    expect(sockets.map(({ url }) => url)).toEqual([URL]);
  });

  test("asks for the sub-protocols that it is given", () => {
    expect(stream({ protocols: "v1" }).last().protocols).toEqual(["v1"]);
    expect(stream({ protocols: ["v2", "v1"] }).last().protocols).toEqual(["v2", "v1"]);
    expect(stream().last().protocols).toEqual([]);
  });
});
