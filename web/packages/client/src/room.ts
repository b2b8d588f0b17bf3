// A room as an application uses it. It keeps nothing: the client does, over all connections.
import type { Cursor } from "./cursor.ts";
import type { Command, Events, Page, Position, Receipt, Reply, RoomInfo, Since } from "./events.ts";
import type { Handlers } from "./handlers.ts";

/** How a room is entered. */
export interface Entry {
  /** Under which name one is a member; needed where the server does not know who one is. */
  username?: string;
  /** The last so many events come with the room, where there is no position to go on from; 0. */
  history?: number;
  /** From where on events are wanted. */
  since?: Since;
  /** Leaves all other rooms that were joined. */
  alone?: boolean;
}

/** What a room needs of its client. */
export interface Line {
  request(command: Command): Promise<Reply>;
  publish(command: Command, messageId?: string): Promise<Receipt>;
  acknowledge(room: string, seq: number): void;
  leave(room: string): void;
}

export interface Pages {
  before?: number;
  after?: number;
  time?: number;
  limit?: number;
}

export class Room<App extends object = object> {
  /** Settles with the first `room_info`, or with why the room cannot be entered. */
  readonly ready: Promise<RoomInfo>;
  readonly name: string;
  readonly #line: Line;
  readonly #cursor: Cursor;
  readonly #handlers: Handlers;

  /** @internal Rooms are made by `Client.join` and `Client.subscribe`. */
  constructor(name: string, line: Line, cursor: Cursor, handlers: Handlers, ready: Promise<RoomInfo>) {
    this.name = name;
    this.ready = ready;
    this.#line = line;
    this.#cursor = cursor;
    this.#handlers = handlers;
  }

  /** The last position that was reached; keep it to go on from there with `since`. */
  get position(): Position | undefined {
    return this.#cursor.position;
  }

  /** The seq up to which all was acknowledged; undefined before the first time. */
  get acked(): number | undefined {
    return this.#cursor.acked;
  }

  /** Events behind the acknowledged one, whether the server has heard of that or not; undefined where there is none. */
  get unread(): number | undefined {
    const { acked, read, position } = this.#cursor;
    const behind = Math.max(acked ?? 0, read);
    return (acked === undefined && !read) || !position ? undefined : Math.max(position.seq - behind, 0);
  }

  /** Calls a handler with each event of a type in this room, `*` for all; returns what ends that. */
  on<Type extends keyof Events<App> & string>(type: Type, handler: (event: Events<App>[Type]) => void): () => void {
    return this.#handlers.on(type, handler);
  }

  /**
   * Says something. It waits while there is no connection, and is published once, however often the connection ends.
   *
   * @throws {HubbubError} The server does not take it, or too much waits already (`queue_full`).
   */
  send(text: string, messageId?: string): Promise<Receipt> {
    return this.#line.publish({ type: "message", room: this.name, text }, messageId);
  }

  /** Publishes an event of the application's own, as `send` does; one that is not kept is not sent later. */
  publish(
    event: { type: string; [field: string]: unknown },
    keep = true,
    messageId?: string,
  ): Promise<Receipt | Reply> {
    const command = { type: "publish", room: this.name, event, keep };
    return keep ? this.#line.publish(command, messageId) : this.#line.request(command);
  }

  /** Tells the others that somebody types, if there is a connection. */
  typing(): void {
    this.command("typing").catch(() => {});
  }

  /** All up to `seq` was received, by default all that has come; told to the server at most once a second. */
  ack(seq = this.#cursor.position?.seq ?? 0): void {
    this.#line.acknowledge(this.name, seq);
  }

  /** A page of the log. */
  history(pages: Pages = {}): Promise<Page> {
    return this.command("history", { ...pages }) as Promise<Page>;
  }

  /** Some of the members, in the order in which they came. */
  members(offset = 0, limit = 200): Promise<Reply & { members: string[]; count: number }> {
    return this.command("presence", { offset, limit }) as never;
  }

  /** How far the others have read; of one confirmed event also who has it and who has not. */
  readers(seq?: number): Promise<Reply & { readers: { username: string; seq: number }[] }> {
    return this.command("receipts", { seq }) as never;
  }

  /** Any command for this room, such as one of the application's. It is not sent again. */
  command(type: string, fields: object = {}): Promise<Reply> {
    return this.#line.request({ ...fields, type, room: this.name });
  }

  leave(): void {
    this.#line.leave(this.name);
  }
}
