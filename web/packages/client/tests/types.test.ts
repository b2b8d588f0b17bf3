// The types of events: the server's own, an application's, and no others. `npm run types` checks them, as `npm test` does; Vitest runs nothing here.
import { expectTypeOf, test } from "vitest";
import { Client, type Connected, type Message, type Receipt } from "../src/index.ts";

interface Prices {
  price: { symbol: string; cents: number };
  typing: { keys: number };
}

test("handlers know the fields of the event that they are for", () => {
  const client = new Client<Prices>({ url: "ws://hub.test" });
  const room = client.join("lobby");
  room.on("message", (event) => expectTypeOf(event).toEqualTypeOf<Message>());
  client.on("connected", (event) => expectTypeOf(event).toEqualTypeOf<Connected>());
  room.on("price", (event) => {
    expectTypeOf(event.cents).toBeNumber();
    expectTypeOf(event.type).toEqualTypeOf<"price">();
    expectTypeOf(event.room).toBeString();
  });
  expectTypeOf(room.send("hi")).resolves.toEqualTypeOf<Receipt>();
});

test("an application's event takes the place of the server's of that type", () => {
  const client = new Client<Prices>({ url: "ws://hub.test" });
  client.on("typing", (event) => expectTypeOf(event.keys).toBeNumber());
});

test("there are no events but these", () => {
  const client = new Client<Prices>({ url: "ws://hub.test" });
  // @ts-expect-error nobody has declared it
  client.on("prices", () => {});
  // @ts-expect-error it has no such field
  client.on("message", (event) => event.cents);
});
