// A clock that is moved by hand, sockets whose other end is the test, and a client on both.
import { type AnyEvent, Client, type Options, type Surroundings } from "../src/index.ts";

export class FakeClock {
  #now = 1_700_000_000_000;
  #timers = new Map<number, { at: number; act: () => void }>();
  #last = 0;

  now = (): number => this.#now;

  setTimeout = (act: () => void, ms: number): number => {
    this.#timers.set(++this.#last, { at: this.#now + ms, act });
    return this.#last;
  };

  clearTimeout = (timer: number): void => void this.#timers.delete(timer);

  /** Moves on, and fires what is due on the way. */
  pass(ms: number): void {
    const until = this.#now + ms;
    for (;;) {
      const [next] = [...this.#timers].filter(([, { at }]) => at <= until).sort(([, a], [, b]) => a.at - b.at);
      if (!next) break;
      this.#timers.delete(next[0]);
      this.#now = next[1].at;
      next[1].act();
    }
    this.#now = until;
  }

  get pending(): number {
    return this.#timers.size;
  }
}

type Sent = AnyEvent & { id: number };

/** The server's end of a socket. */
export class FakeSocket {
  binaryType = "";
  protocol: string;
  onmessage: ((event: { data: unknown }) => void) | null = null;
  onclose: ((event: { code: number; reason: string }) => void) | null = null;
  onerror: (() => void) | null = null;
  readonly sent: Sent[] = [];
  closed: { code: number | undefined } | undefined;
  #read = 0;

  constructor(
    readonly url: string,
    readonly protocols: string[],
  ) {
    this.protocol = protocols[0] ?? "";
  }

  send(data: string | Uint8Array): void {
    this.sent.push(JSON.parse(data as string));
  }

  close(code?: number): void {
    this.closed ??= { code };
  }

  /** What the client has sent since the last call. */
  take(): Sent[] {
    const sent = this.sent.slice(this.#read);
    this.#read = this.sent.length;
    return sent;
  }

  /** The only command since the last call. */
  one(): Sent {
    const [command, ...more] = this.take();
    if (!command || more.length) throw new Error(`not one command but ${JSON.stringify([command, ...more])}`);
    return command;
  }

  says(...events: object[]): void {
    for (const event of events) this.onmessage?.({ data: JSON.stringify(event) });
  }

  greet(fields: object = {}): void {
    this.says({ type: "connected", clientId: "c", heartbeat: 30_000, session: "s1", ...fields });
  }

  ends(code = 1006, reason = ""): void {
    this.onclose?.({ code, reason });
  }
}

export class FakeSurroundings implements Surroundings {
  there = true;
  woken = (_elsewhere = false): void => {};
  cut = (): void => {};
  watched = false;
  online = (): boolean => this.there;
  watch = (woken: (elsewhere: boolean) => void, cut: () => void): (() => void) => {
    Object.assign(this, { woken, cut, watched: true });
    return () => {
      this.watched = false;
    };
  };
}

export const EPOCH = "e1";

export function info(room: string, fields: object = {}): object {
  const place = { epoch: EPOCH, seq: 0, head: 0, recovered: null, messages: [] };
  return { type: "room_info", room, members: [], count: 1, ...place, ...fields };
}

export function message(seq: number, fields: object = {}): AnyEvent {
  return { type: "message", room: "lobby", username: "bob", text: `${seq}`, messageId: `m${seq}`, seq, ...fields };
}

/** A client, and all that is around it. */
export class Stage {
  readonly clock = new FakeClock();
  readonly surroundings = new FakeSurroundings();
  readonly sockets: FakeSocket[] = [];
  readonly events: AnyEvent[] = [];
  readonly client: Client;
  random = 0;

  constructor(options: Options = {}) {
    const { sockets } = this;
    class WebSocket extends FakeSocket {
      constructor(url: string, protocols: string[]) {
        super(url, protocols);
        sockets.push(this);
      }
    }
    const { clock, surroundings } = this;
    this.client = new Client({
      url: "ws://hub.test/ws",
      transports: ["websocket"],
      random: () => this.random,
      ...{ clock, surroundings, WebSocket },
      ...options,
    });
    this.client.on("*", (event) => this.events.push(event));
    this.client.open();
  }

  get socket(): FakeSocket {
    return this.sockets.at(-1) as FakeSocket;
  }

  get status(): string {
    return this.client.state.status;
  }

  /** The events of a type so far. */
  of(type: string): AnyEvent[] {
    return this.events.filter((event) => event.type === type);
  }

  /** Is connected, and in these rooms. */
  enter(...rooms: string[]): this {
    for (const room of rooms) this.client.join(room, { username: "ada" });
    if (this.status === "connecting") this.socket.greet();
    for (const { room, id } of this.socket.take()) this.socket.says({ ...info(room as string), id });
    return this;
  }

  /** Waits for the next try. */
  retry(): this {
    this.clock.pass((this.client.state.retryAt as number) - this.clock.now());
    return this;
  }

  /** Loses the connection, and has the next one greeted. */
  comeBack(fields: object = {}): this {
    this.socket.ends();
    this.retry().socket.greet(fields);
    return this;
  }
}

/** Lets promises that are settled be heard of. */
export async function turn(): Promise<void> {
  for (let i = 0; i < 5; i++) await Promise.resolve();
}
