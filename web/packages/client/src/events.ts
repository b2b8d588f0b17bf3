// What the server says, and what it can be told, as types: protocol/PROTOCOL.md in TypeScript. No code.

/** A place in a room's log: the numbers of different epochs cannot be compared. */
export interface Position {
  epoch: string;
  seq: number;
}

/** From where on a room's events are wanted: behind a position, a time, or all that was acknowledged. */
export type Since = Position | { time: number } | "acked";

/** Any event, as far as everybody knows it. */
export interface AnyEvent {
  type: string;
  id?: number | string;
  room?: string;
  seq?: number;
  [field: string]: unknown;
}

/** Any command. */
export interface Command {
  type: string;
  id?: number | string;
  room?: string;
  [field: string]: unknown;
}

interface InRoom {
  room: string;
}

/** The user that credentials are of; `expires` is when they end. */
export interface User {
  id: string;
  name: string;
  expires?: number;
}

export interface Connected {
  type: "connected";
  clientId: string;
  timestamp: number;
  protocol: number;
  heartbeat: number;
  maxMessageBytes: number;
  node: string;
  session?: string;
  user?: User;
}

export interface RoomInfo extends InRoom, Position {
  type: "room_info";
  members: string[];
  count: number;
  head: number;
  recovered: boolean | null;
  messages: AnyEvent[];
  membersTruncated?: boolean;
  acked?: number;
  unread?: number;
}

export interface Message extends InRoom {
  type: "message";
  username: string;
  text: string;
  messageId: string;
  timestamp: number;
  seq: number;
  confirm?: boolean;
  redelivered?: boolean;
}

/** Something was missed: what comes next is behind this position. */
export interface Gap extends InRoom, Position {
  type: "gap";
}

export interface Coming extends InRoom {
  type: "user_joined" | "user_left";
  username: string;
  memberCount: number;
  timestamp: number;
}

export interface Problem {
  type: "error" | "warning";
  code: string;
  message: string;
  retryAfter?: number;
  correlationId?: string;
}

/** The server's own events, by their type. */
export interface ServerEvents {
  connected: Connected;
  room_info: RoomInfo;
  message: Message;
  gap: Gap;
  user_joined: Coming & { type: "user_joined" };
  user_left: Coming & { type: "user_left" };
  member_count: InRoom & { type: "member_count"; memberCount: number; timestamp: number };
  typing: InRoom & { type: "typing"; username: string };
  seen: InRoom & { type: "seen"; username: string; seq: number };
  reconnect: { type: "reconnect"; after: number };
  error: Problem & { type: "error" };
  warning: Problem & { type: "warning" };
}

/**
 * All events by their type: the server's, an application's own, and `*` for each of them.
 *
 * App: the fields of an application's events by their type, such as `{ price: { symbol: string; cents: number } }`.
 */
export type Events<App extends object = object> = Omit<ServerEvents, keyof App> & {
  [Type in keyof App & string]: App[Type] & { type: Type; room: string; seq?: number };
} & { "*": AnyEvent };

/** The fields of an `ok`; which there are depends on the command. */
export interface Reply {
  type: string;
  seq?: number;
  [field: string]: unknown;
}

/** A message that was kept. */
export interface Receipt {
  messageId: string;
  seq: number;
}

/** A page of a room's log, in ascending order; `more` says whether there is another one in that direction. */
export interface Page extends Reply {
  epoch: string;
  messages: AnyEvent[];
  more: boolean;
}

/** How far one has read, and how many events came behind it. */
export interface Cursor {
  acked: number;
  unread: number;
}
