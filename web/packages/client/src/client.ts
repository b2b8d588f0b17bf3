// The client as applications use it: which rooms it is in, over all connections, and what is to be sent there.
import { Connection, disconnected, type State } from "./connection.ts";
import { Cursor } from "./cursor.ts";
import { type Clock, newMessageId } from "./environment.ts";
import { HubbubError } from "./errors.ts";
import type { AnyEvent, Command, Events, Receipt, Reply, RoomInfo } from "./events.ts";
import { Handlers } from "./handlers.ts";
import { type Options, type Settled, settle } from "./options.ts";
import { Outbox, type Parcel } from "./outbox.ts";
import { type Entry, type Line, Room } from "./room.ts";

/** Others need not know sooner what one has read. */
const ACK_EVERY_MS = 1000;

/** A room that is wanted, over all connections. */
interface Seat {
  readonly name: string;
  readonly entry: Entry;
  readonly subscribed: boolean;
  readonly cursor: Cursor;
  readonly handlers: Handlers;
  readonly enter: (info: RoomInfo) => void;
  readonly refuse: (error: HubbubError) => void;
}

export class Client<App extends object = object> implements Line {
  readonly #settled: Settled;
  readonly #connection: Connection;
  readonly #outbox: Outbox;
  readonly #handlers = new Handlers();
  readonly #seats = new Map<string, Seat>();
  readonly #rooms = new Map<string, Room<App>>();
  readonly #entered = new Set<string>();
  /** Rooms that were refused for now; they are asked for one after the other, as often as the server has it. */
  readonly #later: Seat[] = [];
  #sendAt = 0;
  #ackAt = 0;

