// What hooks share: a room is one store for as long as anybody uses it, and then it is forgotten.
import { beforeEach, expect, test } from "vitest";
import { Stage, turn } from "../../client/tests/stage.ts";
import { Hub } from "../src/hub.ts";

let hub: Hub;

beforeEach(() => {
  hub = new Hub(new Stage().client as never, false);
});

test("a room is the same for all who use it", () => {
  const lobby = hub.room("lobby", false);
  lobby.hold({});
  expect([hub.room("lobby", false) === lobby, hub.room("lobby", true) === lobby]).toEqual([true, false]);
});

test("a room that nobody uses any more is forgotten", async () => {
  const lobby = hub.room("lobby", false);
  const releases = [lobby.hold({}), lobby.hold({})];
  releases[0]?.();
  await turn();
  expect(hub.room("lobby", false)).toBe(lobby);
  releases[1]?.();
  await turn();
  expect(hub.room("lobby", false)).not.toBe(lobby);
});

test("a room that is used again by who has kept it is the one for all", async () => {
  const lobby = hub.room("lobby", false);
  lobby.hold({})();
  await turn();
  lobby.hold({});
  expect(hub.room("lobby", false)).toBe(lobby);
});
