// One connection after the other: opens them, notices their ends, comes back. What is said over them it does not know,
// but for what concerns the connection itself: `connected`, `reconnect`, pings, tokens, and which reply is to what.
import { Choice, type Kind } from "./choice.ts";
import { adviceOn, delayMs, LOST, RESTART } from "./closing.ts";
import { Timers } from "./environment.ts";
import { HubbubError } from "./errors.ts";
import type { AnyEvent, Command, Connected, Problem, User } from "./events.ts";
import { call } from "./handlers.ts";
import { type Dial, type Link, overHttp } from "./link.ts";
import { type Input, type Status, TABLE } from "./machine.ts";
import type { Settled } from "./options.ts";
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
const REPLACED = 4409;

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

/** Is told how a command was answered, once. */
export type Answer = (error: HubbubError | undefined, reply: AnyEvent) => void;

/** Whose connection it is. */
export interface Owner {
  /** Whether there is a room to be in. */
  readonly wanting: boolean;
  /** A connection is open; `known` says whether its session knows our rooms. */
  greeted(known: boolean): void;
  /** It is no more, and whoever waited for an answer has been told. */
  hungUp(): void;
  event(event: AnyEvent): void;
  /** A reply that is about to be handed to who waits for it. */
  reply(event: AnyEvent): void;
  /** The new token does not allow a room. */
  forbidden(room: string): void;
}

export class Connection {
  /** What is set here ends with the connection. */
  readonly timers: Timers;
  readonly #settled: Settled;
  readonly #owner: Owner;
  readonly #choice: Choice;
  readonly #watchers = new Set<() => void>();
  readonly #asked = new Map<unknown, Answer>();
  #state: State;
  #link: Link | undefined;
  /** A better transport that is being tried beside the one in use. */
  #scout: { turn: number; link: Link } | undefined;
  #turn = 0;
  #lastTurn = 0;
  #lastId = 0;
  #openedAt = 0;
  #throughAt = 0;
  #returnAt = 0;
  #unwatch: (() => void) | undefined;

  constructor(settled: Settled, owner: Owner) {
    const { session, transports, store, url, clock } = settled;
    this.#settled = settled;
    this.#owner = owner;
    this.timers = new Timers(clock);
    this.#choice = new Choice(transports, store, url, clock.now());
    this.#state = { status: "closed", attempt: 0, session, transport: this.#best };
  }

  get state(): State {
    return this.#state;
  }

  /** Whether commands can be sent. */
  get isOpen(): boolean {
    return this.#openedAt > 0;
  }

  watch(watcher: () => void): () => void {
    const mine = () => watcher();
    this.#watchers.add(mine);
    return () => void this.#watchers.delete(mine);
  }

