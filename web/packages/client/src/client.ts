// The client: it opens connections, comes back, enters its rooms again, and hands out what comes.
import { Choice, type Kind } from "./choice.ts";
import { adviceOn, delayMs, LOST, RESTART } from "./closing.ts";
import { Cursor } from "./cursor.ts";
import { newMessageId, Timers } from "./environment.ts";
import { HubbubError } from "./errors.ts";
import type { AnyEvent, Command, Connected, Events, Problem, Receipt, Reply, RoomInfo, User } from "./events.ts";
import { call, Handlers } from "./handlers.ts";
import { type Dial, type Link, overHttp } from "./link.ts";
import { type Input, type Status, TABLE } from "./machine.ts";
import { type Options, type Settled, settle } from "./options.ts";
import { Outbox, type Parcel } from "./outbox.ts";
import { type Entry, type Line, Room } from "./room.ts";
import { dialWebSocket } from "./websocket.ts";

const DIALS: Record<Kind, Dial> = {
  websocket: dialWebSocket,
  stream: overHttp("dialStream"),
  poll: overHttp("dialPoll"),
};
/** How long a try may take. */
const DIAL_MS = 10_000;
/** How long an answer may take where nothing else comes either. */
const ANSWER_MS = 10_000;
/** The same for a page that is looked at again: it may have slept for hours. */
const WAKE_MS = 5000;
/** A connection that ends sooner did not hold: a server that takes and drops us must not be asked every second. */
const HELD_MS = 5000;
/** Others need not know sooner what one has read. */
const ACK_EVERY_MS = 1000;

/** What is known of the connection: a new object with each change. */
export interface State {
  readonly status: Status;
  /** Tries since the last connection that held. */
  readonly attempt: number;
  /** When the next try is, in the clock's milliseconds. */
  readonly retryAt?: number;
  /** Why the last connection ended: a close code and the server's words. */
  readonly code?: number;
  readonly reason?: string;
  /** What the connection is made of, or the try. */
  readonly transport: Kind;
  /** How long the last answer to a ping took. */
  readonly latencyMs?: number;
  readonly user?: User;
  /** Names the client across connections; a secret. A page that keeps it goes on as the same after a reload. */
  readonly session: string | null;
}

