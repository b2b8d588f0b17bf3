// The table of states, and the client that follows it.
import { expect, test } from "vitest";
import { type Status, TABLE } from "../src/machine.ts";
import { Stage } from "./stage.ts";

test("every state but closed can be ended, and closed can only be left by opening", () => {
  const { closed, ...open } = TABLE;
  expect(Object.values(open).map(({ ended }) => ended)).toEqual(Object.values(open).map(() => "closed"));
  expect(closed).toEqual({ open: "connecting" });
});

test("every state leads to connected", () => {
  const leads = (from: string, tried: string[] = []): boolean =>
    from === "connected" ||
    Object.values(TABLE[from as Status]).some((to) => !tried.includes(to) && leads(to, [...tried, to]));
  expect(Object.keys(TABLE).filter((from) => !leads(from))).toEqual([]);
});

test("a client goes from connecting over resuming to connected", () => {
  const stage = new Stage();
  const seen = [stage.status];
  stage.client.watch(() => seen.push(stage.status));
  stage.enter("lobby");
  expect(seen).toEqual(["connecting", "resuming", "connected"]);
});

test("without a room there is nothing to resume", () => {
  const stage = new Stage();
  stage.socket.greet();
  expect(stage.status).toBe("connected");
});

test("a room that is joined later does not make the client resume", () => {
  const stage = new Stage().enter("lobby");
  stage.client.join("kitchen", { username: "ada" });
  expect(stage.status).toBe("connected");
});

test("the state is a new object with each change, and the same without", () => {
  const stage = new Stage();
  const before = stage.client.state;
  expect(stage.client.state).toBe(before);
  stage.socket.greet();
  expect(stage.client.state).not.toBe(before);
});

test("who no longer watches is not called", () => {
  const stage = new Stage();
  let calls = 0;
  const end = stage.client.watch(() => calls++);
  end();
  stage.socket.greet();
  expect(calls).toBe(0);
});
