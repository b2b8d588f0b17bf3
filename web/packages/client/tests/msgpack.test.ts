// MessagePack: both ways, every kind and width, and what is none.
import { expect, test } from "vitest";
import { decode, encode } from "../src/msgpack.ts";
import { Stage } from "./stage.ts";

const bytes = (hex: string) => Uint8Array.from(Buffer.from(hex.replaceAll(" ", ""), "hex"));

const deep = (depth: number): unknown => (depth ? [deep(depth - 1)] : 1);
const VALUES = [
  ...[null, true, false, 0, 127, 128, 255, 65_536, 2 ** 31, 2 ** 53 - 1, -1, -32, -33, -129, -(2 ** 53) + 1],
  ...[1.5, -0.1, 1e300, "", "é 日本 🎉", "x".repeat(31), "x".repeat(32), "x".repeat(255), "x".repeat(256)],
  ...["x".repeat(70_000), [], Array(15).fill(1), Array(16).fill(1), Array(70_000).fill(0), {}, { "": {} }, deep(50)],
  Object.fromEntries(Array.from({ length: 17 }, (_, index) => [`key ${index}`, index])),
  JSON.parse('{"__proto__":{"x":1}}'),
];

test.each(VALUES.map((value) => [JSON.stringify(value).slice(0, 40), value]))(
  "%s comes back as it went",
  (_, value) => {
    const command = { type: "x", value };
    expect(decode(encode(command))).toEqual(command);
  },
);

test.each([
  ["cc ff", 255],
  ["cd ffff", 65_535],
  ["ce ffffffff", 4_294_967_295],
  ["cf 001fffffffffffff", Number.MAX_SAFE_INTEGER],
  ["d0 80", -128],
  ["d1 8000", -32_768],
  ["d2 80000000", -2_147_483_648],
  ["d3 ffffffffffffffff", -1],
  ["ca 3fc00000", 1.5],
  ["cb 3ff8000000000000", 1.5],
  ["e0", -32],
  ["d9 01 61", "a"],
  ["da 0001 61", "a"],
  ["db 00000001 61", "a"],
  ["c4 01 61", bytes("61")],
  ["c5 0001 61", bytes("61")],
  ["c6 00000001 61", bytes("61")],
  ["dc 0001 c0", [null]],
  ["dd 00000001 c3", [true]],
  ["de 0001 a161 c2", { a: false }],
  ["df 00000001 a161 01", { a: 1 }],
])("%s is read", (hex, value) => {
  expect(decode(bytes(hex))).toEqual(value);
});

test.each(["", "c1", "c7 00 00", "d4 00 00", "cd ff", "a2 61", "92 01", "81 a161", "dd ffffffff", "01 01"])(
  "%s is no message",
  (hex) => {
    expect(() => decode(bytes(hex))).toThrow(RangeError);
  },
);

test("what JSON would leave out is left out", () => {
  expect(decode(encode({ type: "join", since: undefined }))).toEqual({ type: "join" });
});

test("a client that speaks it offers JSON as well, and goes by what the server chose", async () => {
  const stage = new Stage({ encoding: "msgpack" });
  const { socket } = stage;
  expect(socket.protocols).toEqual(["hubbub.v1.msgpack", "hubbub.v1.json"]);
  const sent: Uint8Array[] = [];
  socket.send = (data) => sent.push(data as Uint8Array);
  stage.client.join("lobby", { username: "ada" });
  for (const event of [{ type: "connected" }, { type: "typing", room: "lobby" }]) {
    socket.onmessage?.({ data: encode(event).buffer });
  }
  await import("../src/msgpack.ts");
  await new Promise((resolve) => setTimeout(resolve));
  expect(sent.map((data) => decode(data).type)).toEqual(["join"]);
  expect(stage.events.map(({ type }) => type)).toEqual(["connected", "typing"]);
});

test("where the server chose JSON, JSON is spoken", () => {
  const stage = new Stage({ encoding: "msgpack" });
  stage.socket.protocol = "hubbub.v1.json";
  expect(stage.enter("lobby").status).toBe("connected");
});

test("what cannot be read ends the connection, and the client comes back", () => {
  const stage = new Stage();
  stage.socket.onmessage?.({ data: "{" });
  expect(stage.client.state).toMatchObject({ status: "waiting", code: 1007 });
});
