// @vitest-environment happy-dom
// useRoom: the log, its members, who types, what is unread; in the room for as long as anybody uses it.
import { act } from "@testing-library/react";
import { useEffect } from "react";
import { describe, expect, test } from "vitest";
import { HubbubError } from "../../client/src/index.ts";
import { EPOCH, info, message } from "../../client/tests/stage.ts";
import { type RoomOptions, type RoomView, useRoom } from "../src/index.ts";
import { Page, settle } from "./page.tsx";

const ADA = { username: "ada" };

/** A page that is in the lobby. */
function lobby(fields: object = {}, options: RoomOptions = ADA) {
  const page = new Page();
  const { result, rerender, unmount } = page.hook((name: string) => useRoom(name, options), "lobby");
  page.enter(fields);
  return { page, result, rerender, unmount };
}

const seqs = ({ events }: RoomView) => events.map(({ seq }) => seq);
const joined = (username: string, memberCount: number) => ({
  ...{ type: "user_joined", room: "lobby", username, memberCount, timestamp: 1 },
});

/** How it stands, and how many events there are; `loading` asks for older ones as soon as there are some. */
function Lobby({ loading = false }) {
  const { status, events, hasOlder, loadOlder } = useRoom("lobby", ADA);
  useEffect(() => {
    if (loading && hasOlder) loadOlder();
  }, [loading, hasOlder, loadOlder]);
  return `${status} ${events.length} `;
}

describe("being in it", () => {
  test("it is entering until it is entered", () => {
    const page = new Page();
    const { result } = page.hook(() => useRoom("lobby", ADA));
    expect(result.current).toMatchObject({ name: "lobby", status: "entering", events: [], members: [], unread: 0 });
    page.enter();
    expect(result.current.status).toBe("entered");
  });

  test("StrictMode, which mounts twice, enters once", async () => {
    const page = new Page();
    page.hook(() => useRoom("lobby", ADA));
    await settle();
    act(() => page.socket.greet());
    expect(page.socket.one()).toMatchObject({ type: "join", room: "lobby", username: "ada", history: 50 });
  });

  test("a component that comes later is in the room at once", () => {
    const page = new Page();
    const { container, rerender } = page.show(<Lobby key={1} />);
    page.enter();
    rerender([<Lobby key={1} />, <Lobby key={2} />]);
    expect(container.textContent).toBe("entered 0 entered 0 ");
    expect(page.socket.take()).toEqual([]);
  });

  test("two components are in it once, and it is left with the last of them", async () => {
    const page = new Page();
    const shown = (...keys: number[]) => keys.map((key) => <Lobby key={key} />);
    const { container, rerender } = page.show(shown(1, 2));
    act(() => page.socket.greet());
    const { id } = page.socket.one();
    page.says({ ...info("lobby"), id });
    expect(container.textContent).toBe("entered 0 entered 0 ");
    rerender(shown(2));
    await settle();
    expect(page.socket.take()).toEqual([]);
    rerender(shown());
    await settle();
    expect(page.socket.one()).toEqual({ type: "leave", room: "lobby" });
  });

  test("whoever leaves and comes back begins anew", async () => {
    const page = new Page();
    const { container, rerender } = page.show(<Lobby />);
    page.enter();
    page.says(message(1));
    expect(container.textContent).toBe("entered 1 ");
    rerender(null);
    await settle();
    rerender(<Lobby />);
    expect(container.textContent).toBe("entering 0 ");
    expect(page.socket.take().at(-1)).toMatchObject({ type: "join", room: "lobby", history: 50 });
  });

  test("another name is another room", async () => {
    const { page, result, rerender } = lobby();
    page.says(message(1));
    rerender("kitchen");
    await settle();
    expect(result.current).toMatchObject({ name: "kitchen", status: "entering", events: [] });
    expect(page.socket.take().map(({ type, room }) => [type, room])).toEqual([
      ["join", "kitchen"],
      ["leave", "lobby"],
    ]);
  });

  test("another username is in the room anew, and keeps what is here", async () => {
    const page = new Page();
    const { result, rerender } = page.hook((username: string) => useRoom("lobby", { username }), "ada");
    page.enter();
    page.says(message(1));
    rerender("grace");
    await settle();
    expect(page.socket.one()).toMatchObject({ type: "join", username: "grace", since: { epoch: EPOCH, seq: 1 } });
    page.says(message(2));
    expect(seqs(result.current)).toEqual([1, 2]);
  });

  test("a listener is no member", () => {
    const page = new Page();
    const { result, unmount } = page.hook(() => useRoom("lobby", { subscribe: true }));
    act(() => page.socket.greet());
    expect(page.socket.take()).toMatchObject([{ type: "subscribe", room: "lobby" }]);
    expect(result.current.status).toBe("entering");
    unmount();
  });

  test("a room that refuses says why", () => {
    const page = new Page();
    const { result } = page.hook(() => useRoom("vault", ADA));
    act(() => page.socket.greet());
    page.says({ type: "error", code: "forbidden", message: "Not allowed", id: page.socket.one().id });
    expect(result.current).toMatchObject({ status: "refused", error: { code: "forbidden", message: "Not allowed" } });
  });

  test("a room that a new token does not allow any more says so", async () => {
    const page = new Page({ token: () => "t" });
    const { result } = page.hook(() => useRoom("lobby", ADA));
    await settle();
    page.enter();
    page.says({ type: "warning", code: "token_expires", message: "soon" });
    await settle();
    page.says({ type: "ok", id: page.socket.one().id, missing: ["lobby"] });
    page.frame();
    expect(result.current).toMatchObject({ status: "refused", error: { code: "forbidden" } });
  });

  test("when it is gone, no timer and no handler is left", async () => {
    const { page, unmount } = lobby();
    page.says({ type: "typing", room: "lobby", username: "bob" });
    unmount();
    await settle();
    expect(page.clock.pending).toBe(0);
  });
});

