// A WebSocket to any server that speaks JSON, which comes back by itself. It knows nothing of React, or of Hubbub.
import { backoffMs, type Clock, type Socket, type SocketConstructor, systemClock, Timers } from "@hubbub/client";
import { Hold } from "./hold.ts";

const NORMAL = 1000;
const MAX_ATTEMPTS = 8;

/**
 * connecting: a try is under way.
 * disconnected: the connection has ended; there is another try, but after 1000 and after the last one.
 * error: the same, and it failed, or could not be had at all.
 */
export type SocketStatus = "connecting" | "connected" | "disconnected" | "error";

export interface SocketOptions {
  protocols?: string | string[];
  /** Tries after a loss, until one succeeds; 8. */
  maxAttempts?: number;
  clock?: Clock;
  /** 0 to 1. */
  random?: () => number;
  WebSocket?: SocketConstructor;
}

export interface SocketState<Message> {
  readonly status: SocketStatus;
  readonly lastMessage: Message | undefined;
}

export class JsonSocket<Message> {
  /** Is called with each message. */
  onMessage: (message: Message) => void = () => {};
  /** Is called with what is not JSON, and with the error that says why. */
  onInvalid: (data: unknown, error: Error) => void = () => {};
  readonly #url: string;
  readonly #protocols: string[];
  readonly #options: SocketOptions;
  readonly #timers: Timers;
  readonly #watchers = new Set<() => void>();
  #state: SocketState<Message> = { status: "connecting", lastMessage: undefined };
  #socket: Socket | undefined;
  #attempt = 0;
  readonly #hold = new Hold(
    () => this.#open(),
    () => this.#close(),
  );

  constructor(url: string, options: SocketOptions = {}) {
    this.#url = url;
    this.#options = options;
    this.#protocols = [options.protocols ?? []].flat();
    this.#timers = new Timers(options.clock ?? systemClock);
  }

  get = (): SocketState<Message> => this.#state;

  watch = (watcher: () => void): (() => void) => {
    const mine = () => watcher();
    this.#watchers.add(mine);
    return () => void this.#watchers.delete(mine);
  };

  /** Sends a message as JSON; false where there is no connection, and it is not sent. */
  send = (message: unknown): boolean => {
    if (this.#state.status !== "connected") return false;
    this.#socket?.send(JSON.stringify(message));
    return true;
  };

  /** Is connected, or tries to be, until what this returns is called. */
  hold(): () => void {
    return this.#hold.take();
  }

  #open(): void {
    this.#attempt = 0;
    this.#dial();
  }

  #close(): void {
    this.#timers.clear();
    this.#letGo()?.close(NORMAL, "");
    this.#change({ status: "disconnected" });
  }

  #dial(): void {
    this.#change({ status: "connecting" });
    const WebSocket = this.#options.WebSocket ?? (globalThis.WebSocket as unknown as SocketConstructor);
    try {
      this.#socket = new WebSocket(this.#url, this.#protocols);
    } catch (error) {
      console.error(error);
      return this.#change({ status: "error" }); // no URL, say: it would be the same next time
    }
    const socket = this.#socket as Socket & { onopen: (() => void) | null };
    let failed = false;
    socket.onopen = () => this.#opened();
    socket.onmessage = ({ data }) => this.#receive(data);
    socket.onerror = () => {
      failed = true;
    };
    socket.onclose = ({ code }) => this.#ended(code, failed);
  }

  #opened(): void {
    this.#attempt = 0;
    this.#change({ status: "connected" });
  }

  #ended(code: number, failed: boolean): void {
    const { maxAttempts = MAX_ATTEMPTS, random = Math.random } = this.#options;
    this.#letGo();
    if (code !== NORMAL && this.#attempt < maxAttempts) {
      this.#timers.set("retry", backoffMs(this.#attempt++, random()), () => this.#dial());
    }
    this.#change({ status: failed ? "error" : "disconnected" });
  }

  /** Hears no more of the socket. */
  #letGo(): Socket | undefined {
    const socket = this.#socket;
    if (socket) Object.assign(socket, { onopen: null, onmessage: null, onerror: null, onclose: null });
    this.#socket = undefined;
    return socket;
  }

  #receive(data: unknown): void {
    let lastMessage: Message;
    try {
      lastMessage = JSON.parse(data as string);
    } catch (error) {
      return this.onInvalid(data, error as Error);
    }
    this.#change({ lastMessage });
    this.onMessage(lastMessage);
  }

  #change(changes: Partial<SocketState<Message>>): void {
    this.#state = { ...this.#state, ...changes };
    for (const watcher of [...this.#watchers]) watcher();
  }
}
