// A room is linked to by its name, and visited rooms are remembered.
import { expect, test } from "vitest";
import { hrefOf, roomOf } from "../src/chat/address.ts";
import { withRoom } from "../src/chat/memory.ts";

test("a room's link leads to it", () => {
  expect(roomOf(hrefOf("caffè & più #1"))).toBe("caffè & più #1");
});

test("the oldest of too many rooms is forgotten", () => {
  const rooms = Array.from({ length: 12 }, (_, number) => `room ${number}`);
  expect(withRoom(rooms, "room 3")).toEqual(rooms);
  expect(withRoom(rooms, "one more")).toEqual([...rooms.slice(1), "one more"]);
});