describe("the log", () => {
  test("what came with the room and what comes later is there in order, each with its position", () => {
    const { page, result } = lobby({ seq: 2, head: 2, messages: [message(1), message(2)] });
    page.says(message(3));
    expect(seqs(result.current)).toEqual([1, 2, 3]);
    expect(result.current.events.map(({ epoch }) => epoch)).toEqual([EPOCH, EPOCH, EPOCH]);
    expect(result.current.events[2]).toMatchObject({ type: "message", username: "bob", text: "3" });
  });

  test("what was missed is there once, after a loss", () => {
    const { page, result } = lobby();
    page.says(message(1));
    page.ends();
    page.pass(1000);
    act(() => page.socket.greet());
    page.says(info("lobby", { recovered: true, seq: 2, messages: [message(1), message(2)] }), message(3));
    expect(seqs(result.current)).toEqual([1, 2, 3]);
    expect(result.current.status).toBe("entered");
  });

  test("where something is missing, a gap is between", () => {
    const { page, result } = lobby();
    page.says(message(1), { type: "gap", room: "lobby", epoch: "e2", seq: 7 }, message(8));
    const places = result.current.events.map(({ type, epoch, seq }) => [type, epoch, seq]);
    expect(places).toEqual([
      ["message", EPOCH, 1],
      ["gap", "e2", 7],
      ["message", "e2", 8],
    ]);
  });

  test("what passes is not in it", () => {
    const { page, result } = lobby();
    page.says(joined("bob", 2), { type: "typing", room: "lobby", username: "bob" });
    page.says({ type: "seen", room: "lobby", username: "bob", seq: 0 });
    expect(result.current.events).toEqual([]);
  });

  test("an application's own events are in it", () => {
    const { page, result } = lobby();
    page.says({ type: "price", room: "lobby", symbol: "X", cents: 5, seq: 1 });
    expect(result.current.events).toMatchObject([{ type: "price", cents: 5, seq: 1, epoch: EPOCH }]);
  });

  test("however much comes within a frame, it is drawn twice", () => {
    const page = new Page();
    let drawn = 0;
    const { result } = page.hook(() => {
      useEffect(() => void drawn++);
      return useRoom("lobby", ADA);
    });
    page.enter();
    page.frame();
    drawn = 0;
    for (let seq = 1; seq <= 100; seq++) act(() => page.socket.says(message(seq)));
    page.frame();
    expect(result.current.events).toHaveLength(100);
    expect(drawn).toBe(2);
  });

  test("it is the same object until something changes", () => {
    const { page, result, rerender } = lobby();
    page.says(message(1));
    const { events, members } = result.current;
    rerender("lobby");
    page.says(joined("bob", 2));
    expect(result.current.events).toBe(events);
    expect(result.current.members).not.toBe(members);
  });

  test("of 20,000 events the oldest goes first", () => {
    const messages = Array.from({ length: 20_000 }, (_, index) => message(index + 1));
    const { page, result } = lobby({ seq: 20_000, head: 20_000, messages });
    expect(result.current.hasOlder).toBe(false);
    page.says(message(20_001));
    expect(result.current.events).toHaveLength(20_000);
    expect(result.current).toMatchObject({ hasOlder: false, events: { 0: { seq: 2 } } });
  });
});

