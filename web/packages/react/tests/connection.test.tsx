// @vitest-environment happy-dom
// The provider and useConnection: one connection for as long as the provider is there, and how it stands.
import { act, render, renderHook } from "@testing-library/react";
import { StrictMode, useEffect } from "react";
import { expect, test } from "vitest";
import { Stage } from "../../client/tests/stage.ts";
import { HubbubProvider, useClient, useConnection } from "../src/index.ts";
import { Page, printed, settle } from "./page.tsx";

test("StrictMode, which mounts twice, has one connection", async () => {
  const page = new Page();
  let mounted = 0;
  page.hook(() => {
    useConnection();
    useEffect(() => void mounted++, []);
  });
  await settle();
  expect(mounted).toBe(2);
  expect(page.sockets.map(({ closed }) => closed)).toEqual([undefined]);
});

test("the status is that of the connection, from the first try on", () => {
  const page = new Page();
  const { result } = page.hook(useConnection);
  expect(result.current).toMatchObject({ status: "connecting", attempt: 0 });
  page.says({ type: "connected", clientId: "c", heartbeat: 30_000, session: "s1" });
  expect(result.current).toMatchObject({ status: "connected", session: "s1" });
});

test("after a loss it says which try is next, and when", () => {
  const page = new Page();
  const { result } = page.hook(useConnection);
  page.ends();
  expect(result.current).toMatchObject({ status: "waiting", attempt: 1, retryAt: page.clock.now() + 1000, code: 1006 });
  page.pass(1000);
  expect(result.current.status).toBe("connecting");
  expect(result.current.retryAt).toBeUndefined();
  page.ends();
  expect(result.current).toMatchObject({ attempt: 2, retryAt: page.clock.now() + 2000 });
});

test("without a network it is offline, until the device has one", () => {
  const page = new Page();
  const { result } = page.hook(useConnection);
  page.surroundings.there = false;
  page.ends();
  expect(result.current.status).toBe("offline");
  act(() => page.surroundings.woken());
  expect(result.current.status).toBe("connecting");
});

test("`open` tries at once", () => {
  const page = new Page();
  const { result } = page.hook(useConnection);
  page.ends();
  act(() => result.current.open());
  expect(result.current.status).toBe("connecting");
  expect(page.sockets).toHaveLength(2);
});

test("`close` ends it until `open`", () => {
  const page = new Page();
  const { result } = page.hook(useConnection);
  act(() => result.current.close());
  expect(result.current.status).toBe("closed");
  act(() => result.current.open());
  expect(result.current.status).toBe("connecting");
});

test("latency is that of the last ping", () => {
  const page = new Page();
  const { result } = page.hook(useConnection);
  page.enter();
  expect(result.current.latencyMs).toBeUndefined();
  page.pass(30_000);
  const { id } = page.socket.one();
  page.pass(42);
  page.says({ type: "ok", id });
  expect(result.current.latencyMs).toBe(42);
});

test("the connection ends with the provider, and leaves no timer behind", async () => {
  const page = new Page();
  const { unmount } = page.hook(useConnection);
  page.enter();
  unmount();
  await settle();
  expect(page.socket.closed).toEqual({ code: 1000 });
  expect(page.clock.pending).toBe(0);
  expect(page.surroundings.watched).toBe(false);
});

test("a provider that was waiting tries no more when it is gone", async () => {
  const page = new Page();
  const { unmount } = page.hook(useConnection);
  page.ends();
  unmount();
  await settle();
  page.pass(60_000);
  expect(page.sockets).toHaveLength(1);
});

test("a client of one's own is neither opened nor closed", async () => {
  const { client, socket } = new Stage();
  const show = <HubbubProvider client={client}>hello</HubbubProvider>;
  const { unmount } = render(<StrictMode>{show}</StrictMode>);
  unmount();
  await settle();
  expect(socket.closed).toBeUndefined();
  client.close();
});

const Session = () => useConnection().session;

test("another client takes the place of the former", () => {
  const stages = [new Stage(), new Stage()] as const;
  const shown = ({ client }: Stage) => (
    <HubbubProvider client={client}>
      <Session />
    </HubbubProvider>
  );
  const { container, rerender } = render(shown(stages[0]));
  act(() => stages[0].socket.greet({ session: "first" }));
  expect(container.textContent).toBe("first");
  rerender(shown(stages[1]));
  act(() => stages[1].socket.greet({ session: "second" }));
  expect(container.textContent).toBe("second");
});

test("another render does not connect again, though the options are another object", async () => {
  const page = new Page();
  const { rerender } = page.hook(useConnection);
  rerender(undefined);
  await settle();
  expect(page.sockets).toHaveLength(1);
});

test("without a provider a hook says what is missing", () => {
  printed();
  expect(() => renderHook(useClient)).toThrow("There is no <HubbubProvider> around this component");
});
