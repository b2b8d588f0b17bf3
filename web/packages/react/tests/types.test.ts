// The types of the hooks, with events that an application has declared. `npm run types` checks them, as `npm test` does; Vitest runs nothing here.
import type { AnyEvent, Message, Position, Receipt, Status } from "@hubbub/client";
import { expectTypeOf, test } from "vitest";
import {
  type LogEvent,
  type RoomView,
  type SocketStatus,
  type useConnection,
  useEvent,
  useLatest,
  type useRoom,
  useWebSocket,
} from "../src/index.ts";

declare module "../src/index.ts" {
  interface AppEvents {
    price: { symbol: string; cents: number };
  }
}

test("a connection has the status of the client, and what there may not be is optional", () => {
  type View = ReturnType<typeof useConnection>;
  expectTypeOf<View["status"]>().toEqualTypeOf<Status>();
  expectTypeOf<View["attempt"]>().toBeNumber();
  expectTypeOf<View["retryAt"]>().toEqualTypeOf<number | undefined>();
  expectTypeOf<View["latencyMs"]>().toEqualTypeOf<number | undefined>();
});

test("a room's log has messages, gaps, the application's events, and no others", () => {
  expectTypeOf<ReturnType<typeof useRoom>>().toEqualTypeOf<RoomView>();
  expectTypeOf<RoomView["events"]>().toEqualTypeOf<readonly LogEvent[]>();
  expectTypeOf<LogEvent["type"]>().toEqualTypeOf<"message" | "gap" | "price">();
  expectTypeOf<Extract<LogEvent, { type: "message" }>>().toExtend<Message & Position>();
  expectTypeOf<Extract<LogEvent, { type: "price" }>["cents"]>().toBeNumber();
  expectTypeOf<RoomView["send"]>().returns.resolves.toEqualTypeOf<Receipt>();
});

// Not run: hooks are for components.
export function Component(): void {
  useEvent("message", (event) => expectTypeOf(event).toEqualTypeOf<Message>());
  useEvent("price", ({ cents, room }) =>
    expectTypeOf([cents, room] as const).toEqualTypeOf<readonly [number, string]>(),
  );
  useEvent("*", (event) => expectTypeOf(event).toEqualTypeOf<AnyEvent>());
  expectTypeOf(useLatest("message")).toEqualTypeOf<Message | undefined>();
  expectTypeOf(useLatest("price")?.symbol).toEqualTypeOf<string | undefined>();
  // @ts-expect-error nobody has declared it
  useEvent("prices", () => {});
  // @ts-expect-error it has no such field
  useEvent("message", (event) => event.cents);

  const { status, lastMessage, send } = useWebSocket<{ data: number[] }>("ws://metrics.test");
  expectTypeOf(status).toEqualTypeOf<SocketStatus>();
  expectTypeOf<SocketStatus>().toEqualTypeOf<"connecting" | "connected" | "disconnected" | "error">();
  expectTypeOf(lastMessage).toEqualTypeOf<{ data: number[] } | undefined>();
  expectTypeOf(send({})).toBeBoolean();
  expectTypeOf(useWebSocket("ws://metrics.test").lastMessage).toBeUnknown();
}
