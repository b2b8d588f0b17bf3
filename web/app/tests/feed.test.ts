// What the dashboard's page makes of the events: over a real client, whose server is the test.
import { beforeEach, expect, test } from "vitest";
import { info, Stage, turn } from "../../packages/client/tests/stage.ts";
import { Feed } from "../src/dashboard/feed.ts";
import { LONGEST } from "../src/dashboard/series.ts";

const START = 1_700_000_000;
const data = { activeUsers: 1, requestsPerSecond: 0, avgResponseTime: 0, errorRate: 0, cpuUsage: 0, memoryUsage: 0 };
let stage: Stage;
let feed: Feed;
let seq: number;

beforeEach(() => {
  stage = new Stage();
  feed = new Feed(stage.client as never, () => Promise.reject(new Error("over a WebSocket nothing is asked")));
  stage.socket.greet();
  for (const { room, id } of stage.socket.take()) stage.socket.says({ ...(info(room as string) as object), id });
  seq = 0;
});

/** A second is over, and these are its events. */
function second(time: number): void {
  const timestamp = (START + time) * 1000;
  stage.socket.says(
    { type: "metrics", data, timestamp, room: "dashboard", seq: ++seq },
    { type: "nodes", nodes: [{ node: "a", host: "h", pid: 1, data }], timestamp, room: "dashboard-state", seq },
  );
}

function pause(time: number): void {
  const timestamp = (START + time) * 1000;
  stage.socket.says({ type: "pause", paused: true, by: "bob", timestamp, room: "dashboard-state", seq: ++seq });
}

const first = () => (feed.get().series.first?.time ?? 0) - START;

test("a pause holds the charts, and all that led up to it is there", () => {
  for (const time of [0, 1, 2]) second(time);
  pause(2);
  second(2 + LONGEST);
  expect([feed.get().pause?.by, feed.end(), first()]).toEqual(["bob", START + 2, 0]);
});

test("a pause ends after an hour, and what is older is forgotten again", () => {
  for (const time of [0, 1, 2]) second(time);
  pause(2);
  second(3 + LONGEST);
  expect([feed.get().pause, feed.end(), first()]).toEqual([undefined, START + 3 + LONGEST, 3 + LONGEST]);
  expect(feed.get().nodes[0]?.series.first?.time).toBe(START + 3 + LONGEST);
});

test("whoever opens the page later than an hour after a pause sees what is now", async () => {
  pause(0);
  second(LONGEST + 5);
  await turn();
  expect([feed.get().pause, feed.end(), feed.get().known]).toEqual([undefined, START + LONGEST + 5, true]);
});

test("the order in which a pause and the seconds come makes no difference", () => {
  second(LONGEST + 5);
  pause(0);
  expect([feed.get().pause, feed.end()]).toEqual([undefined, START + LONGEST + 5]);
});
