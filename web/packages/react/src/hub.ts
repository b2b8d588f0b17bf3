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
  /** By type and room; what came last of a type stands last. */
  readonly #latest = new Map<string, Map<string | undefined, AnyEvent>>();
  readonly #notifier: Notifier;
  readonly #hold: Hold;
  #stop: (() => void) | undefined;

  /** own: the client is opened and closed with the provider. */
  constructor(client: Client<AppEvents>, own: boolean) {
    this.client = client;
    const timers = new Timers(client.clock);
    this.#notifier = new Notifier(timers);
    this.watchLatest = this.#notifier.watch;
    const begin = () => {
      this.#stop = client.on("*", (event) => this.#note(event));
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
    const known = this.#rooms.get(key);
    if (known) return known;
    const store: RoomStore = new RoomStore(this.client, name, subscribed, (inUse) => {
      if (inUse) this.#rooms.set(key, store);
      else this.#forget(key, store);
    });
    this.#rooms.set(key, store);
    return store;
  }

  /** Nobody is in a room any more. */
  #forget(key: string, store: RoomStore): void {
    if (this.#rooms.get(key) === store) this.#rooms.delete(key);
    const events = [...this.#latest.values()].filter((rooms) => rooms.delete(store.name));
    if (events.length) this.#notifier.changed();
  }

  #note(event: AnyEvent): void {
    const rooms = this.#latest.get(event.type) ?? new Map<string | undefined, AnyEvent>();
    rooms.delete(event.room);
    this.#latest.set(event.type, rooms.set(event.room, event));
    this.#notifier.changed();
  }

  watchState = (watcher: () => void): (() => void) => this.client.watch(watcher);
  getState = (): State => this.client.state;
  open = (): void => this.client.open();
  close = (): void => this.client.close();

  latest(type: string, room?: string): AnyEvent | undefined {
    const rooms = this.#latest.get(type);
    return room === undefined ? [...(rooms?.values() ?? [])].at(-1) : rooms?.get(room);
  }
}