type Answer = (error: HubbubError | undefined, reply: AnyEvent) => void;

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
  readonly #timers: Timers;
  readonly #outbox: Outbox;
  readonly #handlers = new Handlers();
  readonly #watchers = new Set<() => void>();
  readonly #seats = new Map<string, Seat>();
  readonly #rooms = new Map<string, Room<App>>();
  readonly #entered = new Set<string>();
  readonly #asked = new Map<unknown, Answer>();
  #state: State;
  readonly #choice: Choice;
  #turn = 0;
  #link: Link | undefined;
  /** A better transport that is being tried beside the one in use. */
  #scout: { turn: number; link: Link } | undefined;
  #lastTurn = 0;
  #lastId = 0;
  #openedAt = 0;
  #throughAt = 0;
  #returnAt = 0;
  #sendAt = 0;
  #ackAt = 0;
  #unwatch: (() => void) | undefined;

  constructor(options: Options = {}) {
    this.#settled = settle(options);
    this.#timers = new Timers(this.#settled.clock);
    this.#outbox = new Outbox(this.#settled.queue);
    const { session, transports, store, url, clock } = this.#settled;
    this.#choice = new Choice(transports, store, url, clock.now());
    this.#state = { status: "closed", attempt: 0, session, transport: transports[0] as Kind };
  }

  get state(): State {
    return this.#state;
  }

  /** Calls a function after each change of `state`; returns what ends that. */
  watch(watcher: () => void): () => void {
    const mine = () => watcher();
    this.#watchers.add(mine);
    return () => void this.#watchers.delete(mine);
  }

  /** Calls a handler with each event of a type, `*` for all; returns what ends that. */
  on<Type extends keyof Events<App> & string>(type: Type, handler: (event: Events<App>[Type]) => void): () => void {
    return this.#handlers.on(type, handler);
  }

  /** Connects, or tries again at once. */
  open(): void {
    this.#unwatch ??= this.#settled.surroundings.watch(
      (elsewhere) => this.#woken(elsewhere),
      () => this.#cut(),
    );
    this.#dial();
  }

  /** Ends the connection for good; what was not sent is given up. */
  close(code = 1000, reason = ""): void {
    this.#link?.close(code, reason);
    this.#link = undefined;
    this.#end(code, reason);
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
      if (!this.#openedAt) return reject(disconnected());
      this.#send(command, (error, reply) => (error ? reject(error) : resolve(reply)));
    });
  }

  /** Sends any command now, and asks for no answer; whether there is a connection. */
  tell(command: Command): boolean {
    if (this.#openedAt) this.#link?.send(command);
    return this.#openedAt > 0;
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

  // The machine

  /** Takes a step of the table; false where it has none. */
  #step(input: Input, changes: Partial<State> = {}): boolean {
    const status = TABLE[this.#state.status][input];
    if (status) this.#change({ status, ...changes });
    return status !== undefined;
  }

  #change(changes: Partial<State>): void {
    this.#state = { ...this.#state, ...changes };
    for (const watcher of [...this.#watchers]) call(watcher, undefined as never);
  }

  #dial(): void {
    const { retryAt: _, ...state } = this.#state;
    if (!TABLE[state.status].open) return;
    // Over HTTP there is nothing to ask for without a room.
    const kind = this.#seats.size ? this.#choice.next(this.#settled.clock.now()) : this.#best;
    this.#state = { ...state, transport: kind };
    this.#timers.clear();
    this.#step("open");
    this.#timers.set("dial", DIAL_MS, () => this.#ended(LOST, "no answer"));
    const turn = this.#newTurn();
    const mine = (act: () => void) => turn === this.#turn && act();
    this.#withToken(
      (token) => mine(() => this.#open(kind, token, turn)),
      (why) => mine(() => this.#ended(LOST, why)),
    );
  }

  get #best(): Kind {
    return this.#settled.transports[0] as Kind;
  }

  /** From here on nothing that belongs to an earlier connection counts. */
  #newTurn(): number {
    this.#turn = ++this.#lastTurn;
    return this.#turn;
  }

  /** Asks for a token where one is needed. */
  #withToken(act: (token?: string) => void, failed: (why: string) => void): void {
    const { token } = this.#settled;
    if (typeof token !== "function") return act(token);
    new Promise<string>((resolve) => resolve(token())).then(act, (error) => failed(`no token: ${error}`));
  }

  #open(kind: Kind, token: string | undefined, turn: number): void {
    try {
      this.#link = this.#connect(kind, token, turn);
    } catch (error) {
      this.#end(LOST, String(error)); // a token that is none, or no WebSocket: it would be the same next time
    }
  }

  /** A connection whose events count once its turn has come. */
  #connect(kind: Kind, token: string | undefined, turn: number): Link {
    const { url, msgpack, clock } = this.#settled;
    const target = { url, msgpack, token, session: this.#state.session, environment: this.#settled };
    return DIALS[kind](target, {
      event: (event) => {
        if (turn === this.#scout?.turn) this.#adopt(kind);
        if (turn === this.#turn) this.#receive(event);
      },
      through: () => {
        if (turn !== this.#turn || this.#throughAt) return;
        this.#throughAt = clock.now();
        this.#choice.through(kind, this.#throughAt);
        this.#lookLater();
      },
      ended: (code, reason, blocked) => {
        if (turn === this.#turn) this.#ended(code, reason, blocked);
        else if (turn === this.#scout?.turn) this.#scoutFailed();
      },
    });
  }

  // Looking for something better

  #lookLater(): void {
    if (this.#state.transport === this.#best) return;
    const { clock } = this.#settled;
    this.#timers.set("look", Math.max(this.#choice.lookAt - clock.now(), 0), () => this.#look());
  }

  /** Tries the best transport beside the one in use. */
  #look(): void {
    if (this.#scout || !this.#link) return;
    const [turn, before] = [++this.#lastTurn, this.#turn];
    this.#withToken(
      (token) => {
        if (before !== this.#turn) return;
        this.#timers.set("scout", DIAL_MS, () => this.#scoutFailed());
        this.#scout = { turn, link: this.#connect(this.#best, token, turn) };
      },
      () => before === this.#turn && this.#scoutFailed(),
    );
  }

  #scoutFailed(): void {
    this.#timers.cancel("scout");
    this.#scout?.link.close(1000, "");
    this.#scout = undefined;
    if (!this.#link) return this.#ended(LOST, "replaced by a connection that failed");
    this.#choice.looked(this.#state.transport, this.#settled.clock.now());
    this.#lookLater();
  }

  /** It gets through: it takes the place of the one in use, with all rooms and what has no answer yet. */
  #adopt(kind: Kind): void {
    const { turn, link } = this.#scout as { turn: number; link: Link };
    this.#scout = undefined;
    this.#hangUp(disconnected());
    this.#turn = turn;
    this.#link = link;
    this.#throughAt = this.#settled.clock.now();
    this.#choice.through(kind, this.#throughAt);
    this.#change({ transport: kind });
  }

  /** A connection has ended, or a try. */
  #ended(closeCode: number, closeReason: string, blocked = false): void {
    if (closeCode === 4409 && this.#scout) {
      // The server has seen our other connection before we did.
      this.#link = undefined;
      return;
    }
    const { clock, random, token, maxAttempts, surroundings } = this.#settled;
    const now = clock.now();
    // A server that stops may be gone before its close frame is here.
    const cut = closeCode === LOST && this.#returnAt;
    const code = cut ? RESTART : closeCode;
    const reason = cut ? `after=${Math.max(this.#returnAt - now, 0)}` : closeReason;
    const held = this.#throughAt && now - this.#throughAt >= HELD_MS;
    if (this.#link && !this.#throughAt) this.#choice.failed(this.#state.transport, blocked, now);
    const attempt = held ? 0 : this.#state.attempt;
    const advice = adviceOn(code);
    if (code === 4409) this.#change({ session: "" });
    if (advice === "stop" || (advice === "token" && typeof token !== "function") || attempt >= maxAttempts)
      return this.#end(code, reason);
    this.#hangUp(advice === "forget" ? new HubbubError("refused", reason || `closed with ${code}`) : disconnected());
    const delay = delayMs(code, reason, attempt, random());
    this.#timers.set("retry", delay, () => this.#dial());
    const change = { attempt: attempt + 1, retryAt: now + delay, code, reason };
    this.#step(surroundings.online() ? "lost" : "cut", change);
  }

  #end(code: number, reason: string): void {
    this.#unwatch?.();
    this.#unwatch = undefined;
    const gone = new HubbubError("gone", reason || `closed with ${code}`);
    this.#hangUp(gone);
    this.#outbox.clear(gone);
    this.#step("ended", { attempt: 0, code, reason });
  }

  /** Lets go of the connection; commands without an answer get this one. */
  #hangUp(error: HubbubError): void {
    this.#newTurn();
    this.#link?.close(1000, "");
    this.#scout?.link.close(1000, "");
    this.#link = this.#scout = undefined;
    this.#openedAt = this.#throughAt = this.#returnAt = 0;
    this.#timers.clear();
    this.#entered.clear();
    const unanswered = [...this.#asked.values()];
    this.#asked.clear();
    for (const answer of unanswered) answer(error, { type: "error" });
  }

  #woken(elsewhere: boolean): void {
    if (elsewhere) {
      this.#choice.forget();
      if (this.#state.transport !== this.#best) this.#look();
    }
    if (this.#openedAt) this.#check(WAKE_MS);
    else this.#dial();
  }

  /** The device has no network: a connection that is there may still hold, as one to the same machine does. */
  #cut(): void {
    if (this.#openedAt) this.#check(WAKE_MS);
    else if (this.#state.status === "waiting") this.#step("cut");
  }

  /** Asks for a sign of life. */
  #check(ms: number): void {
    if (this.#timers.has("answer")) return;
    const { clock } = this.#settled;
    const asked = clock.now();
    this.#timers.set("answer", ms, () => this.#ended(LOST, "no answer"));
    this.#send({ type: "ping" }, (error) => error || this.#change({ latencyMs: clock.now() - asked }));
  }

  // What comes

  #receive(event: AnyEvent): void {
    this.#timers.cancel("answer");
    const { type, id } = event;
    if (type === "connected") return this.#greeted(event as never);
    if (type === "room_info") this.#enter(event as never);
    else if (id === undefined) this.#deliver(event);
    else this.#handlers.emit(event, ["*"]);
    const answer = this.#asked.get(id);
    this.#asked.delete(id);
    answer?.(type === "error" ? problem(event as never) : undefined, event);
  }

  #greeted(connected: Connected): void {
    const { session = null, user, heartbeat } = connected;
    const state = { session, ...(user && { user }) };
    if (this.#openedAt) {
      this.#change(state); // over HTTP it comes late, or once more
      return this.#deliver({ ...connected });
    }
    const known = this.#link?.resumes && session !== null && session === this.#state.session;
    this.#timers.cancel("dial");
    this.#openedAt = this.#settled.clock.now();
    this.#step("greeted", state);
    this.#enterAll(known);
    if (heartbeat) this.#beat(heartbeat);
    this.#deliver({ ...connected });
  }

  /** Pings, so that a connection is missed that has ended without a word; browsers do not show the server's pings. */
  #beat(ms: number): void {
    this.#timers.set("beat", ms, () => {
      this.#check(ANSWER_MS);
      this.#beat(ms);
    });
  }

  #deliver(event: AnyEvent): void {
    if (event.type === "reconnect") this.#returnAt = this.#settled.clock.now() + Number(event.after);
    if (event.type === "warning" && event.code === "token_expires") this.#refresh();
    const seat = event.room === undefined ? undefined : this.#seats.get(event.room);
    if (seat && !seat.cursor.take(event)) return this.#repeated(seat, event);
    this.#emit(event, seat);
  }

  #emit(event: AnyEvent, seat?: Seat): void {
    seat?.handlers.emit(event);
    this.#handlers.emit(event);
  }

  /** An event that was delivered before: if it was acknowledged, the server has not heard of it. */
  #repeated(seat: Seat, { redelivered, seq = 0 }: AnyEvent): void {
    if (redelivered && seq <= seat.cursor.read) this.#ack(seat);
  }

  #refresh(): void {
    if (typeof this.#settled.token !== "function") return;
    const failed = (message: string, code = "invalid_token") => this.#emit({ type: "error", code, message });
    const turn = this.#turn;
    this.#withToken((token) => {
      if (turn !== this.#turn) return;
      this.#send({ type: "refresh", token }, (error, { missing, user }) => {
        if (error) return failed(error.message, error.code);
        if (user) this.#change({ user: user as User });
        for (const room of missing as string[]) this.#forget(room, "forbidden");
      });
    }, failed);
  }

  // The rooms

  #seat(given: string, entry: Entry, subscribed: boolean): Room<App> {
    const name = [...given.trim().normalize("NFC")].slice(0, 50).join("");
    const before = this.#seats.get(name);
    const same = before?.subscribed === subscribed && before.entry.username === entry.username;
    if (same) return this.#rooms.get(name) as Room<App>;
    const { cursor, handlers } = before ?? { cursor: new Cursor(), handlers: new Handlers() };
    const ready = new Promise<RoomInfo>((enter, refuse) => {
      this.#seats.set(name, { name, entry, subscribed, cursor, handlers, enter, refuse });
    });
    ready.catch(() => {}); // whoever does not ask is told by the event `error`
    before?.refuse(new HubbubError("left", "The room was entered anew"));
    const room = new Room<App>(name, this, cursor, handlers, ready);
    this.#rooms.set(name, room);
    if (this.#openedAt) this.#join(this.#seats.get(name) as Seat);
    return room;
  }

  /** Enters all rooms in one round trip. */
  #enterAll(known = false): void {
    const seats = [...this.#seats.values()];
    const before = known ? seats.filter(({ cursor }) => cursor.position) : [];
    if (before.length) {
      const rooms = Object.fromEntries(before.map(({ name, cursor }) => [name, cursor.position]));
      this.#send({ type: "resume", rooms }, (error, { missing }) => {
        if (!this.#openedAt) return;
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
    const command = subscribed ? { type, ...where } : { type, ...where, username: entry.username, keep: !entry.alone };
    this.#send(command, (error) => error && this.#refused(seat, error));
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
    if (!this.#openedAt || this.#seats.get(seat.name) !== seat) return;
    if (retryAfter !== undefined) return this.#timers.set(`join ${seat.name}`, retryAfter, () => this.#join(seat));
    this.#emit({ type: "error", code, message, room: seat.name }, seat);
    this.#forget(seat.name, code, message);
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
    if (this.#openedAt && [...this.#seats.keys()].every((name) => this.#entered.has(name))) this.#step("entered");
  }

  // What goes

  #send(command: Command, answer: Answer): void {
    const id = command.id ?? ++this.#lastId;
    this.#asked.set(id, answer);
    this.#link?.send({ ...command, id });
  }

  /** Sends what may be sent now. */
  #flush(): void {
    const wait = this.#sendAt - this.#settled.clock.now();
    if (wait > 0) return this.#timers.set("flush", wait, () => this.#flush());
    for (;;) {
      const parcel = this.#outbox.take((room) => this.#entered.has(room));
      if (!parcel) return;
      this.#send(parcel.command, (error, reply) => this.#answered(parcel, error, reply));
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
    if (now < this.#ackAt) return this.#timers.set("ack", this.#ackAt - now, () => this.#sendAcks());
    for (const seat of this.#seats.values()) {
      if (!this.#entered.has(seat.name) || seat.cursor.read <= (seat.cursor.acked ?? 0)) continue;
      this.#ackAt = now + ACK_EVERY_MS;
      this.#ack(seat);
    }
  }

  #ack({ name: room, cursor }: Seat): void {
    this.#send({ type: "ack", room, seq: cursor.read }, (error, { seq }) => {
      if (!error) cursor.acked = seq;
    });
  }
}

function disconnected(): HubbubError {
  return new HubbubError("disconnected", "There is no connection");
}

function problem({ code, message, ...more }: Problem): HubbubError {
  return new HubbubError(code, message, more);
}
