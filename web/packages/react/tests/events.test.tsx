// @vitest-environment happy-dom
// useEvent and useLatest: events as they come, without a room of one's own.
import { describe, expect, test, vi } from "vitest";
import { message } from "../../client/tests/stage.ts";
import { useEvent, useLatest, useRoom } from "../src/index.ts";
import { Page, settle } from "./page.tsx";

describe("useEvent", () => {
  test("calls the handler once with each event of its type", () => {
    const page = new Page();
    const handler = vi.fn();
    page.hook(() => useEvent("message", handler));
    page.enter();
    page.says(message(1), { type: "typing", room: "lobby", username: "bob" }, message(2));
    expect(handler.mock.calls.map(([{ text }]) => text)).toEqual(["1", "2"]);
  });

  test("calls the handler of the last render, and does not listen anew for it", () => {
    const page = new Page();
    const [first, second] = [vi.fn(), vi.fn()];
    const { rerender } = page.hook((handler: () => void) => useEvent("message", handler), first);
    rerender(second);
    page.says(message(1));
    expect([first, second].map(({ mock }) => mock.calls.length)).toEqual([0, 1]);
  });

  test("of a room calls it with those of that room alone", () => {
    const page = new Page();
    const handler = vi.fn();
    page.hook(() => useEvent("typing", handler, "kitchen"));
    page.says({ type: "typing", room: "lobby", username: "bob" }, { type: "typing", room: "kitchen", username: "eve" });
    expect(handler.mock.calls).toMatchObject([[{ room: "kitchen", username: "eve" }]]);
  });

  test("of all types calls it with all", () => {
    const page = new Page();
    const types: string[] = [];
    page.hook(() => useEvent("*", ({ type }) => types.push(type)));
    page.enter();
    page.says(message(1), { type: "tick" });
    expect(types).toEqual(["connected", "message", "tick"]);
  });

  test("calls it no more when the component is gone", () => {
    const page = new Page();
    const handler = vi.fn();
    const { unmount } = page.hook(() => useEvent("tick" as "*", handler));
    unmount();
    page.says({ type: "tick" });
    expect(handler).not.toHaveBeenCalled();
  });
});

describe("useLatest", () => {
  test("is the latest event of its type", () => {
    const page = new Page();
    const { result } = page.hook(() => useLatest("message"));
    expect(result.current).toBeUndefined();
    page.says(message(1), message(2), { type: "tick" });
    expect(result.current).toMatchObject({ text: "2" });
  });

  test("of a room is that of the room", () => {
    const page = new Page();
    const { result } = page.hook(() => useLatest("message", "kitchen"));
    page.says(message(1, { room: "kitchen" }), message(7));
    expect(result.current).toMatchObject({ room: "kitchen", seq: 1 });
  });

  test("is there for a component that comes later", () => {
    const page = new Page();
    const { result, rerender } = page.hook((type: "message" | "typing") => useLatest(type), "typing");
    page.says(message(1));
    rerender("message");
    expect(result.current).toMatchObject({ text: "1" });
  });

  test("of a room that brings its latest events is there with the room", () => {
    const page = new Page();
    const { result } = page.hook(() => {
      useRoom("ticker", { subscribe: true });
      return useLatest("message", "ticker");
    });
    page.enter({ seq: 9, head: 9, messages: [message(9, { room: "ticker" })] });
    expect(result.current).toMatchObject({ seq: 9 });
  });

  test("is none of a room that was left", async () => {
    const page = new Page();
    const { result, rerender } = page.hook((second: string) => {
      useRoom("lobby");
      useRoom(second);
      return [useLatest("message"), useLatest("message", "kitchen")].map((event) => event?.text);
    }, "kitchen");
    page.enter();
    page.says(message(1), message(2, { room: "kitchen" }));
    expect(result.current).toEqual(["2", "2"]);
    rerender("lobby");
    await settle();
    page.frame();
    expect(result.current).toEqual(["1", undefined]);
  });

  test("is forgotten with the provider, which leaves no timer behind", async () => {
    const page = new Page();
    const { unmount } = page.hook(() => useLatest("message"));
    page.says(message(1));
    page.socket.says(message(2));
    unmount();
    await settle();
    expect(page.clock.pending).toBe(0);
  });
});
