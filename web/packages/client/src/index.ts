// The public names of the client.
import { Client } from "./client.ts";
import type { Options } from "./options.ts";

export type { Kind, Store } from "./choice.ts";
export { Client } from "./client.ts";
export { backoffMs } from "./closing.ts";
export type { State } from "./connection.ts";
export type { Clock, Environment, Socket, SocketConstructor, Surroundings } from "./environment.ts";
export { newMessageId, systemClock, Timers } from "./environment.ts";
export { HubbubError } from "./errors.ts";
export type * from "./events.ts";
export type { Status } from "./machine.ts";
export type { Options } from "./options.ts";
export type { Entry, Pages, Room } from "./room.ts";

/**
 * Connects to a server, and stays connected until it is closed.
 *
 * App: the fields of the application's events by their type.
 */
export function connect<App extends object = object>(options: Options | string | URL = {}): Client<App> {
  const given = typeof options === "string" || options instanceof URL ? { url: options } : options;
  const client = new Client<App>(given);
  client.open();
  return client;
}
