// What carries commands and events: the contract between the client and each of its transports.
import { LOST } from "./closing.ts";

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
  /** This kind of connection gets through: the server itself has said something over it. */
  through(): void;
  /** Not before `through` `blocked` says that it was not the server who answered, or that somebody held it back. */
  ended(code: number, reason: string, blocked?: boolean): void;
}

/** An open connection, or one that is being opened: `connected` is its first event. */
export interface Link {
  /** Whether it knows `resume`; else each room is joined. */
  readonly resumes: boolean;
  send(command: Command): void;
  /** Ends it; the sink is told nothing more. */
  close(code: number, reason: string): void;
}

export type Dial = (target: Target, sink: Sink) => Link;

/** A link over plain HTTP: in a module of its own, as few networks need it. */
export const overHttp =
  (name: "dialStream" | "dialPoll"): Dial =>
  (target, sink) => {
    let link: Link | undefined;
    let closed = false;
    import("./http.ts").then(
      (loaded) => {
        if (!closed) link = loaded[name](target, sink);
      },
      () => sink.ended(LOST, "http.js could not be loaded"),
    );
    return {
      resumes: false,
      send: (command) => link?.send(command),
      close(code, reason) {
        closed = true;
        link?.close(code, reason);
      },
    };
  };