describe("older events", () => {
  const last = { seq: 5, head: 5, messages: [message(4), message(5)] };

  test("are loaded from before the first one here", async () => {
    const { page, result } = lobby(last);
    expect(result.current.hasOlder).toBe(true);
    act(() => void result.current.loadOlder(2));
    page.frame();
    expect(result.current.loadingOlder).toBe(true);
    const { id, ...command } = page.socket.one();
    expect(command).toEqual({ type: "history", room: "lobby", before: 4, limit: 2 });
    page.says({ type: "ok", id, epoch: EPOCH, messages: [message(2), message(3)], more: true }, message(6));
    await settle();
    page.frame();
    expect(seqs(result.current)).toEqual([2, 3, 4, 5, 6]);
    expect(result.current).toMatchObject({ hasOlder: true, loadingOlder: false });
  });

  test("are asked for once at a time", async () => {
    const { page, result } = lobby(last);
    const answers = [result.current.loadOlder(), result.current.loadOlder()];
    const { id } = page.socket.one();
    page.says({ type: "ok", id, epoch: EPOCH, messages: [message(1), message(2), message(3)], more: false });
    await settle();
    expect(await Promise.all(answers)).toEqual([false, false]);
    page.frame();
    expect(result.current.hasOlder).toBe(false);
  });

  test("are not asked for where there are none", async () => {
    const { page, result } = lobby({ seq: 1, head: 1, messages: [message(1)] });
    expect(await result.current.loadOlder()).toBe(false);
    expect(page.socket.take()).toEqual([]);
  });

  test("are asked for once there are any, even if somebody wanted them before", async () => {
    const page = new Page();
    const { result } = page.hook(() => useRoom("lobby", ADA));
    expect(await result.current.loadOlder()).toBe(false);
    page.enter(last);
    result.current.loadOlder().catch(() => {});
    expect(page.socket.one()).toMatchObject({ type: "history", before: 4 });
  });

  test("of another epoch do not belong here", async () => {
    const { page, result } = lobby(last);
    act(() => void result.current.loadOlder());
    const { id } = page.socket.one();
    page.says({ type: "ok", id, epoch: "e2", messages: [message(1)], more: true });
    await settle();
    page.frame();
    expect(seqs(result.current)).toEqual([4, 5]);
    expect(result.current.hasOlder).toBe(false);
  });

  test("that come when the room was left do not belong to who is back in it, and asks anew", async () => {
    const page = new Page();
    const { container, rerender } = page.show(<Lobby loading />);
    page.enter({ seq: 5, head: 5, messages: [message(5)] });
    const first = page.socket.one();
    rerender(null);
    await settle();
    rerender(<Lobby loading />);
    const join = page.socket.take().at(-1) as { id: number };
    page.says({ ...info("lobby", { seq: 5, head: 5, messages: [message(5)] }), id: join.id });
    const second = page.socket.one();
    const answer = { type: "ok", epoch: EPOCH, messages: [message(4)], more: false };
    page.says({ ...answer, id: first.id });
    await settle();
    page.frame();
    expect(container.textContent).toBe("entered 1 ");
    page.says({ ...answer, id: second.id });
    await settle();
    page.frame();
    expect(container.textContent).toBe("entered 2 ");
  });

  test("that come when one has another name are let go, and asked for anew", async () => {
    const page = new Page();
    const { result, rerender } = page.hook((username: string) => useRoom("lobby", { username }), "ada");
    page.enter(last);
    act(() => void result.current.loadOlder());
    const { id } = page.socket.one();
    rerender("grace");
    await settle();
    page.frame();
    expect(result.current).toMatchObject({ hasOlder: true, loadingOlder: false });
    page.socket.take();
    act(() => void result.current.loadOlder());
    const again = page.socket.one();
    expect(again).toMatchObject({ type: "history", before: 4 });
    const answer = { type: "ok", epoch: EPOCH, messages: [message(3)], more: true };
    for (const asked of [id, again.id]) page.says({ ...answer, id: asked });
    await settle();
    page.frame();
    expect(seqs(result.current)).toEqual([3, 4, 5]);
    expect(result.current).toMatchObject({ hasOlder: true, loadingOlder: false });
  });

  test("are loaded until there are 20,000 events, and not again when the oldest went", async () => {
    const messages = Array.from({ length: 19_999 }, (_, index) => message(index + 101));
    const { page, result } = lobby({ seq: 20_099, head: 20_099, messages });
    expect(result.current.hasOlder).toBe(true);
    act(() => void result.current.loadOlder(2));
    const answer = { type: "ok", epoch: EPOCH, messages: [message(99), message(100)], more: true };
    page.says({ ...answer, id: page.socket.one().id });
    await settle();
    page.frame();
    expect([result.current.events.length, result.current.events[0]?.seq]).toEqual([20_000, 100]);
    page.says(message(20_100));
    expect([result.current.hasOlder, await result.current.loadOlder()]).toEqual([false, false]);
    expect(page.socket.take()).toEqual([]);
  });

  test("that come behind a first live one are asked for again, from before that", async () => {
    const { page, result } = lobby({ seq: 3, head: 3 }, { ...ADA, history: 0 });
    act(() => void result.current.loadOlder());
    const { id, before } = page.socket.one();
    expect(before).toBeUndefined();
    page.says(message(4), { type: "ok", id, epoch: EPOCH, messages: [message(3), message(4)], more: true });
    await settle();
    page.frame();
    expect(seqs(result.current)).toEqual([4]);
    act(() => void result.current.loadOlder());
    expect(page.socket.one()).toMatchObject({ type: "history", before: 4 });
  });

  test("that cannot be had are told, and may be asked for again", async () => {
    const { page, result } = lobby(last);
    const loading = result.current.loadOlder();
    page.says({ type: "error", code: "unavailable", message: "later", id: page.socket.one().id });
    await expect(loading).rejects.toMatchObject({ code: "unavailable" });
    await settle();
    page.frame();
    expect(result.current).toMatchObject({ hasOlder: true, loadingOlder: false });
    result.current.loadOlder().catch(() => {});
    expect(page.socket.one()).toMatchObject({ type: "history", before: 4 });
  });
});

