// What the client takes from around it: time, chance, the network and the page. All of it can be given by a caller.

/** Time in milliseconds, and timers. */
export interface Clock {
  now(): number;
  setTimeout(act: () => void, ms: number): unknown;
  clearTimeout(timer: never): void;
}

/** The part of a WebSocket that is used. */
export interface Socket {
  readonly protocol: string;
  binaryType: string;
  onmessage: ((event: { data: unknown }) => void) | null;
  onclose: ((event: { code: number; reason: string }) => void) | null;
  onerror: ((event: never) => void) | null;
  send(data: string | Uint8Array): void;
  close(code?: number, reason?: string): void;
}

export type SocketConstructor = new (url: string, protocols: string[]) => Socket;

/** What happens to the page and the device. */
export interface Surroundings {
  /** Whether the device says that it has a network. */
  online(): boolean;
  /**
   * Calls `woken` when the network is back, which may be another one then, or the page is looked at again; `cut` when the
   * network is gone.
   */
  watch(woken: (elsewhere: boolean) => void, cut: () => void): () => void;
}

export interface Environment {
  clock: Clock;
  /** 0 to 1. */
  random: () => number;
  WebSocket: SocketConstructor | undefined;
  fetch: typeof fetch | undefined;
  surroundings: Surroundings;
}

export const systemClock: Clock = {
  now: () => Date.now(),
  setTimeout: (act, ms) => setTimeout(act, ms),
  clearTimeout: (timer) => clearTimeout(timer),
};

/** A browser's; elsewhere nothing ever happens. */
export const page: Surroundings = {
  online: () => globalThis.navigator?.onLine !== false,
  watch(woken, cut) {
    if (typeof document === "undefined") return () => {};
    const looked = () => document.hidden || woken(false);
    const stop = new AbortController();
    const listen = (target: EventTarget, type: string, act: () => void) =>
      target.addEventListener(type, act, { signal: stop.signal });
    listen(globalThis, "online", () => woken(true));
    listen(globalThis, "pageshow", looked);
    listen(globalThis, "offline", cut);
    listen(document, "visibilitychange", looked);
    return () => stop.abort();
  },
};

/** Timers that have names, or are somebody's: setting one anew takes the place of the former. */
export class Timers {
  readonly #clock: Clock;
  readonly #set = new Map<unknown, unknown>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  set(name: unknown, ms: number, act: () => void): void {
    this.cancel(name);
    const fire = () => {
      this.#set.delete(name);
      act();
    };
    this.#set.set(name, this.#clock.setTimeout(fire, ms));
  }

  has(name: unknown): boolean {
    return this.#set.has(name);
  }

  cancel(name: unknown): void {
    this.#clock.clearTimeout(this.#set.get(name) as never);
    this.#set.delete(name);
  }

  clear(): void {
    for (const name of [...this.#set.keys()]) this.cancel(name);
  }
}

/** An id for a message. Not crypto.randomUUID, which pages have not that came over plain HTTP. */
export function newMessageId(): string {
  return crypto.getRandomValues(new Uint32Array(4)).join("-");
}
