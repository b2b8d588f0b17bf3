// Which events there are: the server's, and those that an application declares. Types only.
import type { Events, Position } from "@hubbub/client";

/**
 * An application's events, by their type; it declares them once, and all hooks know them:
 *
 * declare module "@hubbub/react" {
 *   interface AppEvents { price: { symbol: string; cents: number } }
 * }
 */
// biome-ignore lint/suspicious/noEmptyInterface: applications add to it
export interface AppEvents {}

export type HubEvents = Events<AppEvents>;
export type EventType = keyof HubEvents & string;

/** Events that rooms do not keep. */
type Passing = "*" | "connected" | "room_info" | "user_joined" | "user_left" | "member_count" | "typing" | "seen";
type Aside = "reconnect" | "error" | "warning";

/** An event of a room's log, `gap` where something is missing in it; with its position, which no other has. */
export type LogEvent = {
  [Type in Exclude<EventType, Passing | Aside>]: HubEvents[Type] & Position;
}[Exclude<EventType, Passing | Aside>];