describe("members", () => {
  test("come and go", () => {
    const { page, result } = lobby({ members: ["ada"], count: 1 });
    page.says(joined("bob", 2));
    expect(result.current).toMatchObject({ members: ["ada", "bob"], memberCount: 2 });
    page.says({ ...joined("bob", 1), type: "user_left" });
    expect(result.current).toMatchObject({ members: ["ada"], memberCount: 1 });
  });

  test("of the same name are two", () => {
    const { page, result } = lobby({ members: ["ada", "bob"], count: 2 });
    page.says(joined("bob", 3), { ...joined("bob", 2), type: "user_left" });
    expect(result.current.members).toEqual(["ada", "bob"]);
  });

  test("of large rooms are only counted", () => {
    const { page, result } = lobby();
    page.says({ type: "member_count", room: "lobby", memberCount: 1234, timestamp: 1 });
    expect(result.current.memberCount).toBe(1234);
  });

  test("after a loss are those of the server", () => {
    const { page, result } = lobby({ members: ["ada", "bob"], count: 2 });
    page.ends();
    page.pass(1000);
    act(() => page.socket.greet());
    page.says(info("lobby", { recovered: true, members: ["ada"], count: 1 }));
    expect(result.current.members).toEqual(["ada"]);
  });
});

describe("typing", () => {
  const types = { type: "typing", room: "lobby", username: "bob" };

  test("is shown for 4 s after the last that was heard of it", () => {
    const { page, result } = lobby();
    page.says(types);
    page.pass(3000);
    act(() => page.socket.says(types));
    page.pass(3999);
    expect(result.current.typing).toEqual(["bob"]);
    page.pass(1);
    expect(result.current.typing).toEqual([]);
  });

  test("that is heard again changes nothing", () => {
    const { page, result } = lobby();
    page.says(types);
    const { typing } = result.current;
    page.says(types);
    expect(result.current.typing).toBe(typing);
  });

  test.each([
    ["a message", message(1)],
    ["who leaves", { ...joined("bob", 1), type: "user_left" }],
  ])("ends with %s", (_, event) => {
    const { page, result } = lobby();
    page.says(types, event);
    expect(result.current.typing).toEqual([]);
  });

  test("of oneself is told to the others", () => {
    const { page, result } = lobby();
    result.current.startTyping();
    expect(page.socket.one()).toMatchObject({ type: "typing", room: "lobby" });
  });
});

