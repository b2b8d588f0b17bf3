// What all hooks below one provider share: the client, its rooms as they are shown, and the latest events.
import { type AnyEvent, type Client, type State, Timers } from "@hubbub/client";
import type { AppEvents } from "./events.ts";
import { Hold } from "./hold.ts";
import { Notifier } from "./notifier.ts";
import { RoomStore } from "./room-store.ts";

export class Hub {
  readonly client: Client<AppEvents>;
  readonly watchLatest: (watcher: () => void) => () => void;
  readonly #rooms = new Map<string, RoomStore>();
  readonly #latest = new Map<string, AnyEvent>();
  readonly #hold: Hold;
  #stop: (() => void) | undefined;

  /** own: the client is opened and closed with the provider. */
  constructor(client: Client<AppEvents>, own: boolean) {
    this.client = client;
    const timers = new Timers(client.clock);
    const notifier = new Notifier(timers);
    this.watchLatest = notifier.watch;
    const begin = () => {
      this.#stop = client.on("*", (event) => {
        this.#latest.set(keyOf(event.type, event.room), event).set(keyOf(event.type), event);
        notifier.changed();
      });
      if (own) client.open();
    };
    this.#hold = new Hold(begin, () => {
      this.#stop?.();
      timers.clear();
      this.#latest.clear();
      if (own) client.close();
    });
  }

  /** For as long as anybody holds it, the connection is open. */
  hold(): () => void {
    return this.#hold.take();
  }

  /** A room by name; the same for all who ask. */
  room(name: string, subscribed: boolean): RoomStore {
    const key = `${subscribed} ${name}`;
    const store = this.#rooms.get(key) ?? new RoomStore(this.client, name, subscribed);
    this.#rooms.set(key, store);
    return store;
  }

  watchState = (watcher: () => void): (() => void) => this.client.watch(watcher);
  getState = (): State => this.client.state;
  open = (): void => this.client.open();
  close = (): void => this.client.close();

  latest(type: string, room?: string): AnyEvent | undefined {
    return this.#latest.get(keyOf(type, room));
  }
}

const keyOf = (type: string, room?: string) => (room === undefined ? type : `${type} ${room}`);