  /** Tries now. */
  open(): void {
    this.#unwatch ??= this.#settled.surroundings.watch(
      (elsewhere) => this.#woken(elsewhere),
      () => this.#cut(),
    );
    this.#dial();
  }

  close(code: number, reason: string): void {
    this.#link?.close(code, reason);
    this.#link = undefined;
    this.#end(code, reason);
  }

  /** Takes a step of the table, if it has one. */
  step(input: Input, changes: Partial<State> = {}): void {
    const status = TABLE[this.#state.status][input];
    if (status) this.#change({ status, ...changes });
  }

  /** Sends a command, and has the reply told. */
  ask(command: Command, answer: Answer): void {
    const id = command.id ?? ++this.#lastId;
    this.#asked.set(id, answer);
    this.#link?.send({ ...command, id });
  }

  /** Sends a command without asking for a reply; whether there is a connection. */
  tell(command: Command): boolean {
    if (this.isOpen) this.#link?.send(command);
    return this.isOpen;
  }

  // Opening

  get #best(): Kind {
    return this.#settled.transports[0] as Kind;
  }

  #change(changes: Partial<State>): void {
    this.#state = { ...this.#state, ...changes };
    for (const watcher of [...this.#watchers]) call(watcher, undefined as never);
  }

  #dial(): void {
    const { retryAt: _, ...state } = this.#state;
    if (!TABLE[state.status].open) return;
    // Without a room nobody finds out over HTTP whether it gets through.
    const chosen = this.#choice.next(this.#settled.clock.now());
    const kind = this.#owner.wanting || this.#choice.lookAt ? chosen : this.#best;
    this.#state = { ...state, transport: kind };
    this.timers.clear();
    this.step("open");
    this.timers.set("dial", DIAL_MS, () => this.#ended(LOST, "no answer"));
    const turn = this.#newTurn();
    const mine = (act: () => void) => turn === this.#turn && act();
    this.#withToken(
      (token) => mine(() => this.#begin(kind, token, turn)),
      (why) => mine(() => this.#ended(LOST, why)),
    );
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

  #begin(kind: Kind, token: string | undefined, turn: number): void {
    try {
      this.#link = this.#connect(kind, token, turn);
    } catch (error) {
      this.#end(LOST, String(error)); // a token that is none, or no WebSocket: it would be the same next time
    }
  }

  /** A connection whose events count once its turn has come. */
  #connect(kind: Kind, token: string | undefined, turn: number): Link {
    const { url, msgpack } = this.#settled;
    const target = { url, msgpack, token, session: this.#state.session, environment: this.#settled };
    return DIALS[kind](target, {
      event: (event) => {
        if (turn === this.#scout?.turn) this.#adopt(kind);
        if (turn === this.#turn) this.#receive(event);
      },
      through: () => turn === this.#turn && !this.#throughAt && this.#through(kind),
      ended: (code, reason, blocked) => {
        if (turn === this.#turn) this.#ended(code, reason, blocked);
        else if (turn === this.#scout?.turn) this.#scoutFailed();
      },
    });
  }

  /** The server itself has said something. */
  #through(kind: Kind): void {
    this.#throughAt = this.#settled.clock.now();
    this.#choice.through(kind, this.#throughAt);
    if (kind !== this.#best) this.#lookLater();
  }

  // Looking for something better

  #lookLater(): void {
    const wait = this.#choice.lookAt - this.#settled.clock.now();
    this.timers.set("look", Math.max(wait, 0), () => this.#look());
  }

  /** Tries the best transport beside the one in use. */
  #look(): void {
    if (this.#scout || !this.#link) return;
    const [turn, before] = [++this.#lastTurn, this.#turn];
    this.#withToken(
      (token) => {
        if (before !== this.#turn) return;
        this.timers.set("scout", DIAL_MS, () => this.#scoutFailed());
        this.#scout = { turn, link: this.#connect(this.#best, token, turn) };
      },
      () => before === this.#turn && this.#scoutFailed(),
    );
  }

  #scoutFailed(): void {
    this.timers.cancel("scout");
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
    this.#change({ transport: kind });
    this.#through(kind);
  }

  // Ending

  /** A connection has ended, or a try. */
  #ended(closeCode: number, closeReason: string, blocked = false): void {
    if (closeCode === REPLACED && this.#scout) {
      this.#link = undefined; // the server has seen our other connection before we did
      return;
    }
    const { clock, random, token, maxAttempts, surroundings } = this.#settled;
    const now = clock.now();
    // A server that stops may be gone before its close frame is here.
    const cut = closeCode === LOST && this.#returnAt;
    const code = cut ? RESTART : closeCode;
    const reason = cut ? `after=${Math.max(this.#returnAt - now, 0)}` : closeReason;
    const held = this.#throughAt && now - this.#throughAt >= HELD_MS;
    const attempt = held ? 0 : this.#state.attempt;
    const advice = adviceOn(code);
    if (this.#link && !this.#throughAt) this.#choice.failed(this.#state.transport, blocked, now);
    if (code === REPLACED) this.#change({ session: "" });
    const final = advice === "stop" || (advice === "token" && typeof token !== "function");
    if (final || attempt >= maxAttempts) return this.#end(code, reason);
    this.#hangUp(advice === "forget" ? new HubbubError("refused", reason || `closed with ${code}`) : disconnected());
    const delay = delayMs(code, reason, attempt, random());
    this.timers.set("retry", delay, () => this.#dial());
    const changes = { attempt: attempt + 1, retryAt: now + delay, code, reason };
    this.step(surroundings.online() ? "lost" : "cut", changes);
  }

  #end(code: number, reason: string): void {
    this.#unwatch?.();
    this.#unwatch = undefined;
    this.#hangUp(new HubbubError("gone", reason || `closed with ${code}`));
    this.step("ended", { attempt: 0, code, reason });
  }

  /** Lets go of the connection; commands without an answer get this one. */
  #hangUp(error: HubbubError): void {
    this.#newTurn();
    this.#link?.close(1000, "");
    this.#scout?.link.close(1000, "");
    this.#link = this.#scout = undefined;
    this.#openedAt = this.#throughAt = this.#returnAt = 0;
    this.timers.clear();
    const unanswered = [...this.#asked.values()];
    this.#asked.clear();
    for (const answer of unanswered) answer(error, { type: "error" });
    this.#owner.hungUp();
  }

  // Whether it is still there

  #woken(elsewhere: boolean): void {
    if (elsewhere) {
      this.#choice.forget();
      if (this.#state.transport !== this.#best) this.#look();
    }
    if (this.isOpen) this.#check(WAKE_MS);
    else this.#dial();
  }

  /** The device has no network: a connection that is there may still hold, as one to the same machine does. */
  #cut(): void {
    if (this.isOpen) this.#check(WAKE_MS);
    else if (this.#state.status === "waiting") this.step("cut");
  }

  /** Pings, so that a connection is missed that has ended without a word; browsers do not show the server's pings. */
  #beat(ms: number): void {
    this.timers.set("beat", ms, () => {
      this.#check(ANSWER_MS);
      this.#beat(ms);
    });
  }

  /** Asks for a sign of life. */
  #check(ms: number): void {
    if (this.timers.has("answer")) return;
    const { clock } = this.#settled;
    const asked = clock.now();
    this.timers.set("answer", ms, () => this.#ended(LOST, "no answer"));
    this.ask({ type: "ping" }, (error) => error || this.#change({ latencyMs: clock.now() - asked }));
  }

  // What comes

  #receive(event: AnyEvent): void {
    this.timers.cancel("answer");
    const { type, id } = event;
    if (type === "connected") this.#greeted(event as never);
    if (type === "reconnect") this.#returnAt = this.#settled.clock.now() + Number(event.after);
    if (type === "warning" && event.code === "token_expires") this.#refresh();
    const answer = this.#asked.get(id);
    this.#asked.delete(id);
    if (id === undefined || type === "room_info") this.#owner.event(event);
    else this.#owner.reply(event);
    answer?.(type === "error" ? problem(event as never) : undefined, event);
  }

  #greeted({ user, heartbeat, ...connected }: Connected): void {
    const session = connected.session ?? null;
    const changes = { session, ...(user && { user }) };
    if (this.isOpen) return this.#change(changes); // over HTTP it comes late, or once more
    const known = this.#link?.resumes && session !== null && session === this.#state.session;
    this.timers.cancel("dial");
    this.#openedAt = this.#settled.clock.now();
    this.step("greeted", changes);
    this.#owner.greeted(known === true);
    if (heartbeat) this.#beat(heartbeat);
    if (this.#choice.lookAt) this.#lookLater();
  }

  #refresh(): void {
    if (typeof this.#settled.token !== "function") return;
    const failed = (message: string, code = "invalid_token") => this.#owner.event({ type: "error", code, message });
    const turn = this.#turn;
    this.#withToken((token) => {
      if (turn !== this.#turn) return;
      this.ask({ type: "refresh", token }, (error, { missing, user }) => {
        if (error) return failed(error.message, error.code);
        if (user) this.#change({ user: user as User });
        for (const room of missing as string[]) this.#owner.forbidden(room);
      });
    }, failed);
  }
}

export function disconnected(): HubbubError {
  return new HubbubError("disconnected", "There is no connection");
}

function problem({ code, message, ...more }: Problem): HubbubError {
  return new HubbubError(code, message, more);
}