describe("unread", () => {
  test("is what came while one was here, until something is acknowledged", () => {
    const { page, result } = lobby({ seq: 5, head: 5, messages: [message(5)] });
    expect(result.current.unread).toBe(0);
    page.says(message(6), message(7));
    expect(result.current.unread).toBe(2);
  });

  test("is none as soon as all is acknowledged", () => {
    const { page, result } = lobby();
    page.says(message(1), message(2));
    act(() => result.current.ack());
    page.frame();
    expect(result.current.unread).toBe(0);
    page.says(message(3));
    expect(result.current.unread).toBe(1);
  });

  test("is counted from what was acknowledged, also long ago", () => {
    const { result } = lobby({ seq: 9, head: 9, acked: 4, unread: 5, messages: [message(8), message(9)] });
    expect(result.current.unread).toBe(5);
  });

  test("a part may be acknowledged", () => {
    const { page, result } = lobby();
    page.says(message(1), message(2), message(3));
    act(() => result.current.ack(1));
    page.frame();
    expect(result.current.unread).toBe(2);
  });

  test("is what comes after a gap, where the numbers mean something else", () => {
    const { page, result } = lobby({ seq: 90, head: 90 });
    page.says({ type: "gap", room: "lobby", epoch: "e2", seq: 3 }, message(4));
    expect(result.current.unread).toBe(1);
  });
});

