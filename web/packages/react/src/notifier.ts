// Tells those who look that something has changed: the first time at once, then at most once a frame.
import type { Timers } from "@hubbub/client";

/** However much comes in a second, nobody sees more pictures than this of it. */
const FRAME_MS = 16;

export class Notifier {
  readonly #timers: Timers;
  readonly #watchers = new Set<() => void>();
  #late = false;

  constructor(timers: Timers) {
    this.#timers = timers;
  }

  /** Calls a function after changes; returns what ends that. */
  watch = (watcher: () => void): (() => void) => {
    const mine = () => watcher();
    this.#watchers.add(mine);
    return () => void this.#watchers.delete(mine);
  };

  changed(): void {
    if (this.#timers.has("frame")) this.#late = true;
    else this.#tell();
  }

  #tell(): void {
    this.#late = false;
    this.#timers.set("frame", FRAME_MS, () => this.#late && this.#tell());
    for (const watcher of [...this.#watchers]) watcher();
  }
}
