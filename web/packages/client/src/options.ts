// What a client can be told, and what holds where it is told nothing.
import type { Kind, Store } from "./choice.ts";
import { type Environment, page, systemClock } from "./environment.ts";

export interface Options extends Partial<Environment> {
  /** The server: its WebSocket, or the folder that `ws` is in; `ws` beside the page. */
  url?: string | URL;
  /** A bearer token; or where to get one, asked for each connection, and a minute before one ends. */
  token?: string | (() => string | Promise<string>);
  /** The session of an earlier page, see `State.session`; null for none: then nobody waits for a client that is lost. */
  session?: string | null;
  /** How events and commands are written; MessagePack is in another module. */
  encoding?: "json" | "msgpack";
  /** The ways to talk to the server that are tried, in this order. */
  transports?: Kind[];
  /** Where it is kept which of them got through; localStorage, where there is one. */
  store?: Store;
  /** Tries on end before it gives up. */
  maxAttempts?: number;
  /** Messages that may wait to be sent; 1,000. */
  queue?: number;
}

/** All that a client goes by. */
export interface Settled extends Environment {
  url: URL;
  token: Options["token"];
  session: string | null;
  msgpack: boolean;
  transports: Kind[];
  store: Store | undefined;
  maxAttempts: number;
  queue: number;
}

export function settle(options: Options): Settled {
  const { WebSocket = globalThis.WebSocket as unknown as Environment["WebSocket"] } = options;
  return {
    clock: systemClock,
    random: Math.random,
    WebSocket,
    fetch: globalThis.fetch?.bind(globalThis),
    transports: WebSocket ? ["websocket", "stream", "poll"] : ["stream", "poll"],
    store: localStore(),
    surroundings: page,
    session: "",
    maxAttempts: Infinity,
    queue: 1000,
    ...options,
    url: socketUrl(options.url ?? ""),
    token: options.token,
    msgpack: options.encoding === "msgpack",
  };
}

/** The WebSocket's URL for what people write: http becomes ws, and a folder is the one that `ws` is in. */
export function socketUrl(given: string | URL, base = globalThis.document?.baseURI): URL {
  const folder = given === "" ? "ws" : given;
  const url = new URL(folder, base);
  url.protocol = url.protocol.replace("http", "ws");
  if (url.pathname.endsWith("/")) url.pathname += "ws";
  url.hash = "";
  return url;
}

function localStore(): Store | undefined {
  try {
    return typeof document === "undefined" ? undefined : localStorage;
  } catch {
    return undefined; // it is forbidden to this page
  }
}