describe("messages of one's own", () => {
  test("are on their way until they are in the log", async () => {
    const { page, result } = lobby();
    act(() => void result.current.send("hi"));
    const { messageId, id } = page.socket.one();
    page.frame();
    expect(result.current.outgoing).toEqual([{ messageId, text: "hi", state: "sending" }]);
    page.says({ type: "ok", id, seq: 1 });
    await settle();
    page.frame();
    expect(result.current.outgoing).toMatchObject([{ state: "sent" }]);
    page.says(message(1, { messageId }));
    expect(result.current.outgoing).toEqual([]);
    expect(seqs(result.current)).toEqual([1]);
  });

  test("wait while there is no connection, and are sent once when there is", async () => {
    const { page, result } = lobby();
    page.ends();
    const sent = result.current.send("hi");
    page.pass(1000);
    expect(result.current.outgoing).toMatchObject([{ text: "hi", state: "sending" }]);
    act(() => page.socket.greet());
    page.socket.one();
    page.says(info("lobby", { recovered: true }));
    const { messageId, id } = page.socket.one();
    page.says({ type: "ok", id, seq: 1 }, message(1, { messageId }));
    expect(await sent).toEqual({ messageId, seq: 1 });
    await settle();
    page.frame();
    expect(result.current.outgoing).toEqual([]);
  });

  test("that are refused have failed, and are sent again under the same id", async () => {
    const { page, result } = lobby();
    result.current.send("hi").catch(() => {});
    const { messageId, id } = page.socket.one();
    page.says({ type: "error", code: "invalid_message", message: "no", id });
    await settle();
    page.frame();
    const failed = { messageId, text: "hi", state: "failed", error: { code: "invalid_message" } };
    expect(result.current.outgoing).toMatchObject([failed]);
    act(() => void result.current.retry(messageId as string));
    page.frame();
    expect(page.socket.one()).toMatchObject({ type: "message", text: "hi", messageId });
    expect(result.current.outgoing).toEqual([{ messageId, text: "hi", state: "sending" }]);
  });

  test("that have failed can be given up, others cannot", async () => {
    const { page, result } = lobby();
    result.current.send("hi");
    const { messageId, id } = page.socket.one();
    act(() => result.current.discard(messageId as string));
    page.frame();
    expect(result.current.outgoing).toHaveLength(1);
    page.says({ type: "error", code: "invalid_message", message: "no", id });
    await settle();
    act(() => result.current.discard(messageId as string));
    page.frame();
    expect(result.current.outgoing).toEqual([]);
  });

  test("that are in the log have not failed, whatever becomes of the answer", async () => {
    const { page, result } = lobby();
    const sent = result.current.send("hi");
    page.says(message(1, { messageId: page.socket.one().messageId }));
    page.ends(1000);
    await expect(sent).rejects.toMatchObject({ code: "gone" });
    page.frame();
    expect(result.current.outgoing).toEqual([]);
  });

  test("that are behind a gap are no longer on their way", async () => {
    const { page, result } = lobby();
    result.current.send("hi");
    page.ends();
    page.pass(1000);
    act(() => page.socket.greet());
    page.socket.one();
    page.says(info("lobby", { recovered: false, seq: 9, head: 9 }));
    page.says({ type: "ok", id: page.socket.one().id, seq: 5 });
    await settle();
    page.frame();
    expect(result.current.outgoing).toEqual([]);
  });

  test("are in the order in which they were written", () => {
    const { page, result } = lobby();
    for (const text of ["a", "b", "c"]) result.current.send(text);
    page.frame();
    expect(result.current.outgoing.map(({ text }) => text)).toEqual(["a", "b", "c"]);
  });

  test("of an earlier page are sent again under their ids, but for those that had failed", async () => {
    const error = new HubbubError("forbidden", "No");
    const { page, result } = lobby(
      {},
      {
        ...ADA,
        outgoing: [
          { messageId: "m-1", text: "one", state: "sending" },
          { messageId: "m-2", text: "two", state: "failed", error },
          { messageId: "m-3", text: "three", state: "sent" },
        ],
      },
    );
    expect(result.current.outgoing.map(({ state }) => state)).toEqual(["sending", "failed", "sending"]);
    const { id, ...command } = page.socket.one();
    expect(command).toEqual({ type: "message", room: "lobby", text: "one", messageId: "m-1" });
    page.says({ type: "ok", id, seq: 1 }, message(1, { messageId: "m-1" }));
    expect(page.socket.one()).toMatchObject({ text: "three", messageId: "m-3" });
    expect(result.current.outgoing).toMatchObject([{ text: "two", error }, { text: "three" }]);
  });

  test("of an earlier page that are in the log are not sent again", async () => {
    const kept = message(1, { messageId: "m-1" });
    const { page, result } = lobby(
      { seq: 1, head: 1, messages: [kept] },
      { ...ADA, outgoing: [{ messageId: "m-1", text: "one", state: "sending" }] },
    );
    await settle();
    page.frame();
    expect(page.socket.take()).toEqual([]);
    expect(result.current.outgoing).toEqual([]);
  });

  test("that nobody waits for fail without an unhandled rejection", async () => {
    const { page, result } = lobby();
    result.current.send("hi");
    page.says({ type: "error", code: "invalid_message", message: "no", id: page.socket.one().id });
    await settle();
    await expect(result.current.retry("none")).rejects.toMatchObject({ code: "not_failed" });
  });
});