  constructor(options: Options = {}) {
    const seats = this.#seats;
    this.#settled = settle(options);
    this.#outbox = new Outbox(this.#settled.queue);
    this.#connection = new Connection(this.#settled, {
      get wanting() {
        return seats.size > 0;
      },
      greeted: (known) => this.#enterAll(known),
      hungUp: () => {
        this.#entered.clear();
        this.#later.length = 0;
      },
      event: (event) => this.#receive(event),
      reply: (event) => this.#handlers.emit(event, ["*"]),
      forbidden: (room) => this.#lose(seats.get(room), "forbidden", "The new token does not allow this room"),
    });
    // Whatever ended it: nothing will be sent any more.
    this.watch(() => {
      const { status, reason, code } = this.state;
      if (status === "closed") this.#outbox.clear(new HubbubError("gone", reason || `closed with ${code}`));
    });
  }

  get state(): State {
    return this.#connection.state;
  }

  /** What it goes by, so that what is built on it can go by the same. */
  get clock(): Clock {
    return this.#settled.clock;
  }

  /** Calls a function after each change of `state`; returns what ends that. */
  watch(watcher: () => void): () => void {
    return this.#connection.watch(watcher);
  }

  /** Calls a handler with each event of a type, `*` for all, answers too; returns what ends that. */
  on<Type extends keyof Events<App> & string>(type: Type, handler: (event: Events<App>[Type]) => void): () => void {
    return this.#handlers.on(type, handler);
  }

  /** Connects, or tries again at once. */
  open(): void {
    this.#connection.open();
  }

  /** Ends the connection for good; what was not sent is given up. A page may say 1000, or 3000 to 4999. */
  close(code = 1000, reason = ""): void {
    this.#connection.close(code, reason);
  }

  /** Enters a room as a member, now and on each connection to come; the room that is there if it was joined already. */
  join(name: string, entry: Entry = {}): Room<App> {
    if (entry.alone) for (const seat of this.#seats.values()) if (!seat.subscribed) this.#forget(seat.name, "left");
    return this.#seat(name, entry, false);
  }

  /** Listens to a room without being a member of it. */
  subscribe(name: string, entry: Entry = {}): Room<App> {
    return this.#seat(name, entry, true);
  }

  leave(name: string): void {
    const seat = this.#forget(name, "left");
    if (seat) this.tell({ type: seat.subscribed ? "unsubscribe" : "leave", room: name });
  }

  /**
   * Sends any command now, once.
   *
   * @throws {HubbubError} The server refuses it, or there is no answer (`disconnected`).
   */
  request(command: Command): Promise<Reply> {
    return new Promise((resolve, reject) => {
      if (!this.#connection.isOpen) return reject(disconnected());
      this.#connection.ask(command, (error, reply) => (error ? reject(error) : resolve(reply)));
    });
  }

  /** Sends any command now, and asks for no answer; whether there is a connection. */
  tell(command: Command): boolean {
    return this.#connection.tell(command);
  }

  publish(command: Command, messageId = newMessageId()): Promise<Receipt> {
    const room = command.room as string;
    if (!this.#seats.has(room)) return Promise.reject(new HubbubError("not_in_room", "The room was left"));
    const sent = this.#outbox.add(room, { ...command, messageId });
    this.#flush();
    return sent;
  }

  acknowledge(room: string, seq: number): void {
    const cursor = this.#seats.get(room)?.cursor;
    if (!cursor || seq <= cursor.read) return;
    cursor.read = seq;
    this.#sendAcks();
  }

  // What comes

  #receive(event: AnyEvent): void {
    if (event.type === "room_info") return this.#enter(event as never);
    const seat = event.room === undefined ? undefined : this.#seats.get(event.room);
    if (!seat || seat.cursor.take(event)) this.#emit(event, seat);
    // It was delivered before; if it was acknowledged too, the server has not heard of that.
    else if (event.redelivered && (event.seq ?? 0) <= seat.cursor.read) this.#ack(seat);
  }

  #emit(event: AnyEvent, seat?: Seat): void {
    if (seat && event.messageId !== undefined) this.#outbox.seen(seat.name, event.messageId, event.seq as number);
    seat?.handlers.emit(event);
    this.#handlers.emit(event);
  }

  // The rooms

  #seat(given: string, entry: Entry, subscribed: boolean): Room<App> {
    const name = [...given.trim().normalize("NFC")].slice(0, 50).join("");
    const before = this.#seats.get(name);
    const same = before?.subscribed === subscribed && before.entry.username === entry.username;
    if (same) return this.#rooms.get(name) as Room<App>;
    const { cursor, handlers } = before ?? { cursor: new Cursor(entry.since), handlers: new Handlers() };
    const ready = new Promise<RoomInfo>((enter, refuse) => {
      this.#seats.set(name, { name, entry, subscribed, cursor, handlers, enter, refuse });
    });
    ready.catch(() => {}); // whoever does not ask is told by the event `error`
    before?.refuse(new HubbubError("left", "The room was entered anew"));
    const room = new Room<App>(name, this, cursor, handlers, ready);
    this.#rooms.set(name, room);
    if (this.#connection.isOpen) this.#join(this.#seats.get(name) as Seat);
    return room;
  }

  /** Enters all rooms in one round trip. */
  #enterAll(known = false): void {
    const seats = [...this.#seats.values()];
    const before = known ? seats.filter(({ cursor }) => cursor.position) : [];
    if (before.length) {
      const rooms = Object.fromEntries(before.map(({ name, cursor }) => [name, cursor.position]));
      this.#connection.ask({ type: "resume", rooms }, (error, { missing }) => {
        if (!this.#connection.isOpen) return;
        for (const seat of before) if (error || (missing as string[]).includes(seat.name)) this.#join(seat);
      });
    }
    for (const seat of seats) if (!before.includes(seat)) this.#join(seat);
    this.#settle();
  }

  #join(seat: Seat): void {
    if (this.#seats.get(seat.name) !== seat) return;
    const { name: room, entry, subscribed, cursor } = seat;
    const where = { room, since: cursor.position ?? entry.since, history: entry.history };
    const type = subscribed ? "subscribe" : "join";
    // Who comes back alone must not leave the rooms that were joined since.
    const keep = !entry.alone || cursor.position !== undefined;
    const command = subscribed ? { type, ...where } : { type, ...where, username: entry.username, keep };
    this.#connection.ask(command, (error) => error && this.#refused(seat, error));
  }

  #enter(info: RoomInfo): void {
    const seat = this.#seats.get(info.room);
    if (!seat) return this.#emit(info as never);
    this.#entered.add(seat.name);
    seat.cursor.enter(info, (event) => this.#emit(event, seat));
    seat.enter(info);
    this.#sendAcks();
    this.#settle();
    this.#flush();
  }

  #refused(seat: Seat, error: HubbubError): void {
    const { code, message, retryAfter } = error;
    if (!this.#connection.isOpen || this.#seats.get(seat.name) !== seat) return;
    if (retryAfter !== undefined) {
      this.#later.push(seat);
      return this.#joinLater(retryAfter);
    }
    this.#lose(seat, code, message);
  }

  /** Tells that one cannot be in a room, and wants it no more. */
  #lose(seat: Seat | undefined, code: string, message: string): void {
    if (!seat) return;
    this.#emit({ type: "error", code, message, room: seat.name }, seat);
    this.#forget(seat.name, code, message);
  }

  #joinLater(ms: number): void {
    const { timers } = this.#connection;
    if (!this.#later.length || timers.has("join")) return;
    timers.set("join", ms, () => {
      this.#join(this.#later.shift() as Seat);
      this.#joinLater(ms);
    });
  }

  /** Wants a room no more. */
  #forget(name: string, code: string, message = `The room was left: ${code}`): Seat | undefined {
    const seat = this.#seats.get(name);
    const error = new HubbubError(code, message);
    this.#seats.delete(name);
    this.#rooms.delete(name);
    this.#entered.delete(name);
    seat?.refuse(error);
    this.#outbox.clear(error, name);
    this.#settle();
    return seat;
  }

  #settle(): void {
    if (this.#connection.isOpen && [...this.#seats.keys()].every((name) => this.#entered.has(name)))
      this.#connection.step("entered");
  }

  // What goes

  /** Sends what may be sent now. */
  #flush(): void {
    const wait = this.#sendAt - this.#settled.clock.now();
    if (wait > 0) return this.#connection.timers.set("flush", wait, () => this.#flush());
    for (;;) {
      const parcel = this.#outbox.take((room) => this.#connection.isOpen && this.#entered.has(room));
      if (!parcel) return;
      this.#connection.ask(parcel.command, (error, reply) => this.#answered(parcel, error, reply));
    }
  }

  #answered(parcel: Parcel, error: HubbubError | undefined, { seq }: AnyEvent): void {
    const { messageId } = parcel.command;
    if (error?.code === "disconnected") return this.#outbox.back(parcel);
    if (error?.retryAfter !== undefined) {
      this.#outbox.back(parcel);
      this.#sendAt = this.#settled.clock.now() + error.retryAfter;
    } else {
      this.#outbox.done(parcel);
      if (error) parcel.reject(error);
      else parcel.resolve({ messageId, seq: seq as number });
    }
    this.#flush();
  }

  /** Tells how far one has read, in all rooms. */
  #sendAcks(): void {
    const now = this.#settled.clock.now();
    if (now < this.#ackAt) return this.#connection.timers.set("ack", this.#ackAt - now, () => this.#sendAcks());
    for (const seat of this.#seats.values()) {
      if (!this.#entered.has(seat.name) || seat.cursor.read <= (seat.cursor.acked ?? 0)) continue;
      this.#ackAt = now + ACK_EVERY_MS;
      this.#ack(seat);
    }
  }

  #ack({ name: room, cursor }: Seat): void {
    this.#connection.ask({ type: "ack", room, seq: cursor.read }, (error, { seq }) => {
      if (!error) cursor.acked = seq;
      else if (error.retryAfter !== undefined) {
        this.#connection.timers.set("ack", error.retryAfter, () => this.#sendAcks());
      }
    });
  }
}
