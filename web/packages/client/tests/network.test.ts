// The network goes and comes, tabs sleep and wake, connections end without a word.
import { expect, test } from "vitest";
import { Stage } from "./stage.ts";

test("a device that is back online tries at once", () => {
  const stage = new Stage();
  stage.surroundings.there = false;
  stage.socket.ends();
  expect(stage.status).toBe("offline");
  stage.surroundings.there = true;
  stage.surroundings.woken();
  expect([stage.status, stage.sockets.length]).toEqual(["connecting", 2]);
});

test("a tab that wakes tries at once", () => {
  const stage = new Stage();
  stage.socket.ends();
  stage.surroundings.woken();
  expect(stage.sockets).toHaveLength(2);
});

test("a device that loses its network while it waits is offline", () => {
  const stage = new Stage();
  stage.socket.ends();
  stage.surroundings.cut();
  expect(stage.status).toBe("offline");
});

test("a device that only thinks it is offline reaches a server on itself", () => {
  const stage = new Stage();
  stage.surroundings.there = false;
  stage.socket.ends();
  stage.clock.pass(1000);
  stage.socket.greet();
  expect(stage.status).toBe("connected");
});

test("a connection that stands when a tab wakes is asked for a sign of life, and dropped without one", () => {
  const stage = new Stage();
  stage.socket.greet();
  stage.surroundings.woken();
  expect(stage.socket.one().type).toBe("ping");
  stage.clock.pass(5000);
  expect(stage.status).toBe("waiting");
});

test("any event is a sign of life", () => {
  const stage = new Stage();
  stage.socket.greet();
  stage.surroundings.woken();
  stage.socket.says({ type: "typing", room: "x", username: "bob" });
  stage.clock.pass(5000);
  expect(stage.status).toBe("connected");
});

test("a connection that stands when the network is said to be gone is dropped only if it is dead", () => {
  const stage = new Stage();
  stage.socket.greet();
  stage.surroundings.there = false;
  stage.surroundings.cut();
  expect(stage.status).toBe("connected");
  stage.clock.pass(5000);
  expect(stage.status).toBe("offline");
});

test("once a heartbeat the server is asked, which measures the way", () => {
  const stage = new Stage();
  stage.socket.greet();
  stage.clock.pass(30_000);
  const { id } = stage.socket.one();
  stage.clock.pass(120);
  stage.socket.says({ type: "ok", id });
  expect(stage.client.state.latencyMs).toBe(120);
  stage.clock.pass(30_000 - 120);
  expect(stage.socket.one().type).toBe("ping");
});

test("a server that does not answer within 10 s is gone", () => {
  const stage = new Stage();
  stage.socket.greet();
  stage.clock.pass(40_000);
  expect(stage.client.state).toMatchObject({ status: "waiting", reason: "no answer" });
});

test("a try that fails without a close event is over", () => {
  const stage = new Stage();
  stage.socket.onerror?.();
  stage.clock.pass(0);
  expect(stage.status).toBe("waiting");
});

test("the code of a close event counts, though an error comes before it", () => {
  const stage = new Stage();
  stage.socket.onerror?.();
  stage.socket.ends(4403);
  stage.clock.pass(0);
  expect(stage.client.state).toMatchObject({ status: "closed", code: 4403 });
});
