// Which kind of transport is tried next, given which got through on this network. Pure: time and storage are given.

/** How a client talks to the server, the best first. */
export type Kind = "websocket" | "stream" | "poll";

/** Where a page keeps what got through, such as localStorage. */
export type Store = Pick<Storage, "getItem" | "setItem" | "removeItem">;

/** So long nobody tries again what did not get through: firewalls seldom change. */
const KEPT_MS = 300_000;
/** What just failed may only have been a server that was restarted. */
const LOOK_MS = 5000;
/** Where WebSockets get through, a few that fail in a row say that the server is not there. */
const PATIENCE = 3;

export class Choice {
  readonly #kinds: readonly Kind[];
  readonly #store: Store | undefined;
  readonly #key: string;
  #index = 0;
  #failures = 0;
  #proven = false;
  /** Until when something worse than the best is known to be what gets through; 0 where it is not known. */
  #until = 0;
  #lookAt = 0;

  constructor(kinds: readonly Kind[], store: Store | undefined, url: URL, now: number) {
    this.#kinds = kinds;
    this.#store = store;
    this.#key = `hubbub.transport ${url.host}`;
    const [kind, until] = (quietly(() => store?.getItem(this.#key)) ?? "").split(" ");
    const index = kinds.indexOf(kind as Kind);
    if (index > 0 && Number(until) > now) this.#go(index, Number(until));
  }

  /** The kind to try now. */
  next(now: number): Kind {
    if (this.#until && now >= this.#until) this.#go(0, 0);
    return this.#kinds[this.#index] as Kind;
  }

  /** One got through. */
  through(kind: Kind, now: number): void {
    this.#failures = 0;
    if (kind === this.#kinds[0]) {
      this.#proven = true;
      this.forget();
    } else if (now >= this.#until) this.#keep(kind, now, now + LOOK_MS);
  }

  /** A try has failed; `blocked` where somebody else than the server has answered, or held back what it said. */
  failed(kind: Kind, blocked: boolean, now: number): void {
    const index = this.#kinds.indexOf(kind);
    const gaveUp = index ? blocked : ++this.#failures >= (this.#proven ? PATIENCE : 1);
    if (gaveUp) this.#go((index + 1) % this.#kinds.length, 0);
    else if (index && now >= this.#until) this.#go(0, 0);
  }

  /** When to look whether the best kind gets through while another one is known to do; 0 where none is. */
  get lookAt(): number {
    return this.#lookAt;
  }

  /** It does not, yet. */
  looked(kind: Kind, now: number): void {
    this.#keep(kind, now, now + KEPT_MS);
  }

  /** This is another network, or the best gets through. */
  forget(): void {
    this.#go(0, 0);
    quietly(() => this.#store?.removeItem(this.#key));
  }

  #keep(kind: Kind, now: number, lookAt: number): void {
    this.#go(this.#kinds.indexOf(kind), now + KEPT_MS);
    this.#lookAt = lookAt;
    quietly(() => this.#store?.setItem(this.#key, `${kind} ${this.#until}`));
  }

  #go(index: number, until: number): void {
    this.#index = index;
    this.#until = this.#lookAt = until;
    if (!index) this.#failures = 0;
  }
}

/** A storage may be switched off, or full. */
function quietly<Result>(act: () => Result): Result | undefined {
  try {
    return act();
  } catch {
    return undefined;
  }
}
