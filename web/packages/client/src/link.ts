// What carries commands and events: the contract between the client and each of its transports.

import type { Environment } from "./environment.ts";
import type { AnyEvent, Command } from "./events.ts";

/** What is dialled. */
export interface Target {
  /** The server's WebSocket; the HTTP interface is beside it. */
  url: URL;
  /** The session to take up; "" for a new one, null for none. */
  session: string | null;
  token: string | undefined;
  /** Whether MessagePack is wanted. */
  msgpack: boolean;
  environment: Environment;
}

/** Who is told what comes; after `ended` nothing does. */
export interface Sink {
  event(event: AnyEvent): void;
  ended(code: number, reason: string): void;
}

/** An open connection, or one that is being opened: `connected` is its first event. */
export interface Link {
  send(command: Command): void;
  /** Ends it; the sink is told nothing more. */
  close(code: number, reason: string): void;
}

export type Dial = (target: Target, sink: Sink) => Link;
